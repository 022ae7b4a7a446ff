//! Two containers on one network have the same address.

use std::{collections::BTreeMap, fmt::Display, time::Duration};

use super::{CheckDefinition, finding, named};
use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    inventory::{Container, Network},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("duplicate_address"),
    finds: "two containers on one network have the same IP address or the same hardware address",
    compares: "the addresses that the engine gave to this node's containers, network by network",
    blind_spots: "containers on other nodes; addresses that a container gave itself",
    causes: "`--mac-address` or `--ip` used twice, a container that was saved and started again by engine 25.0.0 or 25.0.1, or \
             tools that copy containers with their addresses.",
    // A container that ends may hold its address while the next one has it.
    patience: Duration::from_secs(10),
    rests_on_members: false,
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let mut holders: BTreeMap<(&str, &str, String), Vec<&Container>> = BTreeMap::new();
    let running = inventory.containers.values().filter(|container| container.running);
    for container in running {
        for endpoint in &container.endpoints {
            let Some(network) = inventory.networks.get(&endpoint.network) else {
                continue;
            };
            let mac = endpoint.mac.filter(|_| has_own_macs(network));
            let addresses = endpoint.addresses.iter().map(text).chain(mac.iter().map(text));
            for address in addresses {
                // Two local networks may have the same name.
                holders
                    .entry((&network.name, &network.id, address))
                    .or_default()
                    .push(container);
            }
        }
    }
    let several = holders.into_iter().filter(|(_, holders)| holders.len() > 1);
    Ok(several
        .map(|((network, _, address), mut holders)| {
            holders.sort_by_key(|container| &container.identity);
            let names: Vec<_> = holders.iter().map(|it| it.identity.container.as_str()).collect();
            finding(
                DEFINITION.name,
                Severity::Critical,
                Subject {
                    network: network.into(),
                    container: names.first().copied().unwrap_or_default().into(),
                    service: holders.first().map_or("", |first| first.identity.service.as_str()).into(),
                    item: address.as_str().into(),
                    ..Subject::default()
                },
                format!(
                    "{} containers have the address {address} on this network ({}), so packets for one reach another",
                    holders.len(),
                    named(&names)
                ),
                format!(
                    "Take `--ip` or `--mac-address` from all but one; then run `docker service update --force` for a service, \
                     `docker compose up -d --force-recreate` in a project, or `docker network disconnect {network} {other}` and \
                     `connect`.",
                    other = names.last().copied().unwrap_or_default()
                ),
            )
        })
        .collect())
}

fn text(address: &impl Display) -> String {
    address.to_string()
}

/// Whether each container has a hardware address of its own there. With ipvlan all have their parent's, and with some
/// plugins all have the same.
fn has_own_macs(network: &Network) -> bool {
    matches!(network.driver.as_str(), "bridge" | "overlay" | "macvlan")
}

#[cfg(test)]
mod tests {
    use super::look;
    use crate::{
        checks::samples::{container, facts, network},
        model::inventory::Container,
    };

    fn with_mac(mut container: Container, mac: &str) -> Container {
        for endpoint in &mut container.endpoints {
            endpoint.mac = mac.parse().ok();
        }
        container
    }

    #[test]
    fn two_with_one_hardware_address_are_a_finding() {
        let two = |driver| {
            let one = with_mac(container("a", true, &[("n", "172.18.0.2")]), "02:42:0a:00:00:05");
            let other = with_mac(container("b", true, &[("n", "172.18.0.3")]), "02:42:0a:00:00:05");
            look(&facts([network("n", driver, &["172.18.0.0/16"])], [one, other])).expect("it can look")
        };
        let found = two("bridge");
        assert_eq!(found.len(), 1);
        assert_eq!(&*found[0].subject.item, "02:42:0a:00:00:05");
        assert!(found[0].evidence.contains("(a, b)"), "{found:?}");
        assert!(two("ipvlan").is_empty(), "they have their parent's");
    }

    #[test]
    fn one_address_on_two_networks_and_one_of_a_container_that_ended_are_none() {
        let networks = || [network("n", "bridge", &[]), network("m", "bridge", &[])];
        let apart = [
            container("a", true, &[("n", "172.18.0.2")]),
            container("b", true, &[("m", "172.18.0.2")]),
        ];
        assert!(look(&facts(networks(), apart)).expect("it can look").is_empty());
        let later = [
            container("a", false, &[("n", "172.18.0.2")]),
            container("b", true, &[("n", "172.18.0.2")]),
        ];
        assert!(look(&facts(networks(), later)).expect("it can look").is_empty());
    }
}
