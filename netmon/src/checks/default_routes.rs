//! A container has no way out, though one of its networks leads outside.

use std::time::Duration;

use super::{CheckDefinition, finding, restart};
use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    inventory::{Container, Inventory},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("default_route"),
    finds: "a container has no default route, or one into an internal network, though one of its networks leads outside",
    compares: "the IPv4 route that the kernel has in each container's namespace, with the container's networks",
    blind_spots: "IPv6; routes that lead out by the wrong one of two networks; what is wrong behind the gateway",
    causes: "The container joined or left a network, and the engine moved its default route; or a process in it took the route \
             away. A VPN's container may do that on purpose.",
    // The engine sets the route after the devices.
    patience: Duration::from_secs(20),
    rests_on_members: false,
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let mut found = Vec::new();
    let mut unread = None;
    for (id, its) in &facts.containers {
        let Some(container) = inventory.containers.get(id).filter(|it| it.running) else {
            continue;
        };
        let Some(network) = leading_out(container, inventory) else {
            continue;
        };
        let its = match its {
            Ok(its) => its,
            Err(reason) => {
                unread.get_or_insert(reason);
                continue;
            }
        };
        let what = match its.way_out {
            None => "has no default route".to_owned(),
            Some(ifindex) => {
                let way = its.devices.iter().find(|(device, _)| device.ifindex == ifindex);
                match way.filter(|(_, network)| is_internal(inventory, network)) {
                    Some((_, network)) => format!("has its default route by network {network}, which is internal"),
                    None => continue,
                }
            }
        };
        let name = &container.identity.container;
        found.push(finding(
            DEFINITION.name,
            Severity::Warning,
            Subject {
                network: network.into(),
                container: name.as_str().into(),
                service: container.identity.service.as_str().into(),
                ..Subject::default()
            },
            format!("container {name} {what}, though network {network} leads outside, so it reaches nothing there"),
            format!(
                "Run `{}`; where it joins several networks, give this one the highest `--gw-priority` \
                 (engine 28 or newer).",
                restart(container)
            ),
        ));
    }
    match unread {
        Some(reason) if found.is_empty() => Err(reason.clone()),
        _ => Ok(found),
    }
}

/// The first network of a container by which it should reach the outside with IPv4.
fn leading_out<'i>(container: &Container, inventory: &'i Inventory) -> Option<&'i str> {
    let on = container
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.addresses.iter().any(std::net::IpAddr::is_ipv4));
    let networks = on.filter_map(|endpoint| inventory.networks.get(&endpoint.network));
    let leading = networks.filter(|network| network.leads_out());
    leading.map(|network| network.name.as_str()).min()
}

fn is_internal(inventory: &Inventory, network: &str) -> bool {
    let mut named = inventory
        .networks
        .values()
        .filter(|known| known.name == network)
        .peekable();
    named.peek().is_some() && named.all(|network| network.internal)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::look;
    use crate::{
        checks::samples::{container, device, facts, network},
        model::{
            facts::{CheckFacts, ContainerFacts, Unread},
            inventory::Network,
        },
    };

    fn with(networks: [Network; 2], way_out: Option<u32>) -> CheckFacts {
        let both = [("front", "172.18.0.2"), ("back", "172.19.0.2")];
        let mut facts = facts(networks, [container("web", true, &both)]);
        let devices = both.map(|(name, address)| {
            let mut device = device(name, &[address]);
            device.ifindex = if name == "front" { 2 } else { 3 };
            (Arc::new(device), Arc::from(name))
        });
        let its = ContainerFacts {
            devices: devices.into(),
            way_out,
        };
        facts.containers.insert("web".into(), Ok(its));
        facts
    }

    fn front_and_internal() -> [Network; 2] {
        let back = Network {
            internal: true,
            ..network("back", "bridge", &["172.19.0.0/16"])
        };
        [network("front", "bridge", &["172.18.0.0/16"]), back]
    }

    #[test]
    fn a_container_without_a_route_is_a_finding_if_a_network_leads_out() {
        let found = look(&with(front_and_internal(), None)).expect("it can look");
        assert_eq!(found.len(), 1);
        assert_eq!(
            (&*found[0].subject.network, &*found[0].subject.container),
            ("front", "web")
        );
        let only_internal = front_and_internal().map(|network| Network {
            internal: true,
            ..network
        });
        assert!(look(&with(only_internal, None)).expect("it can look").is_empty());
    }

    #[test]
    fn a_route_into_an_internal_network_is_one_and_a_route_by_a_device_of_its_own_is_none() {
        let found = look(&with(front_and_internal(), Some(3))).expect("it can look");
        assert!(
            found[0].evidence.contains("by network back, which is internal"),
            "{found:?}"
        );
        for way in [2, 9] {
            assert!(
                look(&with(front_and_internal(), Some(way)))
                    .expect("it can look")
                    .is_empty()
            );
        }
    }

    #[test]
    fn a_namespace_that_cannot_be_read_is_said() {
        let mut facts = with(front_and_internal(), None);
        facts.containers.insert("web".into(), Err(Unread("refused".to_owned())));
        assert!(look(&facts).is_err());
    }
}
