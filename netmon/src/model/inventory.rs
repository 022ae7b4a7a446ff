//! The node, its containers and their networks, as the engine reports them.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use super::{
    interface::MacAddress,
    peers::{Members, Peers},
    text::{is_same, order},
};

/// A container in a Swarm reaches external networks through this network. No container's description lists it.
pub const GATEWAY_BRIDGE: &str = "docker_gwbridge";

/// A container's full id (64 hexadecimal digits).
pub type ContainerId = Arc<str>;
/// A network's full id: 64 hexadecimal digits for a local network, 25 letters and digits for a Swarm one.
pub type NetworkId = Arc<str>;

/// Everything the engine reported, consistent as of one moment. Cheap to clone: unchanged parts are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The node itself; `None` before the engine's first answer.
    pub node: Option<Arc<Node>>,
    /// Running containers, and containers that ended a moment ago. The last readings of their interfaces still need a
    /// name.
    pub containers: BTreeMap<ContainerId, Arc<Container>>,
    /// All networks known to this node.
    pub networks: BTreeMap<NetworkId, Arc<Network>>,
    /// The nodes of the Swarm.
    pub peers: Arc<Peers>,
    /// The members of the overlay networks that this node takes part in. `None` for a network without an answer yet.
    pub members: BTreeMap<NetworkId, Option<Arc<Members>>>,
}

/// The node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its hostname, as the engine reports it. In a Swarm, this is the node's name.
    pub hostname: String,
    /// Its Swarm node id; empty outside a Swarm.
    pub node_id: String,
    /// Its address in the Swarm.
    pub address: Option<IpAddr>,
    /// `manager`, `worker`, or empty outside a Swarm.
    pub role: String,
    /// The engine's version.
    pub engine_version: String,
    /// The kernel release.
    pub kernel_version: String,
    /// Where the engine takes the subnets of local networks from; empty if that was not configured.
    pub pools: Vec<Pool>,
}

/// The three labels that nearly every family has, derived from the engine's names.
#[derive(Clone, Debug, Default, Eq)]
pub struct Identity {
    /// The container's name, without the leading slash.
    pub container: String,
    /// Swarm service, else Compose service, else empty.
    pub service: String,
    /// Swarm stack, else Compose project, else empty.
    pub stack: String,
}

// === impl Identity ===

// Maps and sorted lists compare identities all the time, mostly one with itself, and with empty texts.

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || is_same(&self.container, &other.container)
                && is_same(&self.service, &other.service)
                && is_same(&self.stack, &other.stack)
    }
}

impl PartialOrd for Identity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Identity {
    fn cmp(&self, other: &Self) -> Ordering {
        if std::ptr::eq(self, other) {
            return Ordering::Equal;
        }
        order(&self.container, &other.container)
            .then_with(|| order(&self.service, &other.service))
            .then_with(|| order(&self.stack, &other.stack))
    }
}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            container,
            service,
            stack,
        } = self;
        (container, service, stack).hash(state);
    }
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Container, service and stack.
    pub identity: Arc<Identity>,
    /// The image name that the container was created with.
    pub image: String,
    /// The id of its Swarm task; empty for a container that is no Swarm task.
    pub task_id: String,
    /// The slot of its task, or the node's id for a global service; empty for a container that is no Swarm task.
    pub task_slot: String,
    /// The network mode it was started with, as the engine writes it: `bridge`, `host`, `none`, a network's name, ...
    pub network_mode: String,
    /// Where its interfaces are.
    pub sandbox: Sandbox,
    /// Its networks, as the engine sees them. `docker_gwbridge` is never among them.
    pub endpoints: Vec<Endpoint>,
    /// When its process was started last; `None` if the engine does not say so.
    pub started: Option<SystemTime>,
    /// Whether its process exists. A paused container's process does. Ended containers are kept only to name their
    /// readings.
    pub running: bool,
}

/// Which network namespace a container uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// Its own. The engine mounted the namespace on this file.
    Own(PathBuf),
    /// Another container's (`--network container:X`). The counters belong to X.
    Shared(ContainerId),
    /// The node's (`--network host`). The container has no interface of its own.
    Host,
    /// Its own, with only loopback (`--network none`).
    Isolated,
    /// The engine reports none: the container has not started yet, or it ended.
    #[default]
    Absent,
}

/// A container's endpoint on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The network.
    pub network: NetworkId,
    /// The network's name, as in the engine's description of the container.
    pub network_name: String,
    /// The interface's hardware address. The engine drops it when the container ends.
    pub mac: Option<MacAddress>,
    /// The interface's addresses. The engine drops them when the container ends.
    pub addresses: Vec<IpAddr>,
    /// The names by which others on the network find the container, beside its own name and its id.
    pub aliases: Vec<Arc<str>>,
}

