//! The node drops what containers send, or what is for them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{CheckDefinition, finding};
use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    inventory::Network,
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("node_drops"),
    finds: "the node dropped what containers of a bridge network sent: its firewall, a source check, or for want of a route",
    compares: "the packets that the kernel dropped in the node's namespace within half a minute, by device and reason, with the bridges \
               of networks",
    blind_spots: "Packets from outside that never reached a bridge. Fewer than five in half a minute. Kernels without reasons (before 5.17). \
                  Packets that leave with a container's address, as without a masquerade rule",
    causes: "A firewall that was flushed or reloaded after the engine wrote its rules (`systemctl restart docker` writes them anew). \
             Containers on two bridge networks that try to reach each other, which the engine forbids. Containers that ask the node \
             itself, or everybody on the network. `rp_filter` with several \
             default routes.",
    // Hosts with a firewall drop now and then what containers send to everybody.
    patience: Duration::from_secs(25),
    rests_on_members: false,
    look,
};

/// Fewer may be one client that asks where it may not.
const FEWEST: u64 = 5;

/// The kernel's names of reasons that speak of the node and not of the packet, with what each means and where to look.
const REASONS: [(&str, &str, &str); 4] = [
    (
        "NETFILTER_DROP",
        "the node's firewall dropped",
        "Look for the rule with `iptables -vnL`, `ip6tables -vnL` and `nft list ruleset`; if the engine's own are gone, run `systemctl restart \
         docker`.",
    ),
    (
        "IP_RPFILTER",
        "the node's source check (rp_filter) dropped",
        "Compare `ip route get` for both directions on the node, and set `sysctl net.ipv4.conf.all.rp_filter=2` if they differ.",
    ),
    (
        "IP_INADDRERRORS",
        "the node neither forwards nor keeps",
        "Run `sysctl net.ipv4.ip_forward` on the node; it should be 1.",
    ),
    (
        "IP_INNOROUTES",
        "the node has no route for",
        "Run `ip route` and `ip -6 route` on the node, and look for the way to where the packets go.",
    ),
];

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let moved = facts.moved.as_ref().map_err(Unread::clone)?;
    let bridges = inventory.networks.values().filter(|network| network.driver == "bridge");
    let by_name: BTreeMap<String, &Arc<Network>> = bridges.map(|network| (network.bridge_device(), network)).collect();
    let network_of = |ifindex: u32| {
        let device = node.devices.iter().find(|device| device.ifindex == ifindex)?;
        let master = node.devices.iter().find(|whole| Some(whole.ifindex) == device.master);
        [Some(device), master]
            .into_iter()
            .flatten()
            .find_map(|device| by_name.get(&device.name))
    };
    let mut sums: BTreeMap<(&str, usize), u64> = BTreeMap::new();
    for ((ifindex, reason), count) in &moved.node_drops {
        let known = REASONS.iter().position(|(name, ..)| *name == &**reason);
        if let (Some(reason), Some(network)) = (known, network_of(*ifindex)) {
            let sum = sums.entry((&network.name, reason)).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
    let found = sums.into_iter().filter(|(_, count)| *count >= FEWEST);
    Ok(found
        .map(|((network, reason), count)| {
            let (name, what, remedy) = REASONS[reason];
            finding(
                DEFINITION.name,
                Severity::Warning,
                Subject {
                    network: network.into(),
                    item: name.into(),
                    ..Subject::default()
                },
                format!(
                    "{what} {count} packets that containers of this network sent, within {} s",
                    moved.time.as_secs()
                ),
                remedy.to_owned(),
            )
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::look;
    use crate::{
        checks::samples::{device, facts, network, node},
        model::{facts::Moved, interface::Device},
    };

    fn found(drops: &[(u32, &str, u64)]) -> Vec<(String, String)> {
        let mut facts = facts([network("front", "bridge", &["172.18.0.0/16"])], []);
        let at = |ifindex, name: &str, master| Device {
            ifindex,
            master,
            ..device(name, &[])
        };
        facts.node = Ok(node(|node| {
            node.devices = vec![at(2, "eth0", None), at(3, "br-front", None), at(4, "veth1", Some(3))];
        }));
        facts.moved = Ok(Moved {
            node_drops: drops
                .iter()
                .map(|(ifindex, reason, count)| ((*ifindex, Arc::from(*reason)), *count))
                .collect(),
            ..Moved::default()
        });
        let found = look(&facts).expect("it can look").into_iter();
        found
            .map(|it| (format!("{} {}", it.subject.network, it.subject.item), it.evidence))
            .collect()
    }

    #[test]
    fn what_a_bridge_and_its_ports_lose_is_one_finding_a_reason() {
        let found = found(&[
            (3, "NETFILTER_DROP", 3),
            (4, "NETFILTER_DROP", 2),
            (3, "IP_RPFILTER", 7),
        ]);
        let subjects: Vec<_> = found.iter().map(|(subject, _)| subject.as_str()).collect();
        assert_eq!(subjects, ["front NETFILTER_DROP", "front IP_RPFILTER"]);
        assert!(
            found[0].1.starts_with("the node's firewall dropped 5 packets"),
            "{found:?}"
        );
    }

    #[test]
    fn a_few_and_those_of_other_devices_and_reasons_are_none() {
        assert!(found(&[(3, "NETFILTER_DROP", 4)]).is_empty());
        assert!(found(&[(2, "NETFILTER_DROP", 400), (9, "NETFILTER_DROP", 400)]).is_empty());
        assert!(found(&[(3, "NEIGH_FAILED", 400)]).is_empty());
    }
}
