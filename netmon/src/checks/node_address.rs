//! The Swarm knows the node by an address that the node does not have.

use std::time::Duration;

use super::{CheckDefinition, finding};
use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("node_address"),
    finds: "the Swarm knows the node by an address that none of its devices has",
    compares: "the node's address in the Swarm, as its engine says it, with the addresses of its devices",
    blind_spots: "an address that the node has, and that others cannot reach; a separate `--data-path-addr`, which the engine \
                  does not tell",
    causes: "A new DHCP lease, or a move to another subnet. If `--advertise-addr` is an address that is translated one to one on \
             the way, as clouds do, nothing is wrong: silence the alert for this node.",
    // A lease may be renewed.
    patience: Duration::from_secs(10),
    rests_on_members: false,
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let Some(address) = inventory.node.as_ref().and_then(|node| node.address) else {
        // It is in no Swarm.
        return Ok(Vec::new());
    };
    let mut addresses = node.devices.iter().flat_map(|device| &device.addresses);
    if addresses.any(|own| own.to_canonical() == address.to_canonical()) {
        return Ok(Vec::new());
    }
    Ok(vec![finding(
        DEFINITION.name,
        Severity::Warning,
        Subject {
            item: address.to_string().into(),
            ..Subject::default()
        },
        format!(
            "the Swarm knows this node as {address}, which none of its {} devices has; unless that address is \
             translated on the way, other nodes send its containers' packets elsewhere",
            node.devices.len()
        ),
        format!("Give a device the address {address} again; {}.", {
            // A manager that leaves may take the Swarm's majority with it, and the last one the Swarm.
            if inventory.node.as_ref().is_some_and(|node| node.role == "manager") {
                "or, if other managers have a majority, run `docker node demote` for this node on one of them, and join it anew \
                 as a worker"
            } else {
                "or drain the node, and join it anew with `docker swarm leave` and `docker swarm join --advertise-addr`"
            }
        }),
    )])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::look;
    use crate::{
        checks::samples::{device, facts, node},
        model::{facts::CheckFacts, inventory},
    };

    fn known_as(address: Option<&str>, own: &[&str]) -> CheckFacts {
        let mut facts = facts([], []);
        let inventory = inventory::Inventory {
            node: Some(Arc::new(inventory::Node {
                address: address.map(|address| address.parse().expect("an address")),
                ..inventory::Node::default()
            })),
            ..inventory::Inventory::default()
        };
        facts.engine = Ok(Arc::new(inventory));
        facts.node = Ok(node(|node| node.devices = vec![device("eth0", own)]));
        facts
    }

    #[test]
    fn an_address_that_the_node_does_not_have_is_a_finding() {
        let found = look(&known_as(Some("10.94.0.13"), &["10.94.0.14"])).expect("it can look");
        assert_eq!(found.len(), 1);
        assert_eq!(&*found[0].subject.item, "10.94.0.13");
    }

    #[test]
    fn an_address_that_it_has_and_none_are_not() {
        for (address, own) in [
            (Some("10.94.0.13"), &["10.94.0.14", "10.94.0.13"][..]),
            (Some("::ffff:10.94.0.13"), &["10.94.0.13"]),
            (None, &["10.94.0.13"]),
        ] {
            assert!(look(&known_as(address, own)).expect("it can look").is_empty());
        }
    }
}
