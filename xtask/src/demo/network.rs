//! The demo's networks: their addresses, and how a container is attached to one.
//!
//! Must not know which containers and nodes there are.

use std::net::Ipv4Addr;

use netmon_tests::{
    fake_engine::{Endpoint, Network},
    netns::Netns,
};

/// A network of containers.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) bridge: &'static str,
    pub(super) mtu: u32,
    /// The first three bytes of the network's IPv4 prefix, a /24.
    v4: [u8; 3],
    /// The network's IPv6 prefix, a /64, up to the last group. `None` without IPv6.
    v6: Option<&'static str>,
}

/// The network on this node only.
pub(super) const FRONTEND: Plan = Plan {
    name: "shop_frontend",
    bridge: "br-frontend",
    mtu: 1500,
    v4: [172, 20, 0],
    v6: Some("fd00:20::"),
};
/// The network over both nodes. VXLAN takes 50 bytes of each packet.
pub(super) const BACKEND: Plan = Plan {
    name: "shop_backend",
    bridge: "br0",
    mtu: 1450,
    v4: [10, 0, 1],
    v6: None,
};

/// Last bytes of the containers' addresses.
pub(super) const WEB: [u8; 2] = [11, 12];
pub(super) const API: u8 = 21;
pub(super) const CACHE: u8 = 31;
pub(super) const JOB: u8 = 41;
/// The last byte of the address of the container on the other node.
pub(super) const DB: u8 = 51;
/// Addresses that the overlay answers for. For the first it knows no node; the node of the second cannot be reached.
pub(super) const NOWHERE: u8 = 98;
pub(super) const UNREACHABLE: u8 = 99;

impl Plan {
    /// The address with that last byte.
    pub(super) fn ip(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.v4;
        Ipv4Addr::new(a, b, c, last)
    }

    /// The matching IPv6 address, if the network has IPv6.
    pub(super) fn ipv6(&self, last: u8) -> Option<String> {
        self.v6.map(|prefix| format!("{prefix}{last:x}"))
    }

    /// The hardware address, derived from the IP address as the engine does.
    fn mac(&self, last: u8) -> String {
        let [a, b, c] = self.v4;
        format!("02:42:{a:02x}:{b:02x}:{c:02x}:{last:02x}")
    }

    /// The network as the engine describes it.
    pub(super) fn described(&self, driver: &str, vni: Option<u32>) -> Network {
        let v6 = self.v6.map(|prefix| format!(",{prefix}/64")).unwrap_or_default();
        Network {
            name: self.name.to_owned(),
            driver: driver.to_owned(),
            subnet: format!("{}/24{v6}", self.ip(0)),
            vni,
            encrypted: false,
        }
    }
}

/// Makes the overlay answer ARP requests for the address of a container on another node.
pub(super) fn neighbour(overlay: &Netns, last: u8) -> anyhow::Result<()> {
    let (ip, mac) = (BACKEND.ip(last), BACKEND.mac(last));
    overlay
        .run(&format!("ip neigh add {ip} lladdr {mac} dev vxlan0 nud permanent"))
        .map(drop)
}

/// Makes the overlay send packets for that address to that node.
pub(super) fn forward(overlay: &Netns, last: u8, node: Ipv4Addr) -> anyhow::Result<()> {
    let mac = BACKEND.mac(last);
    overlay
        .run(&format!("bridge fdb add {mac} dev vxlan0 dst {node} self permanent"))
        .map(drop)
}

/// Creates the network's bridge.
pub(super) fn bridge(netns: &Netns, network: &Plan) -> anyhow::Result<()> {
    netns.run(&format!("ip link add {} type bridge", network.bridge))?;
    netns.run(&format!("ip link set {} up", network.bridge)).map(drop)
}

/// Attaches a container to the network's bridge with a veth pair.
pub(super) fn plug(
    container: &Netns,
    device: &str,
    switch: &Netns,
    port: &str,
    network: &Plan,
    last: u8,
) -> anyhow::Result<Endpoint> {
    let (ip, mac, mtu) = (network.ip(last), network.mac(last), network.mtu);
    switch.run(&format!(
        "ip link add {port} mtu {mtu} type veth peer name {device} address {mac} mtu {mtu} netns {}",
        container.path().display()
    ))?;
    switch.run(&format!("ip link set {port} master {} up", network.bridge))?;
    container.run(&format!("ip address add {ip}/24 dev {device}"))?;
    let ipv6 = network.ipv6(last);
    if let Some(ipv6) = &ipv6 {
        container.run(&format!("ip address add {ipv6}/64 dev {device} nodad"))?;
    }
    container.run(&format!("ip link set {device} up"))?;
    Ok(Endpoint {
        network: network.name.to_owned(),
        mac,
        address: ip.to_string(),
        ipv6_address: ipv6.unwrap_or_default(),
    })
}
