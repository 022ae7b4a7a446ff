//! How two containers are connected: the devices between their namespaces, without addresses. Must not know what the
//! engine says of the network.

use netmon_tests::{fake_engine::network_id, netns::Netns};

use super::{DEVICE, World};

/// How two containers are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cable {
    /// By one veth pair, with one end in each.
    Veth,
    /// By a bridge, as on Docker's bridge networks.
    Bridge,
    /// By two macvlan devices on one parent.
    Macvlan,
    /// By an overlay network between two nodes.
    Vxlan,
}

impl Cable {
    /// The Docker driver that creates such a connection.
    pub(super) fn driver(self) -> &'static str {
        match self {
            Self::Veth | Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Vxlan => "overlay",
        }
    }
}

impl World {
    /// A bridge in a namespace of its own, and a veth pair to each container.
    pub(super) fn bridge(&mut self, name: &str, members: &[&Netns]) -> anyhow::Result<()> {
        let netns = self.other(name)?;
        netns.run("ip link add br0 type bridge forward_delay 0 mcast_snooping 0")?;
        netns.run("ip link set br0 up")?;
        for (number, member) in members.iter().enumerate() {
            plug(netns, &format!("veth{number}"), member)?;
        }
        Ok(())
    }

    pub(super) fn macvlan(&mut self, members: &[&Netns]) -> anyhow::Result<()> {
        let netns = self.other("parent")?;
        // A veth, because some kernels have no dummy devices.
        netns.run("ip link add parent type veth peer name uplink")?;
        netns.run("ip link set uplink up")?;
        netns.run("ip link set parent up")?;
        for (number, member) in members.iter().enumerate() {
            netns.run(&format!("ip link add mv{number} link parent type macvlan mode bridge"))?;
            netns.run(&format!(
                "ip link set mv{number} netns {} name {DEVICE}",
                member.path().display()
            ))?;
        }
        Ok(())
    }

    /// Two nodes with an underlay between them. Each has an overlay's namespace with a bridge, a VXLAN device and a
    /// container. netmon watches only the first node's namespaces.
    pub(super) fn overlay(&mut self, a: &Netns, b: &Netns) -> anyhow::Result<()> {
        let here = Netns::new(&self.netns_dir(), &format!("1-{}", &network_id("net")[..10]))?;
        self.others.push(here);
        self.other("node2-overlay")?;
        self.other("node1")?;
        self.other("node2")?;
        let [.., overlay1, overlay2, node1, node2] = &self.others[..] else {
            anyhow::bail!("namespaces are missing");
        };
        node1.run(&format!(
            "ip link add under0 type veth peer name under0 netns {}",
            node2.path().display()
        ))?;
        for (number, node, overlay, member) in [(1, node1, overlay1, a), (2, node2, overlay2, b)] {
            node.run(&format!("ip addr add 10.88.0.{number}/24 dev under0"))?;
            node.run("ip link set under0 up")?;
            // The device is created on the node and then moved, as the engine does: its socket stays in the node's
            // namespace.
            node.run(&format!(
                "ip link add vxlan0 type vxlan id 4097 dstport 4789 remote 10.88.0.{} local 10.88.0.{number} proxy l2miss l3miss",
                3 - number
            ))?;
            node.run(&format!("ip link set vxlan0 netns {}", overlay.path().display()))?;
            overlay.run("ip link add br0 type bridge forward_delay 0 mcast_snooping 0")?;
            overlay.run("ip link set br0 up")?;
            overlay.run("ip link set vxlan0 mtu 1450 master br0 up")?;
            plug(overlay, "veth0", member)?;
            member.run(&format!("ip link set {DEVICE} mtu 1450"))?;
        }
        Ok(())
    }
}

/// Adds a veth pair from a bridge to a container.
fn plug(bridge: &Netns, port: &str, member: &Netns) -> anyhow::Result<()> {
    let member = member.path().display();
    bridge.run(&format!(
        "ip link add {port} type veth peer name {DEVICE} netns {member}"
    ))?;
    bridge.run(&format!("ip link set {port} master br0 up"))?;
    Ok(())
}
