//! Faults of a lab's nodes and of the network between them, and their repair.

use super::{Lab, Node};
use crate::sh;

impl Lab {
    /// Drops packets to that port between any two nodes. `udp 4789` are the overlays' packets, `udp 7946` is gossip.
    ///
    /// # Errors
    /// The script fails.
    pub fn firewall(&self, protocol: &str, port: u16) -> anyhow::Result<()> {
        self.run(["firewall", protocol, &port.to_string()]).map(drop)
    }

    /// Drops all packets between these two nodes.
    ///
    /// # Errors
    /// The script fails.
    pub fn isolate(&self, one: Node<'_>, other: Node<'_>) -> anyhow::Result<()> {
        self.run(["isolate", &one.name(), &other.name()]).map(drop)
    }

    /// Ends every fault of the network.
    ///
    /// # Errors
    /// The script fails.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.run(["heal"]).map(drop)
    }
}

impl Node<'_> {
    /// Separates the node from the others: all packets from it and to it are dropped.
    ///
    /// # Errors
    /// The script fails.
    pub fn partition(self) -> anyhow::Result<()> {
        sh::output(&mut self.command("partition")).map(drop)
    }

    /// Drops that percentage of the frames that the node sends.
    ///
    /// # Errors
    /// The script fails.
    pub fn loses(self, percent: u32) -> anyhow::Result<()> {
        sh::output(self.command("loss").arg(percent.to_string())).map(drop)
    }

    /// Limits the size of packets between the node and the others.
    ///
    /// # Errors
    /// The script fails.
    pub fn limit_packets_to(self, bytes: u32) -> anyhow::Result<()> {
        sh::output(self.command("mtu").arg(bytes.to_string())).map(drop)
    }

    /// Stops the engine's process, which then neither answers nor closes a connection.
    ///
    /// # Errors
    /// No engine runs.
    pub fn hang_engine(self) -> anyhow::Result<()> {
        // Of the node's processes: it has process ids of its own.
        self.exec("pkill -STOP -x dockerd").map(drop)
    }

    /// Ends [`Node::hang_engine`].
    ///
    /// # Errors
    /// No engine is there.
    pub fn wake_engine(self) -> anyhow::Result<()> {
        self.exec("pkill -CONT -x dockerd").map(drop)
    }

    /// Turns the node's power off: all of its processes and namespaces end.
    ///
    /// # Errors
    /// The script fails.
    pub fn cut_power(self) -> anyhow::Result<()> {
        sh::output(&mut self.command("kill")).map(drop)
    }

    /// Boots the node again.
    ///
    /// # Errors
    /// Its engine does not answer.
    pub fn boot(self) -> anyhow::Result<()> {
        self.start_engine()
    }
}
