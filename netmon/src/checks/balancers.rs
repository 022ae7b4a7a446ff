//! The load balancers of virtual addresses disagree with the services' members.
//!
//! The engine makes one for each network on each node, and one for the routing mesh (`addLBBackend` of libnetwork). Each
//! service has a firewall mark there, and a back end for each of its tasks. Nothing in the kernel says which mark is
//! whose. So a mark is the service's whose members it leads to.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{CheckDefinition, finding, named, number, overlay_members};
use crate::model::{
    facts::{Balanced, CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    peers::Members,
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("load_balancer"),
    finds: "a virtual address or a published port leads to fewer tasks than its service has, to some that are gone, or to none",
    compares: "the back ends in the kernel's load balancer (IPVS) of each network and of the routing mesh, with the services' tasks by \
               gossip",
    blind_spots: "Networks that no container here is on, as often the routing mesh. Services with `--endpoint-mode dnsrr`. Tasks that the gossip does not \
                  have. The firewall's rules that set the marks. Networks of over 4,096 containers",
    causes: "A kernel without `ip_vs` (`modprobe ip_vs`), an engine that was killed while a service changed, or gossip that came in \
             another order than it was sent.",
    // The members may be a minute old. They are asked for anew when something disagrees with them.
    patience: Duration::from_secs(40),
    rests_on_members: true,
    look,
};

/// What a finding is about that is about no service.
const NO_IPVS: &str = "ip_vs";

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let mut found = Vec::new();
    let mut without: BTreeSet<String> = BTreeSet::new();
    for (name, balanced) in &facts.balancers {
        let Some((_, members)) = overlay_members(inventory, name)? else {
            continue;
        };
        let balanced = balanced
            .as_ref()
            .map_err(|reason| Unread(format!("network {name}: {reason}")))?;
        let services = services(members);
        match balanced {
            None => without.extend(services.keys().map(|service| format!("{service} on {name}"))),
            Some(balanced) => found.extend(of_network(name, &services, members, balanced)),
        }
    }
    if !without.is_empty() {
        found.push(no_ipvs(&without));
    }
    Ok(found)
}

/// The services of a network that have a virtual address, with their tasks.
fn services(members: &Members) -> BTreeMap<&str, BTreeMap<IpAddr, &str>> {
    let mut services: BTreeMap<&str, BTreeMap<IpAddr, &str>> = BTreeMap::new();
    for (address, member) in &members.endpoints {
        if members.virtual_ips.contains_key(&member.service) {
            services
                .entry(&member.service)
                .or_default()
                .insert(*address, &member.container);
        }
    }
    services
}

fn no_ipvs(without: &BTreeSet<String>) -> Finding {
    finding(
        DEFINITION.name,
        Severity::Critical,
        Subject {
            item: NO_IPVS.into(),
            ..Subject::default()
        },
        format!(
            "this node's kernel has no IPVS, so the virtual addresses and published ports of {} do not answer here ({})",
            number(without.len(), "service", "services"),
            named(without)
        ),
        "Run `modprobe ip_vs`, or install a kernel that has it; then drain the node, run `systemctl restart docker`, and make it \
         active again. Until then use `--endpoint-mode dnsrr` and `mode=host`."
            .to_owned(),
    )
}

