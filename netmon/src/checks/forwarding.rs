//! The node does not forward packets, though containers need it to.

use std::time::Duration;

use super::{CheckDefinition, finding, number};
use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    inventory::{GATEWAY_BRIDGE, Inventory},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("forwarding"),
    finds: "IP forwarding is off on the node",
    compares: "`net.ipv4.ip_forward`, and `net.ipv6.conf.all.forwarding` where a bridge network has IPv6, with whether \
               containers run on bridge networks",
    blind_spots: "forwarding that is on or off for a single device, and firewalls",
    causes: "`sysctl --system` after a hardening rule, or a network service that restarted. The engine turns forwarding on only \
             when it starts.",
    patience: Duration::ZERO,
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
            on_bridges(inventory, false),
        ),
        // With IPv6 each device has a setting of its own, and this one is the last word only for new devices.
        (
            "net.ipv6.conf.all.forwarding",
            Severity::Warning,
            node.forwards_ipv6,
            on_bridges(inventory, true),
        ),
    ];
    let off = settings
        .into_iter()
        .filter(|(_, _, forwards, containers)| *forwards == Some(false) && *containers > 0);
    Ok(off
        .map(|(setting, severity, _, containers)| {
            let are = if containers == 1 { "is" } else { "are" };
            finding(
                DEFINITION.name,
                severity,
                Subject {
                    item: setting.into(),
                    ..Subject::default()
                },
                format!(
                    "{setting} is 0 on this node, so {} on bridge networks {are} cut off from everything outside, and \
                     published ports do not answer",
                    number(containers, "container", "containers"),
                ),
                format!("Run `sysctl -w {setting}=1` on the node, and find what sets it to 0 in /etc/sysctl.d."),
            )
        })
        .collect())
}

/// How many running containers the node has to forward for: those on bridge networks that are not internal. A container on an
/// overlay network leaves it by `docker_gwbridge`, which no container's description lists.
fn on_bridges(inventory: &Inventory, ipv6: bool) -> usize {
    let forwards_for = |network: &str| {
        let network = inventory.networks.get(network);
        network.is_some_and(|network| {
            let leaves = match network.driver.as_str() {
                "bridge" => !network.internal,
                "overlay" => has_gateway(inventory) && !network.internal,
                _ => false,
            };
            leaves && (!ipv6 || network.driver == "bridge" && network.ipv6)
        })
    };
    let running = inventory.containers.values().filter(|container| container.running);
    running
        .filter(|container| {
            container
                .endpoints
                .iter()
                .any(|endpoint| forwards_for(&endpoint.network))
        })
        .count()
}

fn has_gateway(inventory: &Inventory) -> bool {
    inventory
        .networks
        .values()
        .any(|network| network.name == GATEWAY_BRIDGE)
}

#[cfg(test)]
mod tests {
    use super::look;
    use crate::checks::samples::{container, facts, network, node};

    #[test]
    fn a_node_that_does_not_forward_is_a_finding_if_containers_need_it() {
        let off = |node: &mut crate::model::facts::NodeFacts| node.forwards_ipv4 = Some(false);
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
    fn a_node_that_forwards_or_does_not_say_so_is_none() {
        for forwards in [Some(true), None] {
            let mut facts = facts(
                [network("front", "bridge", &["172.18.0.0/16"])],
                [container("web", true, &[("front", "172.18.0.2")])],
            );
            facts.node = Ok(node(|node| node.forwards_ipv4 = forwards));
            assert!(look(&facts).expect("it can look").is_empty());
        }
    }
}
