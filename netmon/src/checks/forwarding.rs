//! The node does not forward packets, though containers need it to.

use std::{sync::Arc, time::Duration};

use super::{CheckDefinition, finding, number};
use crate::model::{
    facts::{CheckFacts, NodeFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    inventory::{Container, GATEWAY_BRIDGE, Inventory, Network},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("forwarding"),
    finds: "IP forwarding is off on the node",
    compares: "`net.ipv4.ip_forward`, and `net.ipv6.conf.all.forwarding` where a bridge network has IPv6, with whether \
               containers run on bridge networks of the node",
    blind_spots: "forwarding that is on or off for a single device, and firewalls",
    causes: "`sysctl --system` after a hardening rule, or a network service that restarted. The engine turns forwarding on only \
             when it starts.",
    patience: Duration::ZERO,
    rests_on_members: false,
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let settings = [
        (
            "net.ipv4.ip_forward",
            Severity::Critical,
            node.forwards_ipv4,
            on_bridges(inventory, node, false),
            "cut off from everything outside, and published ports do not answer",
            "",
        ),
        // With IPv6 each device has a setting of its own, and this one is the last word only for new devices.
        (
            "net.ipv6.conf.all.forwarding",
            Severity::Warning,
            node.forwards_ipv6,
            on_bridges(inventory, node, true),
            "cut off from everything outside by IPv6",
            " Where the node has its own default route from router advertisements, first set `accept_ra` of its device to 2: \
             a node that forwards ignores them otherwise.",
        ),
    ];
    let off = settings
        .into_iter()
        .filter(|(_, _, forwards, containers, ..)| *forwards == Some(false) && *containers > 0);
    Ok(off
        .map(|(setting, severity, _, containers, outcome, caution)| {
            let are = if containers == 1 { "is" } else { "are" };
            finding(
                DEFINITION.name,
                severity,
                Subject {
                    item: setting.into(),
                    ..Subject::default()
                },
                format!(
                    "{setting} is 0 on this node, so {} on bridge networks {are} {outcome}",
                    number(containers, "container", "containers"),
                ),
                format!(
                    "Run `sysctl -w {setting}=1` on the node, and find what sets it to 0 in /etc/sysctl.d.{caution}"
                ),
            )
        })
        .collect())
}

/// How many running containers the node has to forward for: those on bridge networks that lead out. A container on an overlay
/// network leaves it by `docker_gwbridge`, which no container's description lists.
///
/// The bridges of an engine without root are in another namespace, and none of the node's business.
fn on_bridges(inventory: &Inventory, node: &NodeFacts, ipv6: bool) -> usize {
    let is_here = |network: &Network| {
        let bridge = network.bridge_device();
        network.driver == "bridge" && node.devices.iter().any(|device| device.name == bridge)
    };
    let mut networks = inventory.networks.values();
    let has_gateway = networks.any(|network| network.name == GATEWAY_BRIDGE && is_here(network));
    let forwards_for = |network: &str| {
        inventory
            .networks
            .get(network)
            .is_some_and(|network| match network.driver.as_str() {
                "bridge" => network.leads_out() && is_here(network) && (!ipv6 || network.ipv6),
                "overlay" => network.leads_out() && has_gateway && !ipv6,
                _ => false,
            })
    };
    let running = inventory.containers.values().filter(|container| container.running);
    let needs = |container: &&Arc<Container>| {
        container
            .endpoints
            .iter()
            .any(|endpoint| forwards_for(&endpoint.network))
    };
    running.filter(needs).count()
}

#[cfg(test)]
mod tests {
    use super::look;
    use crate::checks::samples::{container, device, facts, network, node};

    #[test]
    fn a_node_that_does_not_forward_is_a_finding_if_containers_need_it() {
        let off = |node: &mut crate::model::facts::NodeFacts| {
            node.forwards_ipv4 = Some(false);
            node.devices = vec![device("br-front", &[])];
        };
        let bridge = || network("front", "bridge", &["172.18.0.0/16"]);
        let with = |internal, running| {
            let mut facts = facts(
                [crate::model::inventory::Network { internal, ..bridge() }],
                [container("web", running, &[("front", "172.18.0.2")])],
            );
            facts.node = Ok(node(off));
            look(&facts).expect("it can look")
        };
        let found = with(false, true);
        assert_eq!(found.len(), 1);
        assert_eq!(&*found[0].subject.item, "net.ipv4.ip_forward");
        assert!(
            found[0].evidence.contains("1 container on bridge networks is cut off"),
            "{found:?}"
        );
        assert!(with(true, true).is_empty(), "an internal network needs no forwarding");
        assert!(with(false, false).is_empty(), "nobody is there");
    }

    #[test]
    fn bridges_that_are_not_the_nodes_need_no_forwarding_by_it() {
        let networks = [network("front", "bridge", &["172.18.0.0/16"])];
        let mut facts = facts(networks, [container("web", true, &[("front", "172.18.0.2")])]);
        facts.node = Ok(node(|node| node.forwards_ipv4 = Some(false)));
        assert!(look(&facts).expect("it can look").is_empty());
    }

    #[test]
    fn a_node_that_forwards_or_does_not_say_so_is_none() {
        for forwards in [Some(true), None] {
            let mut facts = facts(
                [network("front", "bridge", &["172.18.0.0/16"])],
                [container("web", true, &[("front", "172.18.0.2")])],
            );
            facts.node = Ok(node(|node| {
                node.forwards_ipv4 = forwards;
                node.devices = vec![device("br-front", &[])];
            }));
            assert!(look(&facts).expect("it can look").is_empty());
        }
    }
}