fn of_network(
    network: &Arc<str>,
    services: &BTreeMap<&str, BTreeMap<IpAddr, &str>>,
    members: &Members,
    balanced: &[Balanced],
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut taken: BTreeSet<u32> = BTreeSet::new();
    for (service, tasks) in services {
        // While a service's ports change, and while one that was removed is still stopping, it has two marks.
        let is_its = |group: &&Balanced| group.backends.iter().any(|it| tasks.contains_key(&it.address));
        let mut has: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for group in balanced.iter().filter(is_its) {
            taken.insert(group.mark);
            for backend in &group.backends {
                let weight = has.entry(backend.address).or_default();
                *weight = backend.weight.max(*weight);
            }
        }
        if has.is_empty() {
            found.push(of_service(
                network,
                service,
                "virtual address",
                Severity::Warning,
                format!(
                    "the load balancer of this node has no back end for service {service}, so its virtual address on {network} does \
                     not answer here, unless all of its tasks are stopping"
                ),
                tasks.keys(),
            ));
            continue;
        }
        let missing: Vec<_> = tasks.iter().filter(|(address, _)| !has.contains_key(address)).collect();
        if !missing.is_empty() {
            found.push(of_service(
                network,
                service,
                "missing",
                Severity::Warning,
                format!(
                    "{} of {} of service {service} on {network} are not in this node's load balancer, so they get no connection \
                     from here, unless they are stopping ({})",
                    missing.len(),
                    number(tasks.len(), "task", "tasks"),
                    named(missing.iter().map(|(_, name)| name))
                ),
                missing.iter().map(|(address, _)| *address),
            ));
        }
        let gone: Vec<_> = has
            .iter()
            .filter(|(address, weight)| **weight > 0 && !tasks.contains_key(address))
            .collect();
        if !gone.is_empty() {
            found.push(of_service(
                network,
                service,
                "stale",
                Severity::Critical,
                format!(
                    "{} of {} of service {service} in this node's load balancer on {network} are no tasks of it, so that part of \
                     its connections fails ({})",
                    gone.len(),
                    number(has.len(), "back end", "back ends"),
                    named(gone.iter().map(|(address, _)| address))
                ),
                gone.iter().map(|(address, _)| *address),
            ));
        }
        let idle: Vec<_> = tasks
            .iter()
            .filter(|(address, _)| has.get(address) == Some(&0))
            .collect();
        if !idle.is_empty() {
            found.push(of_service(
                network,
                service,
                "weight 0",
                Severity::Info,
                format!(
                    "{} of {} of service {service} on {network} have weight 0 in this node's load balancer, so they get no new \
                     connection; they may be stopping ({})",
                    idle.len(),
                    number(tasks.len(), "task", "tasks"),
                    named(idle.iter().map(|(_, name)| name))
                ),
                idle.iter().map(|(address, _)| *address),
            ));
        }
    }
    let unclaimed = balanced.iter().filter(|group| !taken.contains(&group.mark));
    found.extend(unclaimed.filter_map(|group| orphan(network, group, members)));
    found
}

/// A mark that leads to nobody who is on the network.
fn orphan(network: &Arc<str>, group: &Balanced, members: &Members) -> Option<Finding> {
    let live: Vec<IpAddr> = group
        .backends
        .iter()
        .filter(|it| it.weight > 0)
        .map(|it| it.address)
        .collect();
    // Those of services without a virtual address are not compared.
    if live.is_empty() || live.iter().any(|address| members.endpoints.contains_key(address)) {
        return None;
    }
    Some(Finding {
        witnesses: live.iter().map(|address| address.to_string().into()).collect(),
        ..finding(
            DEFINITION.name,
            Severity::Info,
            Subject {
                network: Arc::clone(network),
                item: format!("mark {:#x}", group.mark).into(),
                ..Subject::default()
            },
            format!(
                "the load balancer of this node has a service with firewall mark {:#x} on {network} that leads to nobody there ({})",
                group.mark,
                named(&live)
            ),
            "Nothing has to be done unless a virtual address does not answer; then drain this node, run `systemctl restart docker`, \
             and make it active again."
                .to_owned(),
        )
    })
}

