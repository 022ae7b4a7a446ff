//! One name on a network belongs to containers of different projects, and its resolver gives them by turns.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{CheckDefinition, finding, named};
use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    inventory::{Inventory, Network, NetworkId},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("alias_conflict"),
    finds: "a name on a network belongs to services of two stacks or Compose projects, and each request goes to one by chance",
    compares: "the aliases of this node's containers, and the short names of services, with the stacks and projects they are of",
    blind_spots: "aliases of containers on other nodes but their services' short names; containers without a stack or a project",
    causes: "Two stacks or Compose projects have a service of the same name, and share an external network. Both add the \
             service's short name there as an alias.",
    patience: Duration::from_secs(20),
    rests_on_members: false,
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let owners = owners(inventory);
    let several = owners.into_iter().filter_map(|((network, _, alias), owners)| {
        let stacks: BTreeSet<&str> = owners.iter().map(|(stack, _)| *stack).collect();
        (stacks.len() > 1).then_some((network, alias, owners))
    });
    Ok(several
        .map(|(network, alias, owners)| {
            finding(
                DEFINITION.name,
                Severity::Warning,
                Subject {
                    network: network.into(),
                    item: alias.into(),
                    ..Subject::default()
                },
                format!(
                    "the name {alias} on this network belongs to {} ({}), so a request for one may reach another",
                    owners.len(),
                    named(owners.iter().map(|(stack, service)| format!("{service} of {stack}")))
                ),
                "Ask for the service's full name (`STACK_SERVICE`) or the container's, or give each project a network of its own in its `networks:` and \
                 run `docker stack deploy` or `docker compose up -d`."
                    .to_owned(),
            )
        })
        .collect())
}

/// By name and id of the network, and by alias. Two local networks may have one name.
type Owners<'i> = BTreeMap<(&'i str, &'i str, &'i str), BTreeSet<(&'i str, &'i str)>>;

/// By network and name: the stacks and services that have it.
fn owners(inventory: &Inventory) -> Owners<'_> {
    let mut owners = Owners::new();
    let running = inventory.containers.values().filter(|container| container.running);
    for container in running.clone() {
        let identity = &container.identity;
        let (stack, service) = (identity.stack.as_str(), identity.service.as_str());
        if stack.is_empty() {
            continue;
        }
        for endpoint in &container.endpoints {
            let Some(network) = with_names(inventory, &endpoint.network) else {
                continue;
            };
            let aliases = endpoint.aliases.iter().map(|alias| &**alias);
            for alias in aliases
                .filter(|alias| *alias != identity.container)
                .chain(short(stack, service))
            {
                owners
                    .entry((&network.name, &network.id, alias))
                    .or_default()
                    .insert((stack, service));
            }
        }
    }
    // The services of other nodes are known by their full names.
    let of_containers = running.map(|container| container.identity.stack.as_str());
    let of_networks = inventory.networks.values().map(|network| network.stack.as_str());
    let stacks: BTreeSet<&str> = of_containers
        .chain(of_networks)
        .filter(|stack| !stack.is_empty())
        .collect();
    for (id, members) in &inventory.members {
        let (Some(network), Some(members)) = (with_names(inventory, id), members) else {
            continue;
        };
        let services: BTreeSet<&str> = members
            .endpoints
            .values()
            .map(|member| member.service.as_str())
            .collect();
        for service in services {
            // One stack's name may begin with another's.
            let mut known = stacks
                .iter()
                .rev()
                .filter_map(|stack| Some((*stack, short(stack, service)?)));
            if let Some((stack, alias)) = known.next() {
                owners
                    .entry((&network.name, &network.id, alias))
                    .or_default()
                    .insert((stack, service));
            }
        }
    }
    owners
}

/// A network, unless it has no names: the routing mesh (`addSvcRecords` of libnetwork).
fn with_names<'i>(inventory: &'i Inventory, id: &NetworkId) -> Option<&'i Network> {
    inventory
        .networks
        .get(id)
        .map(|network| &**network)
        .filter(|network| !network.ingress)
}

/// The name that `docker stack deploy` gives a service as an alias: without its stack's.
fn short<'s>(stack: &str, service: &'s str) -> Option<&'s str> {
    service
        .strip_prefix(stack)?
        .strip_prefix('_')
        .filter(|short| !short.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::look;
    use crate::{
        checks::samples::{container, facts, network},
        model::{
            inventory::{Container, Identity, Inventory, Network},
            peers::{Member, Members},
        },
    };

    fn of(stack: &str, service: &str, aliases: &[&str]) -> Container {
        let name = format!("{stack}-{service}");
        let mut container = container(&name, true, &[("shared", "10.0.1.2")]);
        container.identity = Arc::new(Identity {
            container: name,
            service: service.to_owned(),
            stack: stack.to_owned(),
        });
        for endpoint in &mut container.endpoints {
            endpoint.aliases = aliases.iter().map(|alias| Arc::from(*alias)).collect();
        }
        container
    }

    fn found(containers: impl IntoIterator<Item = Container>) -> Vec<(String, String)> {
        let found = look(&facts([network("shared", "bridge", &[])], containers)).expect("it can look");
        found
            .into_iter()
            .map(|it| (it.subject.item.to_string(), it.evidence))
            .collect()
    }

    #[test]
    fn a_name_of_two_projects_is_a_finding_and_names_them() {
        let found = found([
            of("shop", "db", &["db"]),
            of("wiki", "db", &["db"]),
            of("wiki", "web", &["web"]),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, "db");
        assert!(found[0].1.contains("(db of shop, db of wiki)"), "{found:?}");
    }

    #[test]
    fn the_routing_mesh_has_no_names() {
        let ingress = Network {
            ingress: true,
            ..network("shared", "overlay", &[])
        };
        let both = [of("shop", "db", &["db"]), of("wiki", "db", &["db"])];
        assert_eq!(look(&facts([ingress], both)), Ok(Vec::new()));
    }

    #[test]
    fn replicas_of_one_service_share_a_name_and_so_may_services_of_one_project() {
        let mut second = of("shop", "db", &["db"]);
        second.id = Arc::from("another");
        assert!(found([of("shop", "db", &["db"]), second]).is_empty());
        assert!(found([of("shop", "db", &["store"]), of("shop", "cache", &["store"])]).is_empty());
        assert!(found([of("", "db", &["db"]), of("", "db2", &["db"])]).is_empty());
    }

    #[test]
    fn services_of_stacks_have_their_short_names_on_other_nodes_too() {
        let here = of("shop", "shop_db", &[]);
        let mut facts = facts(
            [Network {
                stack: "wiki".to_owned(),
                ..network("shared", "overlay", &[])
            }],
            [here],
        );
        let member = Member {
            container: "wiki_db.1.abc".to_owned(),
            service: "wiki_db".to_owned(),
            node: None,
        };
        let members = Members {
            endpoints: [([10, 0, 1, 9].into(), member)].into(),
            ..Members::default()
        };
        facts.engine = facts.engine.map(|inventory| {
            Arc::new(Inventory {
                members: [("shared".into(), Some(Arc::new(members)))].into(),
                ..Inventory::clone(&inventory)
            })
        });
        let found = look(&facts).expect("it can look");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(&*found[0].subject.item, "db");
    }
}
