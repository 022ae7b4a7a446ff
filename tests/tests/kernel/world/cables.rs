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
        let ports = members.iter().enumerate();
        let ports = ports.flat_map(|(number, member)| plug(&format!("veth{number}"), member));
        netns.ip(&bridge().into_iter().chain(ports).collect::<Vec<_>>())
    }

    pub(super) fn macvlan(&mut self, members: &[&Netns]) -> anyhow::Result<()> {
        let netns = self.other("parent")?;
        // A veth, because some kernels have no dummy devices.
        let mut lines = vec![
            "link add parent type veth peer name uplink".to_owned(),
            "link set uplink up".to_owned(),
            "link set parent up".to_owned(),
        ];
        for (number, member) in members.iter().enumerate() {
            let member = member.path().display();
            lines.push(format!("link add mv{number} link parent type macvlan mode bridge"));
            lines.push(format!("link set mv{number} netns {member} name {DEVICE}"));
        }
        netns.ip(&lines)
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
        let beyond = node2.path().display();
        node1.ip(&[format!("link add under0 type veth peer name under0 netns {beyond}")])?;
        for (number, node, overlay, member) in [(1, node1, overlay1, a), (2, node2, overlay2, b)] {
            // The device is created on the node and then moved, as the engine does: its socket stays in the node's
            // namespace.
            node.ip(&[
                format!("addr add 10.88.0.{number}/24 dev under0"),
                "link set under0 up".to_owned(),
                format!(
                    "link add vxlan0 type vxlan id 4097 dstport 4789 remote 10.88.0.{} local 10.88.0.{number} proxy l2miss l3miss",
                    3 - number
                ),
                format!("link set vxlan0 netns {}", overlay.path().display()),
            ])?;
            let mut lines: Vec<_> = bridge().into();
            lines.push("link set vxlan0 mtu 1450 master br0 up".to_owned());
            lines.extend(plug("veth0", member));
            overlay.ip(&lines)?;
            member.ip(&[format!("link set {DEVICE} mtu 1450")])?;
        }
        Ok(())
    }
}

/// What makes a bridge.
fn bridge() -> [String; 2] {
    [
        "link add br0 type bridge forward_delay 0 mcast_snooping 0".to_owned(),
        "link set br0 up".to_owned(),
    ]
}

/// What adds a veth pair from the bridge to a container.
fn plug(port: &str, member: &Netns) -> [String; 2] {
    let member = member.path().display();
    [
        format!("link add {port} type veth peer name {DEVICE} netns {member}"),
        format!("link set {port} master br0 up"),
    ]
}