impl Endpoint {
    /// Whether there is anything to find the interface by.
    #[must_use]
    pub const fn is_located(&self) -> bool {
        self.mac.is_some() || !self.addresses.is_empty()
    }
}

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own in the engine's description"
)]
pub struct Network {
    /// Its id.
    pub id: NetworkId,
    /// Its name. It is unique among Swarm networks; two local networks may share one.
    pub name: String,
    /// Its driver's name: `bridge`, `overlay`, `macvlan`, `ipvlan`, `host`, `null`, or a plugin's.
    pub driver: String,
    /// `local`, `swarm` or `global`.
    pub scope: String,
    /// It has no route to other networks.
    pub internal: bool,
    /// Containers outside of a service may join.
    pub attachable: bool,
    /// It is the ingress network, which carries the routing mesh.
    pub ingress: bool,
    /// IPv6 is on.
    pub ipv6: bool,
    /// It was set up without an IPv4 gateway: its bridge has no address, or its containers no default route.
    pub lacks_gateway: bool,
    /// The overlay network is configured to encrypt traffic between nodes.
    pub encrypted: bool,
    /// The MTU option, if it was set.
    pub mtu: Option<u32>,
    /// The name of the bridge device of a bridge network, if it was set.
    pub bridge: Option<String>,
    /// The VNIs of an overlay network, one for each subnet.
    pub vnis: Vec<u32>,
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// The Swarm stack that it belongs to, else the Compose project, else empty.
    pub stack: String,
}

impl Network {
    /// Whether its containers get a default route with it. That of an overlay network leads through `docker_gwbridge`.
    #[must_use]
    pub fn leads_out(&self) -> bool {
        matches!(self.driver.as_str(), "bridge" | "overlay" | "macvlan" | "ipvlan")
            && !self.internal
            && !self.lacks_gateway
    }

    /// The name of a bridge network's bridge in the node's namespace: the one that was set, else `br-` and the beginning
    /// of its id.
    #[must_use]
    pub fn bridge_device(&self) -> String {
        let usual = || format!("br-{}", self.id.get(..12).unwrap_or(&self.id));
        self.bridge.clone().unwrap_or_else(usual)
    }
}

/// Addresses that the engine divides into subnets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// All of them.
    pub base: Subnet,
    /// The prefix length of each subnet.
    pub size: u8,
}

/// A subnet in prefix notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    /// Its first address.
    pub address: IpAddr,
    /// The number of significant leading bits.
    pub prefix: u8,
}

impl Subnet {
    /// Whether `address` lies in it. An IPv4 address never lies in an IPv6 subnet.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix.min(32));
                u32::from(net).checked_shr(shift) == u32::from(address).checked_shr(shift)
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix.min(128));
                u128::from(net).checked_shr(shift) == u128::from(address).checked_shr(shift)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether the two have an address in common: one lies in the other.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// How many addresses it has. A number that is too large for that is the largest one.
    #[must_use]
    pub fn size(self) -> u64 {
        let bits: u8 = if self.address.is_ipv4() { 32 } else { 128 };
        1_u64
            .checked_shl(u32::from(bits.saturating_sub(self.prefix)))
            .unwrap_or(u64::MAX)
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl std::str::FromStr for Subnet {
    type Err = ParseSubnetError;

    fn from_str(text: &str) -> Result<Self, ParseSubnetError> {
        let (address, prefix) = text.split_once('/').ok_or(ParseSubnetError)?;
        let address: IpAddr = address.parse().map_err(|_| ParseSubnetError)?;
        let prefix: u8 = prefix.parse().map_err(|_| ParseSubnetError)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if prefix > bits {
            return Err(ParseSubnetError);
        }
        // An IPv4 subnet may be written in its IPv6 form.
        let (address, prefix) = match address {
            IpAddr::V6(mapped) if prefix >= 96 && mapped.to_ipv4_mapped().is_some() => {
                (address.to_canonical(), prefix - 96)
            }
            IpAddr::V4(_) | IpAddr::V6(_) => (address, prefix),
        };
        let address = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::from(Ipv4Addr::from(u32::from(address) & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::from(Ipv6Addr::from(u128::from(address) & mask))
            }
        };
        Ok(Self { address, prefix })
    }
}

/// The text is not a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subnet is an address, a slash and a prefix length")]
pub struct ParseSubnetError;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Subnet;

    fn contains(subnet: &str, address: &str) -> bool {
        let subnet: Subnet = subnet.parse().expect("a subnet");
        let address: IpAddr = address.parse().expect("an address");
        subnet.contains(address)
    }

    #[test]
    fn a_subnet_contains_its_addresses_and_no_others() {
        assert!(contains("10.0.1.0/24", "10.0.1.255"));
        assert!(!contains("10.0.1.0/24", "10.0.2.0"));
        assert!(contains("fd00:1::/64", "fd00:1::ffff"));
        assert!(!contains("fd00:1::/64", "fd00:2::1"));
    }

    #[test]
    fn the_widest_and_the_narrowest_prefix_mean_all_and_one() {
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("10.0.0.1/32", "10.0.0.1"));
        assert!(!contains("10.0.0.1/32", "10.0.0.2"));
        assert!(contains("::/0", "fe80::1"));
        assert!(contains("::1/128", "::1"));
    }

    #[test]
    fn any_address_of_a_subnet_stands_for_it() {
        for (text, first) in [
            ("10.0.1.7/24", "10.0.1.0/24"),
            ("10.0.1.7/0", "0.0.0.0/0"),
            ("10.0.1.7/32", "10.0.1.7/32"),
            ("::ffff:10.0.1.7/120", "10.0.1.0/24"),
            ("fd00:1::7/64", "fd00:1::/64"),
            ("fd00:1::7/0", "::/0"),
            ("fd00:1::7/128", "fd00:1::7/128"),
        ] {
            let subnet: Subnet = text.parse().expect("a subnet");
            assert_eq!(subnet.to_string(), first);
        }
    }

    #[test]
    fn what_is_no_subnet_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x"] {
            assert!(text.parse::<Subnet>().is_err(), "{text:?} was taken for a subnet");
        }
    }
}
