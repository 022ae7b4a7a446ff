//! A VXLAN device is where it keeps the engine from making a network's own.

use std::time::Duration;

use super::{CheckDefinition, finding};
use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    interface::DeviceKind,
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("vxlan_device"),
    finds: "a VXLAN device in the node's namespace has the VNI and the port of an overlay network",
    compares: "the VNIs and ports of the VXLAN devices in the node's namespace with those of the overlay networks",
    blind_spots: "devices in namespaces that are neither the node's nor the engine's; networks that this node does not know yet; a \
                  Swarm with `--data-path-port`, while no overlay network is here",
    causes: "An engine that was killed while it made or removed a network, or another program that uses VXLAN. The kernel allows \
             a VNI and a UDP port once a node.",
    // The engine makes the device in the node's namespace, and moves it a moment later (`createVxlan`).
    patience: Duration::from_secs(20),
    rests_on_members: false,
    look,
};

/// The engine's port, unless `docker swarm init --data-path-port` says otherwise.
const USUAL_PORT: u16 = 4789;

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let port = data_port(facts);
    let mut found = Vec::new();
    for device in node.devices.iter().filter(|device| device.kind == DeviceKind::Vxlan) {
        // The kernel compares both (`vxlan_config_validate`).
        let Some(vni) = device.vni.filter(|_| device.vxlan_port == Some(port)) else {
            continue;
        };
        let networks = inventory
            .networks
            .values()
            .filter(|network| network.vnis.contains(&vni));
        for network in networks {
            let is_here = facts.overlays.contains_key(network.name.as_str());
            let (severity, outcome) = if is_here {
                (Severity::Warning, "beside the network's own")
            } else {
                // The kernel refuses the engine's own, and no engine removes one from the node's namespace.
                (
                    Severity::Critical,
                    "so no container on the network can start here (`file exists`)",
                )
            };
            found.push(finding(
                DEFINITION.name,
                severity,
                Subject {
                    network: network.name.as_str().into(),
                    item: device.name.as_str().into(),
                    ..Subject::default()
                },
                format!(
                    "device {} in the node's namespace has VNI {vni} and UDP port {}, which are the network's, {outcome}",
                    device.name,
                    port
                ),
                format!(
                    "If no other program made it, run `ip link delete {}` on the node.",
                    device.name
                ),
            ));
        }
    }
    Ok(found)
}

/// The UDP port of the Swarm's overlay networks: that of those which are here, else the usual one.
fn data_port(facts: &CheckFacts) -> u16 {
    let here = facts.overlays.values().flatten();
    let mut ports = here
        .flat_map(|overlay| &overlay.devices)
        .filter_map(|device| device.vxlan_port);
    ports.next().unwrap_or(USUAL_PORT)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::look;
    use crate::{
        checks::samples::{device, facts, network, node},
        model::{
            facts::{CheckFacts, OverlayFacts},
            interface::{Device, DeviceKind},
            inventory::Network,
        },
    };

    fn with(vni: u32) -> CheckFacts {
        let shop = Network {
            vnis: vec![4097],
            ..network("shop", "overlay", &["10.0.1.0/24"])
        };
        let mut facts = facts([shop], []);
        facts.node = Ok(node(|node| {
            node.devices = vec![Device {
                kind: DeviceKind::Vxlan,
                vni: Some(vni),
                vxlan_port: Some(4789),
                ..device("vx-001001-abcde", &[])
            }];
        }));
        facts
    }

    #[test]
    fn a_device_with_a_networks_vni_is_a_finding() {
        let found = look(&with(4097)).expect("it can look");
        assert_eq!(found.len(), 1);
        assert_eq!(&*found[0].subject.network, "shop");
        assert!(found[0].remedy.contains("ip link delete vx-001001-abcde"), "{found:?}");
    }

    #[test]
    fn a_device_with_another_vni_or_another_port_is_nobodys_business() {
        assert!(look(&with(4098)).expect("it can look").is_empty());
        let mut facts = with(4097);
        let own = Device {
            kind: DeviceKind::Vxlan,
            vxlan_port: Some(9789),
            ..device("vxlan0", &[])
        };
        let overlay = OverlayFacts {
            devices: vec![own],
            ..OverlayFacts::default()
        };
        facts.overlays.insert(Arc::from("shop"), Ok(overlay));
        assert!(look(&facts).expect("it can look").is_empty());
    }
}
