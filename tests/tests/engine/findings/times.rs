//! How soon each fault was a finding, and how soon it was none after it was mended. The table in `docs/findings.md` is
//! written from a run with `NETMON_BLESS` set.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon_tests::lab::Engine;

use super::Found;

/// How the tests make a fault of each check.
const FAULTS: [(&str, &str); 15] = [
    ("forwarding", "`sysctl net.ipv4.ip_forward=0`"),
    (
        "node_drops",
        "`iptables -I FORWARD -i BRIDGE -j DROP`, while a container asks for an address outside",
    ),
    (
        "bridge",
        "a container's veth loses its master; a bridge loses its address",
    ),
    ("default_route", "`ip route del default` in a container"),
    (
        "shared_namespace",
        "`docker restart` of the container whose network another one shares",
    ),
    ("node_address", "the node gets another address than the Swarm knows"),
    (
        "vxlan_device",
        "`ip link add` of a VXLAN device with a network's VNI and port",
    ),
    ("overlay_tables", "`ip neigh del` of a container on the other node"),
    ("neighbour", "`ip neigh replace` with another hardware address"),
    ("duplicate_address", "two containers with one `--mac-address`"),
    (
        "alias_conflict",
        "a container of another project joins with the same `--network-alias`",
    ),
    ("resolver", "a container asks an address where nobody answers"),
    (
        "subnet_overlap",
        "`ip route add` into a network's subnet; an overlay network with the node's own range",
    ),
    ("address_space", "the last containers on a `/28`"),
    ("mtu", "a network of 9,000 bytes, and a way out of 1,500"),
];

/// What was seen while a test waited.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Findings that began, and after what time.
    pub(super) begun: BTreeMap<Found, Duration>,
    /// Findings that ended.
    pub(super) ended: BTreeMap<Found, Duration>,
    before: Option<BTreeSet<Found>>,
}

impl Seen {
    /// Takes in the findings at a time.
    pub(super) fn at(&mut self, found: &BTreeSet<Found>, time: Duration) {
        if let Some(before) = &self.before {
            for new in found.difference(before) {
                self.begun.entry(new.clone()).or_insert(time);
            }
            for gone in before.difference(found) {
                self.ended.insert(gone.clone(), time);
            }
        }
        self.before = Some(found.clone());
    }
}

/// The longest times of each check: until it found, and until it was over.
#[derive(Debug, Default)]
pub(super) struct Times {
    found: BTreeMap<String, Duration>,
    over: BTreeMap<String, Duration>,
}

impl Times {
    /// Takes in what was seen.
    pub(super) fn add(&mut self, seen: Seen) {
        let longest = |times: &mut BTreeMap<String, Duration>, seen: BTreeMap<Found, Duration>| {
            for ((_, check, ..), time) in seen {
                let known = times.entry(check).or_default();
                *known = time.max(*known);
            }
        };
        longest(&mut self.found, seen.begun);
        longest(&mut self.over, seen.ended);
    }

    /// Writes the table's rows, if that is wanted. Each engine has its columns.
    ///
    /// # Errors
    /// A check was seen that has no row.
    pub(super) fn write(&self, engine: Engine) -> anyhow::Result<()> {
        // Several tests write to it.
        static DOCUMENT: Mutex<()> = Mutex::new(());
        for check in self.found.keys() {
            ensure!(FAULTS.iter().any(|(name, _)| name == check), "{check} has no row");
        }
        if env::var_os("NETMON_BLESS").is_none() {
            return Ok(());
        }
        let _lock = DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings.md");
        let text = fs::read_to_string(&file)?;
        let (before, table) = text.split_once(HEADER).context("the document has no such table")?;
        let (old, after) = table.split_once("\n\n").context("the table has no end")?;
        let columns = |check: &str| {
            let begin = format!("| `{check}` |");
            let row = old.lines().find(|line| line.starts_with(&begin)).unwrap_or_default();
            let known: Vec<&str> = row.split(" | ").skip(2).map(|it| it.trim_end_matches(" |")).collect();
            [
                known.first().copied().unwrap_or("-").to_owned(),
                known.get(1).copied().unwrap_or("-").to_owned(),
            ]
        };
        let mut rows = String::new();
        for (check, how) in FAULTS {
            let mut columns = columns(check);
            if let (Some(found), Some(over)) = (self.found.get(check), self.over.get(check)) {
                let at = usize::from(matches!(engine, Engine::New));
                columns[at] = format!("{} s, {} s", found.as_secs() + 1, over.as_secs() + 1);
            }
            let [old, new] = columns;
            let _written = write!(rows, "\n| `{check}` | {how} | {old} | {new} |");
        }
        fs::write(&file, format!("{before}{HEADER}{rows}\n\n{after}"))?;
        Ok(())
    }
}

/// The table's head.
const HEADER: &str = "| check | how a test makes the fault | 20.10: found, over | 28: found, over |\n|---|---|---|---|";
