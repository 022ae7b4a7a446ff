//! A neighbour entry that stays for good contradicts the hardware address that a container has.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{CheckDefinition, finding};
use crate::model::{
    facts::{CheckFacts, Neighbour, Unread},
    finding::{Check, Finding, Severity, Subject},
    interface::{DeviceKind, MacAddress},
    inventory::Identity,
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("neighbour"),
    finds: "a permanent neighbour entry sends what is for a container of this node to another hardware address",
    compares: "the permanent neighbour entries of the node and of its overlay networks with the hardware addresses of the containers' \
               devices",
    blind_spots: "entries that the kernel learnt, which it corrects by itself; entries inside containers",
    causes: "A container moved to this node, and the engine did not remove the entry of the node where it was; or `ip neigh` or \
             `arp -s` by hand.",
    // The engine writes the entry's removal when the gossip says so.
    patience: Duration::from_secs(20),
    rests_on_members: false,
    look,
};

/// Where containers of this node are.
type Homes<'f> = BTreeMap<(&'f str, IpAddr), (MacAddress, &'f Identity)>;

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let mut homes = Homes::new();
    for (id, its) in &facts.containers {
        let (Ok(its), Some(container)) = (its, inventory.containers.get(id)) else {
            continue;
        };
        for (device, network) in its.devices.iter().filter(|_| container.running) {
            for (address, mac) in device
                .addresses
                .iter()
                .filter_map(|it| Some((it.to_canonical(), device.mac?)))
            {
                homes.insert((network, address), (mac, &container.identity));
            }
        }
    }
    let mut found = Vec::new();
    for network in inventory.networks.values().filter(|network| network.driver == "bridge") {
        let bridge = network.bridge_device();
        let Some(device) = node.devices.iter().find(|device| device.name == bridge) else {
            continue;
        };
        let on_it = node.neighbours.iter().filter(|entry| entry.ifindex == device.ifindex);
        found.extend(on_it.filter_map(|entry| {
            contradicts(
                &network.name,
                entry,
                &homes,
                &format!("ip neigh del {} dev {bridge}", entry.address),
            )
        }));
    }
    for (network, overlay) in &facts.overlays {
        let Ok(overlay) = overlay else { continue };
        let tunnels = overlay.devices.iter().filter(|device| device.kind == DeviceKind::Vxlan);
        let tunnels: BTreeSet<u32> = tunnels.map(|device| device.ifindex).collect();
        let on_them = overlay
            .neighbours
            .iter()
            .filter(|entry| tunnels.contains(&entry.ifindex));
        let mut networks = inventory.networks.values();
        let id = networks
            .find(|known| *known.name == **network)
            .map_or("", |known| &known.id);
        found.extend(on_them.filter_map(|entry| {
            let device = overlay.devices.iter().find(|device| device.ifindex == entry.ifindex);
            let mending = format!(
                "nsenter --net=$(ls /run/docker/netns/*-{}) ip neigh del {} dev {}",
                id.get(..10).unwrap_or(id),
                entry.address,
                device.map_or("", |device| device.name.as_str())
            );
            contradicts(network, entry, &homes, &mending)
        }));
    }
    Ok(found)
}

/// A finding if a container of this node has the entry's address, and another hardware address.
fn contradicts(network: &str, entry: &Neighbour, homes: &Homes<'_>, mending: &str) -> Option<Finding> {
    let (address, mac) = (entry.address.to_canonical(), entry.mac.filter(|_| entry.is_permanent)?);
    let (own, identity) = homes.get(&(network, address)).filter(|(own, _)| *own != mac)?;
    let container = &identity.container;
    Some(finding(
        DEFINITION.name,
        Severity::Critical,
        Subject {
            network: network.into(),
            container: container.as_str().into(),
            service: identity.service.as_str().into(),
            item: Arc::from(address.to_string()),
            ..Subject::default()
        },
        format!(
            "a permanent neighbour entry says that {address} is at {mac}, but container {container} has it at {own}, so what is \
             sent to it from here goes astray"
        ),
        format!("Run `{mending}` on the node."),
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::look;
    use crate::{
        checks::samples::{container, device, facts, network, node},
        model::{
            facts::{CheckFacts, ContainerFacts, Neighbour, OverlayFacts},
            interface::{Device, DeviceKind},
        },
    };

    const OWN: &str = "02:42:0a:00:01:05";

    fn entry(mac: &str, is_permanent: bool) -> Neighbour {
        Neighbour {
            ifindex: 7,
            address: "10.0.1.5".parse().expect("an address"),
            mac: mac.parse().ok(),
            is_permanent,
        }
    }

    fn with(driver: &str, entry: Neighbour) -> CheckFacts {
        let mut facts = facts(
            [network("net", driver, &["10.0.1.0/24"])],
            [container("web", true, &[("net", "10.0.1.5")])],
        );
        let eth0 = Device {
            mac: OWN.parse().ok(),
            ..device("eth0", &["10.0.1.5"])
        };
        let its = ContainerFacts {
            devices: vec![(Arc::new(eth0), "net".into())],
            way_out: None,
        };
        facts.containers.insert("web".into(), Ok(its));
        let end = |name: &str, kind| Device {
            ifindex: 7,
            kind,
            ..device(name, &[])
        };
        if driver == "bridge" {
            facts.node = Ok(node(|node| {
                node.devices = vec![end("br-net", DeviceKind::Bridge)];
                node.neighbours = vec![entry];
            }));
        } else {
            let overlay = OverlayFacts {
                devices: vec![end("vxlan0", DeviceKind::Vxlan)],
                neighbours: vec![entry],
                ..OverlayFacts::default()
            };
            facts.overlays.insert("net".into(), Ok(overlay));
        }
        facts
    }

    #[test]
    fn a_permanent_entry_with_another_hardware_address_is_a_finding() {
        for driver in ["bridge", "overlay"] {
            let found = look(&with(driver, entry("02:42:0a:00:01:99", true))).expect("it can look");
            assert_eq!(found.len(), 1, "{driver}");
            assert_eq!(
                (&*found[0].subject.container, &*found[0].subject.item),
                ("web", "10.0.1.5")
            );
        }
    }

    #[test]
    fn one_that_agrees_and_one_that_was_learnt_are_none() {
        for entry in [entry(OWN, true), entry("02:42:0a:00:01:99", false), entry("", true)] {
            assert!(
                look(&with("bridge", entry)).expect("it can look").is_empty(),
                "{entry:?}"
            );
        }
    }
}
