//! Many devices in one namespace, and traffic on each of them. Must not know what netmon makes of it.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use netmon_tests::{
    frames::{self, Envelope},
    netns::Netns,
    patience::slowness,
};

use super::Scene;

/// Veth pairs `x0` and `p0`, and so on, with an address and a route on each. They are deleted when this is dropped.
/// Otherwise the kernel would delete them seconds later, with the namespace. Packets that wait on them for a
/// neighbour would then be dropped during the next test.
pub(super) struct Cables<'a>(&'a Netns);

impl<'a> Cables<'a> {
    /// The group of all these devices, so that one command deletes them.
    const GROUP: u32 = 7;

    pub(super) fn make(netns: &'a Netns, scene: &Scene, count: usize) -> anyhow::Result<Self> {
        let mut batch = String::new();
        for number in 0..count {
            let group = Self::GROUP;
            writeln!(batch, "link add x{number} group {group} type veth peer name p{number}")?;
            writeln!(batch, "link set x{number} up\nlink set p{number} up")?;
            writeln!(batch, "route add {}/32 dev x{number}", Ipv4Addr::from(behind(number)))?;
        }
        let file = scene.world.scratch.path().join("cables");
        std::fs::write(&file, batch)?;
        let cables = Self(netns);
        netns.run(&format!("ip -batch {}", file.display()))?;
        Ok(cables)
    }
}

impl Drop for Cables<'_> {
    fn drop(&mut self) {
        drop(self.0.run(&format!("ip link del group {}", Self::GROUP)));
    }
}

/// An address that is only reached through that pair.
fn behind(number: usize) -> [u8; 4] {
    let number = number + 1;
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    [10, 210, byte(number / 250), byte(number % 250)]
}

/// Sends something through every pair that the other end drops, for two reasons.
pub(super) fn drop_everywhere(netns: &Netns, count: usize) -> anyhow::Result<()> {
    let envelope = Envelope {
        // To the broadcast address: a wrong hardware address is no loss.
        macs: ([2, 0, 0, 0, 0, 1], [0xff; 6]),
        addresses: (Ipv4Addr::new(10, 220, 0, 1), Ipv4Addr::LOCALHOST),
    };
    let kinds = [envelope.ip_damaged(9)?, envelope.unheard_of()?];
    let devices: Vec<String> = (0..count).flat_map(|it| [format!("x{it}"), format!("p{it}")]).collect();
    frames::send_each(netns, &devices, &kinds)
}

/// Tries a connection through every pair. No connection is answered.
pub(super) fn connect_everywhere(netns: &Netns, count: usize) -> anyhow::Result<()> {
    netns.within(|| {
        for number in 0..count {
            let address = SocketAddr::from((behind(number), 9));
            drop(TcpStream::connect_timeout(
                &address,
                Duration::from_micros(1) * slowness(),
            ));
        }
        Ok(())
    })
}