fn of_service<'a>(
    network: &Arc<str>,
    service: &str,
    item: &str,
    severity: Severity,
    evidence: String,
    witnesses: impl IntoIterator<Item = &'a IpAddr>,
) -> Finding {
    Finding {
        witnesses: witnesses
            .into_iter()
            .map(|address| address.to_string().into())
            .collect(),
        ..finding(
            DEFINITION.name,
            severity,
            Subject {
                network: Arc::clone(network),
                service: service.into(),
                item: item.into(),
                ..Subject::default()
            },
            evidence,
            if severity == Severity::Info {
                "Nothing has to be done while they stop, which `docker service ps` shows.".to_owned()
            } else {
                format!(
                    "If `docker service ps {service}` shows that they run, run `docker service update --force {service}`, which \
                     writes the back ends anew."
                )
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc};

    use super::look;
    use crate::{
        checks::samples::{facts, network},
        model::{
            facts::{Backend, Balanced, CheckFacts},
            finding::{Finding, Severity},
            inventory::Inventory,
            peers::{Member, Members},
        },
    };

    /// A mark, and the addresses and weights of its back ends.
    type Group<'b> = (u32, &'b [(u8, u32)]);

    fn address(last: u8) -> IpAddr {
        [10, 0, 1, last].into()
    }

    /// A network with tasks of services, of which those in `virtual` have a virtual address, and with these back ends by
    /// mark.
    fn with(tasks: &[(u8, &str)], balanced: Option<&[Group<'_>]>) -> CheckFacts {
        let mut facts = facts([network("shop", "overlay", &["10.0.1.0/24"])], []);
        let member = |(last, service): &(u8, &str)| {
            let member = Member {
                container: format!("{service}.{last}"),
                service: (*service).to_owned(),
                node: None,
            };
            (address(*last), member)
        };
        let members = Members {
            endpoints: tasks.iter().map(member).collect(),
            virtual_ips: [("web".to_owned(), address(100)), ("db".to_owned(), address(101))].into(),
            ..Members::default()
        };
        facts.engine = facts.engine.map(|inventory| {
            Arc::new(Inventory {
                members: [("shop".into(), Some(Arc::new(members)))].into(),
                ..Inventory::clone(&inventory)
            })
        });
        let group = |(mark, backends): &Group<'_>| Balanced {
            mark: *mark,
            backends: backends
                .iter()
                .map(|(last, weight)| Backend {
                    address: address(*last),
                    weight: *weight,
                })
                .collect(),
        };
        let balanced = balanced.map(|all| all.iter().map(group).collect());
        facts.balancers.insert("shop".into(), Ok(balanced));
        facts
    }

    fn found(facts: &CheckFacts) -> Vec<(String, String)> {
        let found = look(facts).expect("it can look").into_iter();
        found
            .map(|it| (it.subject.service.to_string(), it.subject.item.to_string()))
            .collect()
    }

    fn pair(service: &str, item: &str) -> (String, String) {
        (service.to_owned(), item.to_owned())
    }

    const TASKS: &[(u8, &str)] = &[(2, "web"), (3, "web"), (4, "db"), (5, "plain")];

    #[test]
    fn a_balancer_with_every_task_is_well() {
        let facts = with(TASKS, Some(&[(0x100, &[(2, 1), (3, 1)]), (0x101, &[(4, 1)])]));
        assert!(found(&facts).is_empty());
    }

    #[test]
    fn a_task_that_is_missing_and_a_back_end_that_is_none_are_found() {
        let facts = with(TASKS, Some(&[(0x100, &[(2, 1), (9, 1)]), (0x101, &[(4, 1)])]));
        assert_eq!(found(&facts), [pair("web", "missing"), pair("web", "stale")]);
        let evidence: Vec<Finding> = look(&facts).expect("it can look");
        assert!(
            evidence[0].evidence.starts_with("1 of 2 tasks of service web"),
            "{evidence:?}"
        );
        assert!(
            evidence[1].evidence.starts_with("1 of 2 back ends of service web"),
            "{evidence:?}"
        );
    }

    #[test]
    fn a_service_with_two_marks_has_the_back_ends_of_both() {
        let facts = with(
            TASKS,
            Some(&[(0x100, &[(2, 1)]), (0x105, &[(3, 1)]), (0x101, &[(4, 1)])]),
        );
        assert!(found(&facts).is_empty());
    }

    #[test]
    fn a_task_of_weight_0_gets_nothing_and_one_that_left_is_nobodys_loss() {
        let facts = with(TASKS, Some(&[(0x100, &[(2, 1), (3, 0), (9, 0)]), (0x101, &[(4, 1)])]));
        assert_eq!(found(&facts), [pair("web", "weight 0")]);
        assert_eq!(look(&facts).expect("it can look")[0].severity, Severity::Info);
    }

    #[test]
    fn a_service_without_any_back_end_has_a_dead_virtual_address() {
        let facts = with(TASKS, Some(&[(0x100, &[(2, 1), (3, 1)])]));
        assert_eq!(found(&facts), [pair("db", "virtual address")]);
    }

    #[test]
    fn a_mark_that_leads_to_nobody_is_found_and_one_that_leads_to_others_is_not() {
        let web = (0x100, &[(2, 1), (3, 1)][..]);
        let db = (0x101, &[(4, 1)][..]);
        let facts = with(
            TASKS,
            Some(&[web, db, (0x102, &[(9, 1)]), (0x103, &[(5, 1)]), (0x104, &[])]),
        );
        assert_eq!(found(&facts), [pair("", "mark 0x102")]);
    }

    #[test]
    fn a_kernel_without_ipvs_is_one_finding() {
        assert_eq!(found(&with(TASKS, None)), [pair("", "ip_vs")]);
        assert!(found(&with(&[(5, "plain")], None)).is_empty(), "nobody asks for it");
    }
}
