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
    finds: "a VXLAN device in the node's namespace has the VNI of an overlay network",
    compares: "the VNIs of the VXLAN devices in the node's namespace with those of the overlay networks",
    blind_spots: "devices in namespaces that are neither the node's nor the engine's; networks that this node does not know yet",
    causes: "An engine that was killed while it made or removed a network, or another program that uses VXLAN. The kernel allows \
             a VNI and a UDP port once a node.",
    // The engine makes the device in the node's namespace, and moves it a moment later (`createVxlan`).
    patience: Duration::from_secs(20),
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let mut found = Vec::new();
    for device in node.devices.iter().filter(|device| device.kind == DeviceKind::Vxlan) {
        let Some(vni) = device.vni else { continue };
        let networks = inventory
            .networks
            .values()
            .filter(|network| network.vnis.contains(&vni));
        for network in networks {
            let is_away = !facts.overlays.contains_key(network.name.as_str());
            let (severity, outcome) = if is_away {
                (
                    Severity::Critical,
                    "so the engine cannot make the network's own, and no container on it starts here",
                )
            } else {
                (
                    Severity::Warning,
                    "beside the network's own, which was there before it or has another UDP port",
                )
            };
            let port = device
                .vxlan_port
                .map(|port| format!(" and UDP port {port}"))
                .unwrap_or_default();
            found.push(finding(
                DEFINITION.name,
                severity,
                Subject {
                    network: network.name.as_str().into(),
                    item: device.name.as_str().into(),
                    ..Subject::default()
                },
                format!(
                    "device {} in the node's namespace has VNI {vni}{port}, which is the network's, {outcome}",
                    device.name
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::look;
    use crate::{
        checks::samples::{device, facts, network, node},
        model::{
            facts::{CheckFacts, OverlayFacts},
            finding::Severity,
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
        assert_eq!(
            (&*found[0].subject.network, found[0].severity),
            ("shop", Severity::Critical)
        );
        assert!(found[0].remedy.contains("ip link delete vx-001001-abcde"), "{found:?}");
    }

    #[test]
    fn it_is_less_bad_while_the_network_works() {
        let mut facts = with(4097);
        facts.overlays.insert(Arc::from("shop"), Ok(OverlayFacts::default()));
        assert_eq!(look(&facts).expect("it can look")[0].severity, Severity::Warning);
    }

    #[test]
    fn a_device_with_another_vni_is_nobodys_business() {
        assert!(look(&with(4098)).expect("it can look").is_empty());
    }
}
