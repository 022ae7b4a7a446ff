//! A resolver does not answer containers, answers late, or fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{CheckDefinition, finding, named, number};
use crate::model::{
    dns::Resolver,
    facts::{Asked, CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("resolver"),
    finds: "at least half of the queries that a container sends to a resolver get no answer, a late one, SERVFAIL or REFUSED",
    compares: "what each container asked the engine's resolver, and others, within half a minute, with the responses",
    blind_spots: "Names: one that does not exist is an answer. Fewer than three failures in half a minute. Queries by TCP or with \
                  encryption. Containers in the host's network. Kernels without the programs that count queries",
    causes: "The node's own resolver is down or out of reach: the engine forwards all names that are none of containers to it. Or a \
             firewall drops UDP port 53. Engine 20.10 answers nothing where its forwarder fails.",
    patience: Duration::ZERO,
    rests_on_members: false,
    look,
};

/// Fewer failures say nothing yet.
const FEWEST: u64 = 3;

/// The item, what is said, and how many queries failed so.
type Kind = (&'static str, &'static str, fn(&Asked) -> u64);

/// How queries fail.
const FAILURES: [Kind; 4] = [
    ("unanswered", "got no answer within 5 s", |asked| asked.unanswered),
    ("servfail", "got SERVFAIL", |asked| asked.servfail),
    ("refused", "were refused", |asked| asked.refused),
    ("slow", "took over a second", |asked| asked.slow),
];

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let moved = facts.moved.as_ref().map_err(Unread::clone)?;
    let mut failures: BTreeMap<(Resolver, usize), Failure<'_>> = BTreeMap::new();
    for ((id, resolver), asked) in &moved.asked {
        let Some(container) = inventory.containers.get(id).filter(|it| it.running) else {
            continue;
        };
        for (kind, (.., count)) in FAILURES.iter().enumerate() {
            let (failed, all) = (count(asked), asked.all());
            // One container's failures do not vanish in another's traffic.
            if failed >= FEWEST && failed >= all / 2 {
                let failure = failures.entry((*resolver, kind)).or_default();
                failure.failed = failure.failed.saturating_add(failed);
                failure.all = failure.all.saturating_add(all);
                failure.containers.insert(&container.identity.container);
                failure.services.insert(&container.identity.service);
            }
        }
    }
    let found = failures.into_iter().map(|((resolver, kind), failure)| {
        let (item, what, _) = FAILURES[kind];
        let (label, who, remedy) = match resolver {
            Resolver::Docker => (
                "docker",
                "the engine's resolver",
                "Run `docker exec CONTAINER nslookup NAME` with a container's name and with an outside one; if only the outside one \
                 fails, mend the resolver in the node's /etc/resolv.conf, or set `dns` in the engine's daemon.json.",
            ),
            Resolver::Outside => (
                "outside",
                "resolvers outside",
                "Run `docker exec CONTAINER cat /etc/resolv.conf`, and ask the server there from the node with `dig @SERVER NAME`.",
            ),
        };
        let only = |names: &BTreeSet<&str>| Arc::from(names.first().filter(|_| names.len() == 1).copied().unwrap_or_default());
        finding(
            DEFINITION.name,
            Severity::Warning,
            Subject {
                // Of several, the sentence names them.
                container: only(&failure.containers),
                service: only(&failure.services),
                item: format!("{label} {item}").into(),
                ..Subject::default()
            },
            format!(
                "{} of {} to {who} {what}, in {} s, from {}",
                failure.failed,
                number(usize::try_from(failure.all).unwrap_or(usize::MAX), "query", "queries"),
                moved.time.as_secs(),
                named(&failure.containers)
            ),
            remedy.to_owned(),
        )
    });
    Ok(found.collect())
}

/// The failures of one kind, of all containers that have them.
#[derive(Default)]
struct Failure<'f> {
    failed: u64,
    all: u64,
    containers: BTreeSet<&'f str>,
    services: BTreeSet<&'f str>,
}

#[cfg(test)]
mod tests {
    use super::look;
    use crate::{
        checks::samples::{container, facts},
        model::{
            dns::Resolver,
            facts::{Asked, Moved},
        },
    };

    fn found(asked: &[(&str, Resolver, Asked)]) -> Vec<(String, String, String)> {
        let mut facts = facts([], ["web", "db"].map(|name| container(name, true, &[])));
        facts.moved = Ok(Moved {
            asked: asked
                .iter()
                .map(|(name, resolver, asked)| (((*name).into(), *resolver), *asked))
                .collect(),
            ..Moved::default()
        });
        let found = look(&facts).expect("it can look").into_iter();
        found
            .map(|it| {
                (
                    it.subject.container.to_string(),
                    it.subject.item.to_string(),
                    it.evidence,
                )
            })
            .collect()
    }

    const ANSWERED: Asked = Asked {
        answered: 10,
        unanswered: 0,
        servfail: 0,
        refused: 0,
        slow: 0,
    };

    #[test]
    fn half_of_the_queries_without_an_answer_are_a_finding() {
        let silent = |unanswered| Asked { unanswered, ..ANSWERED };
        assert!(found(&[("web", Resolver::Docker, ANSWERED)]).is_empty());
        assert!(
            found(&[("web", Resolver::Docker, silent(8))]).is_empty(),
            "less than half"
        );
        let one = found(&[
            ("web", Resolver::Docker, silent(10)),
            ("db", Resolver::Docker, ANSWERED),
        ]);
        assert_eq!((one[0].0.as_str(), one[0].1.as_str()), ("web", "docker unanswered"));
        assert!(
            one[0]
                .2
                .starts_with("10 of 20 queries to the engine's resolver got no answer"),
            "{one:?}"
        );
        let few = Asked {
            answered: 0,
            unanswered: 2,
            ..ANSWERED
        };
        assert!(found(&[("web", Resolver::Docker, few)]).is_empty());
    }

    #[test]
    fn a_failure_of_several_containers_is_one_finding() {
        let failing = Asked {
            answered: 0,
            servfail: 5,
            slow: 5,
            ..ANSWERED
        };
        let both = found(&[("web", Resolver::Outside, failing), ("db", Resolver::Outside, failing)]);
        let items: Vec<_> = both
            .iter()
            .map(|(container, item, _)| (container.as_str(), item.as_str()))
            .collect();
        assert_eq!(items, [("", "outside servfail"), ("", "outside slow")]);
        assert!(both[0].2.ends_with("from db, web"), "{both:?}");
    }
}
