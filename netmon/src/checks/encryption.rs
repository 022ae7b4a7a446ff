//! A network is set up to be encrypted, and this node cannot encrypt towards another node on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{CheckDefinition, finding, named, number, peer};
use crate::model::{
    facts::{CheckFacts, Encryption, OverlayFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    interface::DeviceKind,
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("encryption"),
    finds: "an encrypted overlay network has a node to which this one has no encryption policy, or none of its states (keys)",
    compares: "the nodes that encrypted networks send to, by their forwarding tables, with the kernel's policies for what leaves, and \
               these with its states",
    blind_spots: "The firewall's rule that marks what is to be encrypted: `netmon_overlay_cleartext_packets_total` says what left \
                  without. States for what arrives, and keys that differ: `netmon_node_xfrm_errors_total` counts them",
    causes: "A kernel without ESP (`modprobe esp4`), an engine that could not set the keys, or `ip xfrm` by hand or by another VPN's \
             program, which flushed them.",
    // The engine sets them with the first container of a node.
    patience: Duration::from_secs(20),
    rests_on_members: false,
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let encrypted = facts.overlays.iter().filter(|(name, _)| {
        let mut networks = inventory.networks.values();
        networks.any(|network| *network.name == ***name && network.encrypted)
    });
    let mut policies: BTreeMap<IpAddr, bool> = BTreeMap::new();
    let mut found = Vec::new();
    for (at, (name, overlay)) in encrypted.enumerate() {
        if at == 0 {
            let encryptions = node.encryptions.as_ref().map_err(Unread::clone)?;
            for Encryption { to, has_state } in encryptions {
                *policies.entry(to.to_canonical()).or_default() |= *has_state;
            }
        }
        let overlay = overlay
            .as_ref()
            .map_err(|reason| Unread(format!("network {name}: {reason}")))?;
        let remotes = remotes(overlay);
        let of = |state: Option<bool>| {
            let such = remotes.iter().filter(|remote| policies.get(*remote).copied() == state);
            such.copied().collect::<Vec<_>>()
        };
        let kinds = [
            ("policy", of(None), "no encryption policy"),
            ("state", of(Some(false)), "an encryption policy and no state with a key"),
        ];
        for (item, remotes, what) in kinds.into_iter().filter(|(_, remotes, _)| !remotes.is_empty()) {
            found.push(of_network(name, item, &remotes, what, inventory));
        }
    }
    Ok(found)
}

/// The nodes that a network's tables send to.
fn remotes(overlay: &OverlayFacts) -> BTreeSet<IpAddr> {
    let tunnels = overlay.devices.iter().filter(|device| device.kind == DeviceKind::Vxlan);
    let tunnels: BTreeSet<u32> = tunnels.map(|device| device.ifindex).collect();
    let entries = overlay
        .forwarding
        .iter()
        .filter(|entry| tunnels.contains(&entry.ifindex));
    entries.map(|entry| entry.node.to_canonical()).collect()
}

fn of_network(
    network: &Arc<str>,
    item: &str,
    remotes: &[IpAddr],
    what: &str,
    inventory: &crate::model::inventory::Inventory,
) -> Finding {
    let names: Vec<Arc<str>> = remotes.iter().map(|remote| peer(inventory, *remote)).collect();
    Finding {
        witnesses: names.iter().map(Arc::clone).collect(),
        ..finding(
            DEFINITION.name,
            Severity::Critical,
            Subject {
                network: Arc::clone(network),
                // Of several, the sentence names them.
                peer: names.first().filter(|_| names.len() == 1).map_or_else(|| Arc::from(""), Arc::clone),
                item: item.into(),
                ..Subject::default()
            },
            format!(
                "this network is encrypted, but the kernel has {what} for {} ({}), so what is sent there is lost",
                number(names.len(), "node", "nodes"),
                named(&names)
            ),
            "Run `modprobe esp4` on the node and look for `encryption` or `xfrm` in `journalctl -u docker`; then drain the node, run \
             `systemctl restart docker`, and make it active again."
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::look;
    use crate::{
        checks::samples::{device, facts, network, node},
        model::{
            facts::{CheckFacts, Encryption, Forwarding, OverlayFacts, Unread},
            interface::{Device, DeviceKind, MacAddress},
            inventory::Network,
        },
    };

    /// An overlay network with two other nodes, and what is encrypted towards whom.
    fn with(encrypted: bool, encryptions: Result<&[(u8, bool)], &str>) -> CheckFacts {
        let shop = Network {
            encrypted,
            ..network("shop", "overlay", &["10.0.1.0/24"])
        };
        let mut facts = facts([shop], []);
        let of = |(last, has_state): &(u8, bool)| Encryption {
            to: [192, 0, 2, *last].into(),
            has_state: *has_state,
        };
        facts.node = Ok(node(|node| {
            node.encryptions = encryptions
                .map(|all| all.iter().map(of).collect())
                .map_err(|reason| Unread(reason.to_owned()));
        }));
        let vxlan = Device {
            ifindex: 5,
            kind: DeviceKind::Vxlan,
            ..device("vxlan0", &[])
        };
        let entry = |last| Forwarding {
            ifindex: 5,
            mac: MacAddress([2, 0, 0, 0, 0, last]),
            node: [192, 0, 2, last].into(),
        };
        let overlay = OverlayFacts {
            devices: vec![vxlan],
            forwarding: vec![entry(2), entry(3)],
            ..OverlayFacts::default()
        };
        facts.overlays.insert("shop".into(), Ok(overlay));
        facts
    }

    fn found(facts: &CheckFacts) -> Vec<(String, String)> {
        let found = look(facts).expect("it can look").into_iter();
        found
            .map(|it| (it.subject.item.to_string(), it.subject.peer.to_string()))
            .collect()
    }

    fn pair(item: &str, peer: &str) -> (String, String) {
        (item.to_owned(), peer.to_owned())
    }

    #[test]
    fn a_network_whose_nodes_all_have_states_is_well() {
        assert!(found(&with(true, Ok(&[(2, true), (3, true)]))).is_empty());
    }

    #[test]
    fn a_node_without_a_policy_or_a_state_is_named() {
        assert_eq!(found(&with(true, Ok(&[(2, true)]))), [pair("policy", "192.0.2.3")]);
        assert_eq!(
            found(&with(true, Ok(&[(2, true), (3, false)]))),
            [pair("state", "192.0.2.3")]
        );
        assert_eq!(found(&with(true, Ok(&[]))), [pair("policy", "")]);
    }

    #[test]
    fn who_encrypts_nothing_need_not_be_able_to() {
        assert!(found(&with(false, Ok(&[]))).is_empty());
        assert!(found(&with(false, Err("refused"))).is_empty());
        assert!(look(&with(true, Err("refused"))).is_err());
    }
}
