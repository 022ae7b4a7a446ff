//! Packets of an encrypted network pass between nodes in the clear.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{CheckDefinition, finding, number, peer};
use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    inventory::Network,
    overlay::TunnelKind,
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("cleartext"),
    finds: "packets of an encrypted overlay network left for another node, or came from one, without encryption",
    compares: "the VNIs of the packets between nodes, of the last half minute, with the networks that are to be encrypted",
    blind_spots: "Nodes without netmon's programs. What a firewall dropped before it reached the device. A kernel with `esp4_offload`, where \
                  what came encrypted is decrypted before the programs see it",
    causes: "The engine's firewall rule that marks what is to be encrypted is gone, as after `iptables -t mangle -F`, or the kernel lacks \
             the match (`xt_u32`, `xt_bpf`) for it. Or another node sends VXLAN packets with the network's VNI.",
    patience: Duration::ZERO,
    rests_on_members: false,
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let encrypted = inventory.networks.values().filter(|network| network.encrypted);
    let by_vni: BTreeMap<u32, &Arc<Network>> = encrypted
        .flat_map(|network| network.vnis.iter().map(move |vni| (*vni, network)))
        .collect();
    if by_vni.is_empty() {
        return Ok(Vec::new());
    }
    let moved = facts.moved.as_ref().map_err(Unread::clone)?;
    let mut found = Vec::new();
    for (tunnel, counts) in &moved.tunnels {
        let TunnelKind::Vxlan { vni } = tunnel.kind else {
            continue;
        };
        let Some(network) = by_vni.get(&vni) else {
            continue;
        };
        let peer = peer(inventory, tunnel.remote);
        let received = ("receive", counts.receive, "from", Severity::Warning);
        let sent = ("transmit", counts.transmit, "to", Severity::Critical);
        for (direction, count, way, severity) in [received, sent] {
            if count == 0 {
                continue;
            }
            found.push(finding(
                DEFINITION.name,
                severity,
                Subject {
                    network: network.name.as_str().into(),
                    peer: Arc::clone(&peer),
                    item: direction.into(),
                    ..Subject::default()
                },
                format!(
                    "this network is encrypted, and {} of it passed {way} node {peer} in the clear within {} s",
                    number(usize::try_from(count).unwrap_or(usize::MAX), "packet", "packets"),
                    moved.time.as_secs()
                ),
                "Look for the rule with `iptables -t mangle -vnL OUTPUT` and `nft list ruleset` on the sending node; drain it, run `systemctl restart \
                 docker`, and make it active again, which sets the rule anew."
                    .to_owned(),
            ));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::look;
    use crate::{
        checks::samples::{facts, network},
        model::{
            counters::Directions,
            facts::{Moved, Unread},
            inventory::Network,
            overlay::{Tunnel, TunnelKind},
        },
    };

    fn found(encrypted: bool, kind: TunnelKind, receive: u64, transmit: u64) -> Vec<String> {
        let shop = Network {
            encrypted,
            vnis: vec![4097],
            ..network("shop", "overlay", &["10.0.1.0/24"])
        };
        let mut facts = facts([shop], []);
        let tunnel = Tunnel {
            kind,
            remote: [192, 0, 2, 2].into(),
        };
        facts.moved = Ok(Moved {
            tunnels: [(tunnel, Directions { receive, transmit })].into(),
            ..Moved::default()
        });
        let found = look(&facts).expect("it can look").into_iter();
        found.map(|it| format!("{} {}", it.subject.item, it.evidence)).collect()
    }

    #[test]
    fn what_passes_in_the_clear_is_named_by_direction() {
        let vxlan = TunnelKind::Vxlan { vni: 4097 };
        let both = found(true, vxlan, 3, 1);
        assert!(
            both[0].starts_with("receive") && both[0].contains("3 packets of it passed from node"),
            "{both:?}"
        );
        assert!(
            both[1].starts_with("transmit") && both[1].contains("1 packet of it passed to node"),
            "{both:?}"
        );
        assert!(found(true, vxlan, 0, 0).is_empty());
        assert!(found(false, vxlan, 3, 1).is_empty());
        assert!(found(true, TunnelKind::Vxlan { vni: 4098 }, 3, 1).is_empty());
        assert!(found(true, TunnelKind::Esp, 3, 1).is_empty());
    }

    #[test]
    fn only_who_has_an_encrypted_network_has_to_be_able_to_look() {
        let mut plain = facts([network("shop", "overlay", &[])], []);
        plain.moved = Err(Unread("refused".to_owned()));
        assert!(look(&plain).is_ok());
    }
}
