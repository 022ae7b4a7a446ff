//! Addresses or ports of a bridge are nearly used up: the next container, or the next network, will not start.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use super::{CheckDefinition, finding};
use crate::model::{
    facts::{CheckFacts, NodeFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    interface::{Device, DeviceKind},
    inventory::{Inventory, Network, Pool, Subnet},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("address_space"),
    finds: "a network has given out nine tenths of its addresses, a bridge has nine tenths of its ports, or the engine's address \
            pools have few subnets left",
    compares: "The addresses in use on each network, by gossip for overlay networks, with its subnets. The bridges' ports with the \
               kernel's 1,023. The networks' subnets with the pools",
    blind_spots: "Addresses of stopped containers, which the engine keeps. A smaller `--ip-range`. Pools of a Swarm's overlay \
                  networks. Overlay networks without a container here",
    causes: "A `/24` overlay network has room for 253 addresses. Each replica, each virtual address and each node takes one. The \
             engine's own pools make 31 local networks.",
    patience: Duration::from_secs(20),
    rests_on_members: false,
    look,
};

/// The kernel's limit (`BR_MAX_PORTS`), without number 0.
const MOST_PORTS: usize = 1_023;
/// Network, broadcast and gateway.
const TAKEN: u64 = 3;
/// Larger subnets are never used up.
const LARGEST: u64 = 1 << 16;

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let mut found = Vec::new();
    let used = used(inventory);
    for network in inventory.networks.values() {
        let used = used.get(&*network.id).into_iter().flatten();
        let of_subnet = |subnet: &Subnet| {
            let used = used.clone().filter(|address| subnet.contains(**address)).count();
            nearly_full(network, *subnet, u64::try_from(used).unwrap_or(u64::MAX))
        };
        found.extend(network.subnets.iter().filter_map(of_subnet));
    }
    found.extend(of_bridges("", &node.devices, inventory));
    for (network, overlay) in &facts.overlays {
        if let Ok(overlay) = overlay {
            found.extend(of_bridges(network, &overlay.devices, inventory));
        }
    }
    found.extend(of_pools(inventory, node));
    Ok(found)
}

/// The addresses that are known to be given, by network.
fn used(inventory: &Inventory) -> BTreeMap<&str, BTreeSet<IpAddr>> {
    let mut used: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
    let running = inventory.containers.values().filter(|container| container.running);
    for endpoint in running.flat_map(|container| &container.endpoints) {
        used.entry(&endpoint.network).or_default().extend(&endpoint.addresses);
    }
    for (network, members) in &inventory.members {
        let Some(members) = members else { continue };
        let its = used.entry(network).or_default();
        its.extend(members.endpoints.keys());
        its.extend(members.virtual_ips.values());
        its.extend(members.load_balancers.keys());
    }
    used
}

fn nearly_full(network: &Network, subnet: Subnet, used: u64) -> Option<Finding> {
    let size = subnet.size();
    let room = size.saturating_sub(TAKEN);
    // A subnet for one container is full with it.
    if size > LARGEST || room < 8 || used < room - room / 10 {
        return None;
    }
    Some(finding(
        DEFINITION.name,
        Severity::Warning,
        Subject {
            network: network.name.as_str().into(),
            item: subnet.to_string().into(),
            ..Subject::default()
        },
        format!(
            "{used} of the {room} addresses of {subnet} are in use, so {} more can start on this network",
            match room.saturating_sub(used) {
                0 => "none".to_owned(),
                left => format!("at most {left}"),
            }
        ),
        "Make a larger network with `docker network create --subnet`, and move services there with `docker service update \
         --network-add`."
            .to_owned(),
    ))
}

/// The bridges among these devices that have nearly as many ports as a bridge can have.
fn of_bridges(network: &str, devices: &[Device], inventory: &Inventory) -> Vec<Finding> {
    let mut ports: BTreeMap<u32, usize> = BTreeMap::new();
    for master in devices.iter().filter_map(|device| device.master) {
        *ports.entry(master).or_default() += 1;
    }
    let bridges = devices.iter().filter(|device| device.kind == DeviceKind::Bridge);
    let full = bridges.filter_map(|bridge| {
        let ports = *ports.get(&bridge.ifindex)?;
        if ports < MOST_PORTS - MOST_PORTS / 10 {
            return None;
        }
        let mut networks = inventory.networks.values();
        let its = networks.find(|network| network.driver == "bridge" && network.bridge_device() == bridge.name);
        Some(finding(
            DEFINITION.name,
            Severity::Warning,
            Subject {
                network: its.map_or(network, |network| network.name.as_str()).into(),
                item: bridge.name.as_str().into(),
                ..Subject::default()
            },
            format!(
                "{ports} containers are on the bridge {}, and the kernel allows {MOST_PORTS}",
                bridge.name
            ),
            "Spread the containers over more networks or nodes: `docker network create`.".to_owned(),
        ))
    });
    full.collect()
}

