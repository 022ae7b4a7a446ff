//! The packets of a network are larger than what the node's devices take.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use super::{CheckDefinition, finding};
use crate::model::{
    facts::{CheckFacts, NodeFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    interface::{Device, DeviceKind},
    inventory::GATEWAY_BRIDGE,
    mtu::overhead,
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("mtu"),
    finds: "a network's packets may be larger than the device on their way out of the node takes",
    compares: "The MTU of the containers' devices with that of the node's default route. The MTU of overlay networks, with what \
               tunnels and encryption add, with that of the devices that lead to other nodes",
    blind_spots: "narrow places beyond the node; networks that no container here is on; ways out other than the default route",
    causes: "A node in a cloud or behind a tunnel with an MTU below 1,500: the engine gives networks 1,500 and does not look at the \
             node's. While ICMP passes, senders learn it. Where a firewall drops ICMP, large transfers hang.",
    patience: Duration::from_secs(20),
    rests_on_members: false,
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let by_index = |ifindex: u32| node.devices.iter().find(move |device| device.ifindex == ifindex);
    let mut found = Vec::new();
    if let Some(out) = node.way_out.and_then(by_index) {
        for (name, mtu) in widest(facts) {
            let mut networks = inventory.networks.values();
            let Some(network) = networks.find(|network| *network.name == *name) else {
                continue;
            };
            // What a bridge network sends does not pass the default route if that is its own bridge.
            let leads_by = network.driver == "bridge" && network.leads_out() && out.name != network.bridge_device();
            if leads_by && mtu > out.mtu && out.mtu > 0 {
                found.push(of_network(&name, mtu, out));
            }
        }
    }
    for (name, overlay) in &facts.overlays {
        let (Ok(overlay), Some(under)) = (overlay, narrowest(node)) else {
            continue;
        };
        let mut networks = inventory.networks.values();
        let is_encrypted = networks.any(|network| *network.name == **name && network.encrypted);
        let is_ipv6 = overlay
            .forwarding
            .iter()
            .any(|entry| matches!(entry.node.to_canonical(), IpAddr::V6(_)));
        let tunnels = overlay.devices.iter().filter(|device| device.kind == DeviceKind::Vxlan);
        let Some(mtu) = tunnels.map(|device| device.mtu).max() else {
            continue;
        };
        let outer = mtu.saturating_add(overhead(mtu, is_ipv6, is_encrypted));
        if outer > under.mtu && under.mtu > 0 {
            // The engine takes 50 bytes off, whatever is outside.
            let option = if is_ipv6 {
                under.mtu.saturating_sub(20)
            } else {
                under.mtu
            };
            found.push(of_overlay(name, (mtu, outer), under, option));
        }
    }
    Ok(found)
}

/// The largest MTU of the containers' devices on each network.
fn widest(facts: &CheckFacts) -> BTreeMap<Arc<str>, u32> {
    let mut widest = BTreeMap::new();
    for (device, network) in facts.containers.values().flatten().flat_map(|its| &its.devices) {
        let mtu = widest.entry(Arc::clone(network)).or_insert(0);
        *mtu = device.mtu.max(*mtu);
    }
    widest
}

/// The device to other nodes with the smallest MTU.
fn narrowest(node: &NodeFacts) -> Option<&Device> {
    let leading = node
        .devices
        .iter()
        .filter(|device| node.underlay.contains(&device.ifindex));
    leading.min_by_key(|device| device.mtu)
}

fn subject(network: &Arc<str>, device: &Device) -> Subject {
    Subject {
        network: Arc::clone(network),
        item: device.name.as_str().into(),
        ..Subject::default()
    }
}

fn of_network(network: &Arc<str>, mtu: u32, out: &Device) -> Finding {
    let (device, most) = (&out.name, out.mtu);
    finding(
        DEFINITION.name,
        Severity::Info,
        subject(network, out),
        format!(
            "packets of this network may have {mtu} bytes, but {device}, the way out of the node, takes {most}, so large \
             transfers hang wherever ICMP is dropped"
        ),
        match &**network {
            "bridge" => {
                format!("Set `\"mtu\": {most}` in the engine's daemon.json, and run `systemctl restart docker`.")
            }
            GATEWAY_BRIDGE => format!(
                "Drain the node, remove the network, and make it anew with `docker network create -o \
                 com.docker.network.driver.mtu={most} -o com.docker.network.bridge.name={GATEWAY_BRIDGE} {GATEWAY_BRIDGE}`."
            ),
            _ => format!(
                "Make the network anew with `--opt com.docker.network.driver.mtu={most}`; `default-network-opts` in the engine's \
                 daemon.json sets it for all new ones."
            ),
        },
    )
}

fn of_overlay(network: &Arc<str>, (mtu, outer): (u32, u32), under: &Device, option: u32) -> Finding {
    let (device, most) = (&under.name, under.mtu);
    finding(
        DEFINITION.name,
        Severity::Warning,
        subject(network, under),
        format!(
            "packets of this network may have {mtu} bytes, which are {outer} on their way to other nodes, but {device} takes \
             {most}, so they are fragmented or lost"
        ),
        format!(
            "Make the network anew with `--opt com.docker.network.driver.mtu={option}` (and `--ingress` if it is the routing mesh), or raise the MTU of {device}."
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

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

    fn sized(name: &str, ifindex: u32, kind: DeviceKind, mtu: u32) -> Device {
        Device {
            ifindex,
            kind,
            mtu,
            ..device(name, &[])
        }
    }

    fn bridged(network: Network, mtu: u32, out: u32) -> CheckFacts {
        let name: Arc<str> = network.name.as_str().into();
        let mut facts = facts([network], [container("web", true, &[(&name, "172.18.0.2")])]);
        facts.node = Ok(node(|node| {
            node.devices = vec![sized("eth0", 3, DeviceKind::Other, out)];
            node.way_out = Some(3);
        }));
        let its = ContainerFacts {
            devices: vec![(Arc::new(sized("eth0", 2, DeviceKind::Veth, mtu)), name)],
            way_out: Some(2),
        };
        facts.containers.insert("web".into(), Ok(its));
        facts
    }

    fn found(facts: &CheckFacts) -> Vec<Finding> {
        look(facts).expect("it can look")
    }

    #[test]
    fn a_bridge_network_that_is_wider_than_the_way_out_is_a_finding() {
        let front = || network("front", "bridge", &["172.18.0.0/16"]);
        let wide = found(&bridged(front(), 1500, 1400));
        assert_eq!((&*wide[0].subject.network, &*wide[0].subject.item), ("front", "eth0"));
        assert!(wide[0].remedy.contains("mtu=1400`"), "{wide:?}");
        assert!(found(&bridged(front(), 1400, 1400)).is_empty());
        let internal = Network {
            internal: true,
            ..front()
        };
        assert!(found(&bridged(internal, 1500, 1400)).is_empty());
        assert!(found(&bridged(network("lan", "macvlan", &[]), 1500, 1400)).is_empty());
    }

    #[test]
    fn an_overlay_with_its_tunnels_headers_has_to_fit() {
        let with = |mtu, encrypted, under| {
            let shop = Network {
                encrypted,
                ..network("shop", "overlay", &["10.0.1.0/24"])
            };
            let mut facts = bridged(shop, mtu, under);
            if let Ok(node) = &mut facts.node {
                node.underlay = BTreeSet::from([3]);
            }
            let overlay = OverlayFacts {
                devices: vec![sized("vxlan0", 5, DeviceKind::Vxlan, mtu)],
                ..OverlayFacts::default()
            };
            facts.overlays.insert("shop".into(), Ok(overlay));
            found(&facts)
        };
        assert!(with(1450, false, 1500).is_empty());
        assert!(with(1424, true, 1500).is_empty());
        let narrow = with(1450, false, 1450);
        assert!(narrow[0].evidence.contains("which are 1500 on their way"), "{narrow:?}");
        assert_eq!(with(1450, true, 1500).len(), 1);
    }
}
