//! The basis of most tests: a node with an engine and a netmon, and the comparison of its page with the kernel.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use netmon_tests::{
    figures::Figures,
    lab::{Engine, Lab, Node},
    netmon::Netmon,
    patience::{PATIENCE, within},
};

/// The beginning of the families of a container's interface, without direction and unit.
pub(crate) const CONTAINER: &str = "netmon_container_network";

/// Long enough to see last values on a busy machine, and short enough to wait for their end.
const LINGER: &str = "--container.linger=8s";

/// A lab of one node, and the netmon that watches it.
pub(crate) struct Ground {
    // Dropped before the lab.
    pub(crate) netmon: Netmon,
    pub(crate) lab: Lab,
}

impl Ground {
    pub(crate) fn new(engine: Engine) -> anyhow::Result<Self> {
        let lab = Lab::up(1, engine)?;
        let netmon = netmon_on(lab.node(1))?;
        Ok(Self { netmon, lab })
    }

    pub(crate) fn node(&self) -> Node<'_> {
        self.lab.node(1)
    }

    /// Like [`agrees`], for the interface that the container has on the network according to the engine.
    pub(crate) fn agrees(&self, container: &str, network: &str) -> anyhow::Result<Figures> {
        Interface::of(self.node(), container, network)?.agrees(self.node(), &self.netmon)
    }

    /// Pings one container from another, and checks that both interfaces count it.
    pub(crate) fn carries(&self, from: &str, to: &str, network: &str) -> anyhow::Result<()> {
        let address = self.node().address_of(to, network)?;
        self.carries_to(from, &[from, to], address, network)
    }

    /// Pings that address from a container, and checks that the interfaces of these containers count it.
    pub(crate) fn carries_to(
        &self,
        from: &str,
        charged: &[&str],
        address: IpAddr,
        network: &str,
    ) -> anyhow::Result<()> {
        const PINGS: u64 = 50;
        let look = || -> anyhow::Result<Vec<Figures>> { charged.iter().map(|it| self.agrees(it, network)).collect() };
        let before = look()?;
        ping(self.node(), from, address, PINGS)?;
        for ((container, before), after) in charged.iter().zip(before).zip(look()?) {
            let more = after.since(before).each();
            // 56 bytes of payload, and the headers of ICMP, IPv4 and Ethernet.
            let least = [PINGS, PINGS * 98, PINGS, PINGS * 98];
            ensure!(
                more.iter().zip(least).all(|(more, least)| *more >= least),
                "{container} on {network} had {PINGS} pings with answers, and is charged with {more:?}"
            );
        }
        Ok(())
    }
}

/// Starts a netmon that watches the node.
pub(crate) fn netmon_on(node: Node<'_>) -> anyhow::Result<Netmon> {
    let netmon = node.netmon(&[LINGER])?;
    netmon.wait_ready()?;
    Ok(netmon)
}

/// Sends that many pings from a container, and receives as many answers.
pub(crate) fn ping(node: Node<'_>, from: &str, to: IpAddr, count: u64) -> anyhow::Result<()> {
    let text = node.docker(&format!("exec {from} ping -q -c {count} -i 0.01 -W 5 {to}"))?;
    ensure!(
        text.contains(&format!("{count} packets transmitted, {count} packets received")),
        "pings were lost: {text}"
    );
    Ok(())
}

/// Waits until a container reaches the address, as [`netmon_tests::traffic::reach`] does.
pub(crate) fn reach(node: Node<'_>, from: &str, to: IpAddr) -> anyhow::Result<()> {
    within(3 * PATIENCE, "it to be reached", || ping(node, from, to, 1))
}

/// A container's interface, found without netmon.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub(crate) container: String,
    pub(crate) network: String,
    /// The file name of its namespace. It gives access without an engine.
    pub(crate) sandbox: String,
    device: String,
}

impl Interface {
    pub(crate) fn of(node: Node<'_>, container: &str, network: &str) -> anyhow::Result<Self> {
        Ok(Self {
            container: container.to_owned(),
            network: network.to_owned(),
            sandbox: node.sandbox(container)?,
            device: node.device(container, network)?,
        })
    }

    /// Its own counters.
    pub(crate) fn figures(&self, node: Node<'_>) -> anyhow::Result<Figures> {
        node.figures(&self.sandbox, &self.device)
    }

    /// Checks that the page has the kernel's counts of the interface, and returns them.
    pub(crate) fn agrees(&self, node: Node<'_>, netmon: &Netmon) -> anyhow::Result<Figures> {
        let labels = [
            ("container", self.container.as_str()),
            ("network", self.network.as_str()),
            ("interface", self.device.as_str()),
        ];
        netmon.page_until(&format!("{self:?} on the page"), |page| {
            page.figures(CONTAINER, &labels).map(drop)
        })?;
        agrees(|| self.figures(node), || netmon.page()?.figures(CONTAINER, &labels))
            .with_context(|| format!("{self:?}"))
    }
}

/// Checks that both have the same counts. Counters only rise. So while packets pass, netmon's must lie between two
/// readings of the kernel's. When no packets pass, they must be equal.
pub(crate) fn agrees(
    kernel: impl Fn() -> anyhow::Result<Figures>,
    netmon: impl Fn() -> anyhow::Result<Figures>,
) -> anyhow::Result<Figures> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let before = kernel()?;
        let shown = netmon()?;
        let after = kernel()?;
        ensure!(
            shown.between(before, after),
            "the kernel counts {before:?}, then netmon {shown:?}, then the kernel {after:?}"
        );
        if before == after {
            return Ok(after);
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("packets never stopped, so that equality could not be seen")
}
