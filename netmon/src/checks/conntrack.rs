//! The node's table of connections is full, or nearly.

use std::time::Duration;

use super::{CheckDefinition, finding};
use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("conntrack"),
    finds: "the node's connection table (conntrack) is full or has less than a tenth left",
    compares: "`net.netfilter.nf_conntrack_count` of the node's namespace with `nf_conntrack_max`",
    blind_spots: "tables of containers' own namespaces, which have the same limit each",
    causes: "Many short connections through published ports or out of bridge networks, a scan, or a table that is small for the node. \
             Each entry stays for a while after its connection.",
    patience: Duration::ZERO,
    rests_on_members: false,
    look,
};

const LIMIT: &str = "net.netfilter.nf_conntrack_max";

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    // Without the module nothing is tracked.
    let Some((entries, limit)) = node.connections.filter(|(_, limit)| *limit > 0) else {
        return Ok(Vec::new());
    };
    if entries < limit - limit / 10 {
        return Ok(Vec::new());
    }
    let (severity, outcome) = if entries >= limit - limit / 100 {
        (
            Severity::Critical,
            "so new connections are dropped now, or with the next ones",
        )
    } else {
        (Severity::Warning, "and new connections are dropped once it is full")
    };
    Ok(vec![finding(
        DEFINITION.name,
        severity,
        Subject {
            item: LIMIT.into(),
            ..Subject::default()
        },
        format!("the node tracks {entries} connections, and its table has room for {limit}, {outcome}"),
        format!(
            "Run `sysctl -w {LIMIT}={}` on the node, and look for who opens them with `conntrack -L`.",
            limit.saturating_mul(2)
        ),
    )])
}

#[cfg(test)]
mod tests {
    use super::look;
    use crate::{
        checks::samples::{facts, node},
        model::finding::Severity,
    };

    fn found(connections: Option<(u64, u64)>) -> Vec<Severity> {
        let mut facts = facts([], []);
        facts.node = Ok(node(|node| node.connections = connections));
        let found = look(&facts).expect("it can look").into_iter();
        found.map(|it| it.severity).collect()
    }

    #[test]
    fn a_table_with_little_room_is_a_warning_and_a_full_one_is_critical() {
        assert_eq!(found(Some((899, 1000))), []);
        assert_eq!(found(Some((900, 1000))), [Severity::Warning]);
        assert_eq!(found(Some((990, 1000))), [Severity::Critical]);
        assert_eq!(found(Some((u64::MAX, 1))), [Severity::Critical]);
    }

    #[test]
    fn where_nothing_is_tracked_nothing_is_full() {
        assert_eq!(found(None), []);
        assert_eq!(found(Some((0, 0))), []);
    }
}
