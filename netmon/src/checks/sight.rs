//! netmon itself does not see what it should.

use std::time::Duration;

use super::{CheckDefinition, finding};
use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("sight"),
    finds: "netmon does not see containers that run, or the node, because of how it was started",
    compares: "where the engine has its containers' namespaces with where netmon looks, and whose the namespace is that netmon runs in",
    blind_spots: "programs that the kernel refused and maps that are full: `netmon_attach_failures_total` and NetmonBlind say so",
    causes: "A netmon without `--network host`, without `/var/run/docker/netns` bound with `rslave`, or an engine with another \
             `--exec-root`.",
    // A container that is just ending may seem to be without its namespace for a moment.
    patience: Duration::from_secs(20),
    rests_on_members: false,
    look,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "each check has this shape, and this one can always look"
)]
fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let unseen = facts.unseen.iter().map(|what| {
        finding(
            DEFINITION.name,
            Severity::Critical,
            Subject {
                item: "netmon".into(),
                ..Subject::default()
            },
            what.clone(),
            "Start netmon anew as its README says: `--network host`, and the engine's directory of namespaces bound with \
             `rslave`."
                .to_owned(),
        )
    });
    Ok(unseen.collect())
}

#[cfg(test)]
mod tests {
    use super::look;
    use crate::checks::samples::facts;

    #[test]
    fn what_keeps_netmon_from_seeing_is_said_as_it_is() {
        let mut facts = facts([], []);
        assert_eq!(look(&facts), Ok(Vec::new()));
        facts.unseen = Some("the directory cannot be read".to_owned());
        let found = look(&facts).expect("it can look");
        assert_eq!(found[0].evidence, "the directory cannot be read");
    }
}
