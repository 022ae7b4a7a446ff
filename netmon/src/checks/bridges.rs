//! A container is cut off on the node's side: its cable is in no bridge, or the bridge is not what the engine made.

use std::{collections::BTreeMap, time::Duration};

use super::{CheckDefinition, finding, named, number, restart};
use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    interface::{Device, DeviceKind},
    inventory::{Container, Inventory, Network},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("bridge"),
    finds: "a container's veth is in no bridge or down, or a network's bridge is gone, down, or without its address",
    compares: "the other ends of the containers' veths, and the bridges of bridge networks with their addresses, with what the \
               engine made",
    blind_spots: "devices inside a container that a process there took down; IPv6 addresses of bridges; networks of two that have \
                  the same name",
    causes: "NetworkManager, systemd-networkd or dhcpcd that take Docker's devices for theirs (tell them to leave `veth*`, `br-*` \
             and `docker*` alone), or `ip` by hand.",
    // A container's veth is made before it becomes a port.
    patience: Duration::from_secs(20),
    rests_on_members: false,
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let mut users: BTreeMap<&str, Vec<(&Container, &Device)>> = BTreeMap::new();
    for (id, its) in &facts.containers {
        let (Ok(its), Some(container)) = (its, inventory.containers.get(id)) else {
            continue;
        };
        for (device, network) in its.devices.iter().filter(|_| container.running) {
            users.entry(network).or_default().push((container, device));
        }
    }
    let mut found = Vec::new();
    for (name, users) in users {
        let Some(network) = only_network(inventory, name) else {
            continue;
        };
        match network.driver.as_str() {
            "bridge" => {
                let bridge = network.bridge_device();
                match node.devices.iter().find(|device| device.name == bridge) {
                    Some(device) => {
                        found.extend(of_bridge(network, device, users.len()));
                        let is_its = |end: &Device| end.master == Some(device.ifindex);
                        found.extend(loose_ends(network, &users, &node.devices, &bridge, is_its));
                    }
                    None => found.push(gone(network, &bridge, users.len())),
                }
            }
            "overlay" => {
                if let Some(Ok(overlay)) = facts.overlays.get(name) {
                    let is_port = |end: &Device| end.master.is_some();
                    found.extend(loose_ends(network, &users, &overlay.devices, "", is_port));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The network of a name. Two local networks may have one.
fn only_network<'i>(inventory: &'i Inventory, name: &str) -> Option<&'i Network> {
    let mut named = inventory.networks.values().filter(|network| network.name == name);
    let only = named.next()?;
    named.next().is_none().then_some(only)
}

fn subject(network: &Network, item: &str) -> Subject {
    Subject {
        network: network.name.as_str().into(),
        item: item.into(),
        ..Subject::default()
    }
}

fn gone(network: &Network, bridge: &str, users: usize) -> Finding {
    finding(
        DEFINITION.name,
        Severity::Critical,
        subject(network, bridge),
        format!(
            "the node has no device {bridge}, which is this network's bridge, so {} there reach nothing",
            number(users, "container", "containers")
        ),
        "Drain the node if it is one of a Swarm, run `systemctl restart docker`, which makes the bridge anew, and start its containers again."
            .to_owned(),
    )
}

/// What is wrong with a network's bridge.
fn of_bridge(network: &Network, bridge: &Device, users: usize) -> Option<Finding> {
    let users = number(users, "container", "containers");
    let name = &bridge.name;
    let (evidence, remedy) = if !bridge.up {
        (
            format!("the bridge {name} is down, so {users} there reach nothing"),
            format!("Run `ip link set {name} up` on the node, and find what took it down."),
        )
    } else if network.leads_out() && lacks_address(network, bridge) {
        (
            format!(
                "the bridge {name} has no address of {}, so {users} there have no gateway",
                named(network.subnets.iter().filter(|subnet| subnet.address.is_ipv4()))
            ),
            format!(
                "Take the gateway from `docker network inspect {}`, and run `ip address add GATEWAY/PREFIX dev {name}` on \
                 the node.",
                network.name
            ),
        )
    } else {
        return None;
    };
    Some(finding(
        DEFINITION.name,
        Severity::Critical,
        subject(network, name),
        evidence,
        remedy,
    ))
}

/// Whether a bridge should have an IPv4 address of its network, and has none.
fn lacks_address(network: &Network, bridge: &Device) -> bool {
    let mut subnets = network
        .subnets
        .iter()
        .filter(|subnet| subnet.address.is_ipv4())
        .peekable();
    let has =
        |subnet: &crate::model::inventory::Subnet| bridge.addresses.iter().any(|address| subnet.contains(*address));
    subnets.peek().is_some() && !subnets.any(has)
}

/// The containers whose veths end where they should not, or are down there. `ends` are the devices of the namespace that
/// the other ends are in.
fn loose_ends(
    network: &Network,
    users: &[(&Container, &Device)],
    ends: &[Device],
    bridge: &str,
    is_its: impl Fn(&Device) -> bool,
) -> Vec<Finding> {
    let of = |(owner, device): &(&Container, &Device)| {
        let peer = device.peer?;
        let end = ends
            .iter()
            .find(|end| end.ifindex == peer && end.kind == DeviceKind::Veth)?;
        let identity = &owner.identity;
        let (container, veth, own) = (&identity.container, &end.name, &device.name);
        let (what, mending) = match (is_its(end), end.up) {
            (true, true) => return None,
            (false, _) => (
                "is in no bridge of this network",
                format!("ip link set {veth} master {bridge}"),
            ),
            (true, false) => ("is down", format!("ip link set {veth} up")),
        };
        let remedy = if bridge.is_empty() {
            format!("Run `{}`.", restart(owner))
        } else {
            format!("Run `{mending}` on the node, and find what manages Docker's devices there.")
        };
        Some(finding(
            DEFINITION.name,
            Severity::Critical,
            Subject {
                container: container.as_str().into(),
                service: identity.service.as_str().into(),
                ..subject(network, own)
            },
            format!(
                "{veth}, the other end of {own} of container {container}, {what}, so the container is cut off there"
            ),
            remedy,
        ))
    };
    users.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc};

    use super::look;
    use crate::{
        checks::samples::{container, device, facts, network, node},
        model::{
            facts::{CheckFacts, ContainerFacts, OverlayFacts},
            finding::Finding,
            interface::{Device, DeviceKind},
            inventory::Network,
        },
    };

    fn bridge(change: impl FnOnce(&mut Device)) -> Device {
        let mut bridge = Device {
            ifindex: 7,
            up: true,
            kind: DeviceKind::Bridge,
            ..device("br-front", &["172.18.0.1"])
        };
        change(&mut bridge);
        bridge
    }

    fn end(change: impl FnOnce(&mut Device)) -> Device {
        let mut end = Device {
            ifindex: 8,
            up: true,
            kind: DeviceKind::Veth,
            master: Some(7),
            ..device("veth1", &[])
        };
        change(&mut end);
        end
    }

    /// A node with these devices, and one container that is on the network.
    fn with(network: Network, devices: Vec<Device>) -> CheckFacts {
        let name: Arc<str> = network.name.as_str().into();
        let mut facts = facts([network], [container("web", true, &[(&name, "172.18.0.2")])]);
        facts.node = Ok(node(|node| node.devices = devices));
        let eth0 = Device {
            peer: Some(8),
            kind: DeviceKind::Veth,
            ..device("eth0", &["172.18.0.2"])
        };
        let its = ContainerFacts {
            devices: vec![(Arc::new(eth0), name)],
            way_out: Some(2),
        };
        facts.containers.insert("web".into(), Ok(its));
        facts
    }

    fn front() -> Network {
        network("front", "bridge", &["172.18.0.0/16"])
    }

    fn only(facts: &CheckFacts) -> Finding {
        let mut found = look(facts).expect("it can look");
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }

    #[test]
    fn a_container_with_its_veth_in_its_bridge_is_well() {
        let found = look(&with(front(), vec![bridge(|_| {}), end(|_| {})])).expect("it can look");
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn a_veth_in_no_bridge_or_in_another_one_or_down_cuts_its_container_off() {
        for master in [None, Some(9)] {
            let found = only(&with(front(), vec![bridge(|_| {}), end(|end| end.master = master)]));
            assert_eq!((&*found.subject.container, &*found.subject.item), ("web", "eth0"));
            assert!(
                found.remedy.contains("`ip link set veth1 master br-front`"),
                "{found:?}"
            );
        }
        let found = only(&with(front(), vec![bridge(|_| {}), end(|end| end.up = false)]));
        assert!(found.remedy.contains("`ip link set veth1 up`"), "{found:?}");
    }

    #[test]
    fn a_bridge_that_is_gone_or_down_or_without_its_address_is_a_finding() {
        let found = only(&with(front(), vec![]));
        assert!(found.evidence.contains("no device br-front"), "{found:?}");
        let found = only(&with(front(), vec![bridge(|it| it.up = false), end(|_| {})]));
        assert!(found.evidence.contains("is down"), "{found:?}");
        let elsewhere: IpAddr = "169.254.7.7".parse().expect("an address");
        let found = only(&with(
            front(),
            vec![bridge(|it| it.addresses = vec![elsewhere]), end(|_| {})],
        ));
        assert!(found.evidence.contains("no address of 172.18.0.0/16"), "{found:?}");
    }

    #[test]
    fn a_network_that_needs_no_gateway_may_be_without_one() {
        let bare = || vec![bridge(|it| it.addresses.clear()), end(|_| {})];
        for network in [
            Network {
                internal: true,
                ..front()
            },
            Network {
                lacks_gateway: true,
                ..front()
            },
        ] {
            assert!(look(&with(network, bare())).expect("it can look").is_empty());
        }
    }

    #[test]
    fn in_an_overlay_any_bridge_will_do_and_none_is_a_fault() {
        let overlay = |master| {
            let mut facts = with(network("shop", "overlay", &["10.0.1.0/24"]), vec![]);
            let overlay = OverlayFacts {
                devices: vec![end(|end| end.master = master)],
                ..OverlayFacts::default()
            };
            facts.overlays.insert("shop".into(), Ok(overlay));
            facts
        };
        assert!(look(&overlay(Some(3))).expect("it can look").is_empty());
        let found = only(&overlay(None));
        assert!(found.remedy.contains("`docker restart web`"), "{found:?}");
    }
}
