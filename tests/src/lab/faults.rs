//! What can go wrong between the nodes of a lab and with them, and how it is mended.

use super::{Lab, Node};
use crate::sh;

impl Lab {
    /// Drops what goes to that port between any two nodes (`udp 4789` is what overlays send, `udp 7946` gossip).
    ///
    /// # Errors
    /// It cannot.
    pub fn firewall(&self, protocol: &str, port: u16) -> anyhow::Result<()> {
        self.run(["firewall", protocol, &port.to_string()]).map(drop)
    }

    /// Drops what goes between these two nodes.
    ///
    /// # Errors
    /// It cannot.
    pub fn isolate(&self, one: Node<'_>, other: Node<'_>) -> anyhow::Result<()> {
        self.run(["isolate", &one.name(), &other.name()]).map(drop)
    }

    /// Undoes every fault of the wire.
    ///
    /// # Errors
    /// It cannot.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.run(["heal"]).map(drop)
    }
}

impl Node<'_> {
    /// Cuts it off the others: what it sends and what is sent to it vanishes.
    ///
    /// # Errors
    /// It cannot.
    pub fn partition(self) -> anyhow::Result<()> {
        sh::output(&mut self.command("partition")).map(drop)
    }

    /// Loses that many percent of the frames that it sends.
    ///
    /// # Errors
    /// It cannot.
    pub fn loses(self, percent: u32) -> anyhow::Result<()> {
        sh::output(self.command("loss").arg(percent.to_string())).map(drop)
    }

    /// Makes its way to the others take only packets of that size.
    ///
    /// # Errors
    /// It cannot.
    pub fn limit_packets_to(self, bytes: u32) -> anyhow::Result<()> {
        sh::output(self.command("mtu").arg(bytes.to_string())).map(drop)
    }

    /// Cuts its power: all of its processes are gone, and so are its namespaces.
    ///
    /// # Errors
    /// It cannot.
    pub fn cut_power(self) -> anyhow::Result<()> {
        sh::output(&mut self.command("kill")).map(drop)
    }

    /// Boots it again.
    ///
    /// # Errors
    /// Its engine does not answer.
    pub fn boot(self) -> anyhow::Result<()> {
        self.start_engine()
    }
}
