//! A device's counters, as the kernel's own tools show them.

use anyhow::Context as _;
use serde_json::Value;

/// At most one in so many retransmitted segments may be without a network. The kernel counts some of them where it
/// runs no program.
pub const UNHEARD: u64 = 10;

/// The counters of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Figures {
    /// Packets received.
    pub receive_packets: u64,
    /// Bytes received.
    pub receive_bytes: u64,
    /// Packets sent.
    pub transmit_packets: u64,
    /// Bytes sent.
    pub transmit_bytes: u64,
}

impl Figures {
    /// Reads the output of `ip -j -s link show dev X`.
    ///
    /// # Errors
    /// It is some other text.
    pub fn of_ip(json: &str) -> anyhow::Result<Self> {
        let json: Value = serde_json::from_str(json)?;
        let figure = |path: &str| {
            json.pointer(&format!("/0/stats64/{path}"))
                .and_then(Value::as_u64)
                .with_context(|| format!("`ip` shows no {path}: {json}"))
        };
        Ok(Self {
            receive_packets: figure("rx/packets")?,
            receive_bytes: figure("rx/bytes")?,
            transmit_packets: figure("tx/packets")?,
            transmit_bytes: figure("tx/bytes")?,
        })
    }

    /// Reads a device's line in `/proc/net/dev`.
    ///
    /// # Errors
    /// There is no such line.
    pub fn of_table(table: &str, device: &str) -> anyhow::Result<Self> {
        let line = table.lines().find_map(|line| {
            let (name, numbers) = line.rsplit_once(':')?;
            (name.trim_start() == device).then_some(numbers)
        });
        let line = line.with_context(|| format!("there is no device {device}"))?;
        let numbers: Vec<u64> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| format!("{device}: {line}"))?;
        // Eight receive counters, then eight transmit counters. Both groups begin with bytes and packets.
        let at = |index: usize| numbers.get(index).copied().with_context(|| format!("{device}: {line}"));
        Ok(Self {
            receive_packets: at(1)?,
            receive_bytes: at(0)?,
            transmit_packets: at(9)?,
            transmit_bytes: at(8)?,
        })
    }

    /// Whether each counter is at least that of `low` and at most that of `high`.
    #[must_use]
    pub fn between(self, low: Self, high: Self) -> bool {
        let (low, its, high) = (low.each(), self.each(), high.each());
        (0..its.len()).all(|at| (low[at]..=high[at]).contains(&its[at]))
    }

    /// All counters, in the order of their declaration.
    #[must_use]
    pub fn each(self) -> [u64; 4] {
        [
            self.receive_packets,
            self.receive_bytes,
            self.transmit_packets,
            self.transmit_bytes,
        ]
    }

    /// The increase of each counter since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let Self {
            receive_packets,
            receive_bytes,
            transmit_packets,
            transmit_bytes,
        } = self;
        Self {
            receive_packets: receive_packets - before.receive_packets,
            receive_bytes: receive_bytes - before.receive_bytes,
            transmit_packets: transmit_packets - before.transmit_packets,
            transmit_bytes: transmit_bytes - before.transmit_bytes,
        }
    }
}
