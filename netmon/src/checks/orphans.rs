//! A container uses the network namespace of another one, which has a new one by now.

use std::time::Duration;

use super::{CheckDefinition, finding};
use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    inventory::Sandbox,
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("shared_namespace"),
    finds: "a container that shares another container's network was left behind when that one was restarted or removed",
    compares: "when each container with `--network container:` started, with when the container it names did",
    blind_spots: "namespaces that are shared in another way, as by `nsenter`",
    causes: "The container whose network is shared was updated or restarted. Its namespace was made anew. The others keep the old \
             one, in which only loopback is left.",
    // Both may be restarted one after the other.
    patience: Duration::from_secs(20),
    rests_on_members: false,
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let running = inventory.containers.values().filter(|container| container.running);
    let found = running.filter_map(|container| {
        let Sandbox::Shared(of) = &container.sandbox else {
            return None;
        };
        let name = &container.identity.container;
        let other = inventory.containers.get(of);
        let what = match other.filter(|other| other.running) {
            None => match other {
                Some(other) => format!("{}, which does not run any more", other.identity.container),
                None => format!("container {}, which does not run or is gone", of.get(..12).unwrap_or(of)),
            },
            Some(other) if other.started? > container.started? => {
                format!("{}, which has another one since it was restarted", other.identity.container)
            }
            Some(_) => return None,
        };
        Some(finding(
            DEFINITION.name,
            Severity::Critical,
            Subject {
                container: name.as_str().into(),
                service: container.identity.service.as_str().into(),
                ..Subject::default()
            },
            format!("container {name} uses the network namespace of {what}, so {name} reaches nothing but itself"),
            format!(
                "Run `docker start {}` if it does not run, then `docker restart {name}`; if there is no such container any more, \
                 let its Compose file or script make {name} anew.",
                of.get(..12).unwrap_or(of)
            ),
        ))
    });
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::look;
    use crate::{
        checks::samples::{container, facts},
        model::inventory::{Container, Sandbox},
    };

    fn started(name: &str, second: u64, sandbox: Sandbox) -> Container {
        Container {
            started: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(second)),
            sandbox,
            ..container(name, true, &[])
        }
    }

    fn found(vpn: Option<Container>) -> Vec<String> {
        let app = started("app", 10, Sandbox::Shared("vpn".into()));
        let found = look(&facts([], vpn.into_iter().chain([app]))).expect("it can look");
        found.into_iter().map(|finding| finding.evidence).collect()
    }

    #[test]
    fn a_sharer_that_is_younger_is_well() {
        assert!(found(Some(started("vpn", 5, Sandbox::Absent))).is_empty());
        assert!(found(Some(started("vpn", 10, Sandbox::Absent))).is_empty());
    }

    #[test]
    fn a_sharer_that_is_older_or_alone_is_cut_off() {
        let restarted = found(Some(started("vpn", 11, Sandbox::Absent)));
        assert!(restarted[0].contains("of vpn, which has another one"), "{restarted:?}");
        let ended = Container {
            running: false,
            ..started("vpn", 5, Sandbox::Absent)
        };
        assert!(found(Some(ended))[0].contains("does not run any more"));
        assert!(found(None)[0].contains("container vpn, which does not run or is gone"));
    }
}