/// Whether few subnets are left where the engine takes those of new local networks from.
fn of_pools(inventory: &Inventory, node: &NodeFacts) -> Option<Finding> {
    let configured = inventory
        .node
        .as_ref()
        .map(|node| node.pools.as_slice())
        .unwrap_or_default();
    let usual = usual_pools();
    let pools = if configured.is_empty() { &usual } else { configured };
    let local = inventory
        .networks
        .values()
        .filter(|network| network.driver != "overlay");
    let mut taken: BTreeSet<Subnet> = local.flat_map(|network| &network.subnets).copied().collect();
    // The engine leaves out what is on a link of the node, and not what is behind a gateway (`CheckRouteOverlaps`).
    taken.extend(
        node.routes
            .iter()
            .flatten()
            .filter(|route| route.is_link)
            .map(|route| route.subnet),
    );
    let (mut all, mut left) = (0_u64, 0_u64);
    for pool in pools.iter().filter(|pool| pool.base.address.is_ipv4()) {
        let subnets = 1_u64
            .checked_shl(u32::from(pool.size.saturating_sub(pool.base.prefix)))
            .unwrap_or(u64::MAX);
        let inside: Vec<_> = taken.iter().filter(|subnet| subnet.overlaps(pool.base)).collect();
        all = all.saturating_add(subnets);
        left = left.saturating_add(if inside.iter().any(|subnet| subnet.prefix <= pool.base.prefix) {
            0
        } else {
            // Two small ones may lie in the same subnet of the pool.
            let prefix = pool.size.min(32);
            let cut = |subnet: &Subnet| match subnet.address {
                IpAddr::V4(address) => u64::from(u32::from(address)) >> (32 - u32::from(prefix)),
                IpAddr::V6(_) => 0,
            };
            let in_subnets: BTreeSet<u64> = inside
                .iter()
                .filter(|it| it.prefix >= prefix)
                .map(|it| cut(it))
                .collect();
            let wide = inside.iter().filter(|it| it.prefix < prefix);
            let of_wide: u64 = wide
                .map(|it| 1_u64 << (prefix - it.prefix).min(32))
                .fold(0, u64::saturating_add);
            let used = u64::try_from(in_subnets.len())
                .unwrap_or(u64::MAX)
                .saturating_add(of_wide);
            subnets.saturating_sub(used)
        });
    }
    (left.saturating_mul(10) < all).then(|| {
        finding(
            DEFINITION.name,
            Severity::Warning,
            Subject {
                item: "default-address-pools".into(),
                ..Subject::default()
            },
            format!("{left} of the {all} subnets of the engine's address pools are left, so `docker network create` will fail soon"),
            "Remove networks that nobody uses with `docker network rm`, or set larger `default-address-pools` in the engine's \
             daemon.json."
                .to_owned(),
        )
    })
}

/// The engine's pools if none are configured (`localScopeDefaultNetworks` of libnetwork).
fn usual_pools() -> Vec<Pool> {
    let pool = |first: [u8; 4], prefix, size| Pool {
        base: Subnet {
            address: IpAddr::from(first),
            prefix,
        },
        size,
    };
    let large = (17..32).map(|second| pool([172, second, 0, 0], 16, 16));
    large.chain([pool([192, 168, 0, 0], 16, 20)]).collect()
}

#[cfg(test)]
mod tests {
    use super::look;
    use crate::{
        checks::samples::{container, device, facts, network, node},
        model::{
            facts::CheckFacts,
            interface::{Device, DeviceKind},
        },
    };

    fn items(facts: &CheckFacts) -> Vec<(String, String)> {
        let found = look(facts).expect("it can look").into_iter();
        found
            .map(|it| (it.subject.network.to_string(), it.subject.item.to_string()))
            .collect()
    }

    #[test]
    fn a_network_with_few_addresses_left_is_a_finding() {
        let with = |count: u8| {
            let containers = (0..count).map(|number| {
                container(
                    &format!("c{number}"),
                    true,
                    &[("small", &format!("10.0.1.{}", number + 2))],
                )
            });
            facts(
                [network("small", "overlay", &["10.0.1.0/27"])],
                containers.collect::<Vec<_>>(),
            )
        };
        assert!(items(&with(26)).is_empty());
        assert_eq!(items(&with(27)), [("small".to_owned(), "10.0.1.0/27".to_owned())]);
        let full = look(&with(29)).expect("it can look");
        assert!(full[0].evidence.contains("so none more can start"), "{full:?}");
    }

    #[test]
    fn a_network_for_one_container_is_not_full_with_it() {
        let one = container("c", true, &[("tiny", "10.0.1.2")]);
        assert!(items(&facts([network("tiny", "bridge", &["10.0.1.0/30"])], [one])).is_empty());
    }

    #[test]
    fn a_bridge_with_nearly_as_many_ports_as_the_kernel_allows_is_a_finding() {
        let with = |ports: u32| {
            let mut facts = facts([network("wide", "bridge", &["10.0.0.0/8"])], []);
            let port = |number| Device {
                ifindex: 10 + number,
                master: Some(7),
                ..device("veth", &[])
            };
            let bridge = Device {
                ifindex: 7,
                kind: DeviceKind::Bridge,
                ..device("br-wide", &[])
            };
            facts.node = Ok(node(|node| {
                node.devices = (0..ports).map(port).chain([bridge]).collect();
            }));
            items(&facts)
        };
        assert!(with(920).is_empty());
        assert_eq!(with(921), [("wide".to_owned(), "br-wide".to_owned())]);
    }

    #[test]
    fn pools_with_few_subnets_left_are_a_finding() {
        let with = |count: u8| {
            let large = (17..32).map(|second| format!("172.{second}.0.0/16"));
            let small = (0..16).map(|third| format!("192.168.{}.0/20", third * 16));
            let networks = large
                .chain(small)
                .take(usize::from(count))
                .map(|subnet| network(&subnet, "bridge", &[&subnet]));
            items(&facts(networks.collect::<Vec<_>>(), []))
        };
        assert!(with(27).is_empty());
        assert_eq!(with(28), [(String::new(), "default-address-pools".to_owned())]);
    }
}
