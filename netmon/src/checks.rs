//! Checks: each is one file here, and one line in the table [`ALL`].
//!
//! A check compares what the engine says with what the kernel has, and returns what is wrong as findings. It is a pure
//! function of [`CheckFacts`]: it reads nothing, waits for nothing, and must not panic on any facts. Where facts are missing
//! it says that it could not look. Owns the table, and what becomes of the findings ([`register`]). Must not know how
//! facts are read, nor how findings are shown.

mod address_space;
mod aliases;
mod balancers;
mod bridges;
mod cleartext;
mod conntrack;
mod default_routes;
mod duplicates;
mod encryption;
mod forwarding;
mod mtu;
mod neighbours;
mod node_address;
mod node_drops;
mod orphans;
#[cfg(test)]
mod properties;
pub mod register;
mod resolver;
#[cfg(test)]
mod samples;
mod sight;
mod subnets;
mod tables;
#[cfg(test)]
mod tests;
mod vxlan_devices;

use std::{
    collections::BTreeSet,
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::model::{
    facts::{CheckFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    inventory::{Container, Inventory, Network},
    peers::Members,
};

/// Every check, in the order of the documentation.
pub const ALL: &[CheckDefinition] = &[
    forwarding::DEFINITION,
    node_drops::DEFINITION,
    conntrack::DEFINITION,
    bridges::DEFINITION,
    default_routes::DEFINITION,
    orphans::DEFINITION,
    node_address::DEFINITION,
    vxlan_devices::DEFINITION,
    tables::DEFINITION,
    balancers::DEFINITION,
    encryption::DEFINITION,
    cleartext::DEFINITION,
    neighbours::DEFINITION,
    duplicates::DEFINITION,
    aliases::DEFINITION,
    resolver::DEFINITION,
    subnets::DEFINITION,
    address_space::DEFINITION,
    mtu::DEFINITION,
    sight::DEFINITION,
];

/// How many findings of one check are listed. A fault of a whole network has hundreds of subjects.
pub const MOST_OF_CHECK: usize = 20;

/// A check.
#[derive(Clone, Copy, Debug)]
pub struct CheckDefinition {
    /// Its name. It is the value of the label `check`.
    pub name: Check,
    /// What it finds, in a few words.
    pub finds: &'static str,
    /// What it compares.
    pub compares: &'static str,
    /// What it cannot see.
    pub blind_spots: &'static str,
    /// What usually causes its findings, and how to mend them. For the runbook.
    pub causes: &'static str,
    /// How long a fault has to be seen before it is a finding. What comes and goes with every container needs a while.
    pub patience: Duration,
    /// It rests on the members of networks by gossip, which are asked for once a minute, and more often while it finds
    /// something.
    pub rests_on_members: bool,
    /// The check.
    pub look: fn(&CheckFacts) -> Result<Vec<Finding>, Unread>,
}

/// What a check found in one look.
#[derive(Debug)]
pub struct Looked {
    /// The check.
    pub definition: &'static CheckDefinition,
    /// The faults; an error if it could not look.
    pub outcome: Result<Vec<Finding>, Unread>,
    /// How long it took.
    pub spent: Duration,
}

/// Makes every check.
#[must_use]
pub fn look(facts: &CheckFacts) -> Vec<Looked> {
    let checks = ALL.iter().map(|definition| {
        let begin = Instant::now();
        let outcome = (definition.look)(facts);
        Looked {
            definition,
            outcome,
            spent: begin.elapsed(),
        }
    });
    checks.collect()
}

/// A finding of a check.
fn finding(check: Check, severity: Severity, subject: Subject, evidence: String, remedy: String) -> Finding {
    Finding {
        check,
        severity,
        subject,
        evidence,
        remedy,
        witnesses: BTreeSet::new(),
    }
}

/// The first of some things, by name.
fn named<T: fmt::Display>(things: impl IntoIterator<Item = T>) -> String {
    const NAMED: usize = 4;
    let mut things = things.into_iter();
    let mut text: Vec<_> = things.by_ref().take(NAMED).map(|thing| thing.to_string()).collect();
    if things.next().is_some() {
        text.push("...".to_owned());
    }
    text.join(", ")
}

/// The overlay network of a name, with its members by gossip. `None` if there is none, if nobody asks for its members, or if
/// there are too many: a part of them says nothing of who is none.
fn overlay_members<'i>(inventory: &'i Inventory, name: &str) -> Result<Option<(&'i Network, &'i Members)>, Unread> {
    let mut networks = inventory.networks.values();
    let Some(network) = networks.find(|it| it.driver == "overlay" && it.name == name) else {
        return Ok(None);
    };
    let members = members(inventory, network)?.filter(|members| !members.is_cut);
    Ok(members.map(|members| (&**network, members)))
}

/// A network's members by gossip. `None` if nobody asks for them: no container here is on it.
fn members<'i>(inventory: &'i Inventory, network: &Network) -> Result<Option<&'i Members>, Unread> {
    let members = inventory.members.get(&network.id);
    if let Some(Some(members)) = members {
        return Ok(Some(members));
    }
    let mut running = inventory.containers.values().filter(|container| container.running);
    let mut is_joined = || running.any(|it| it.endpoints.iter().any(|endpoint| endpoint.network == network.id));
    if members.is_some() || is_joined() {
        return Err(Unread(format!(
            "the engine has not said who is on network {}",
            network.name
        )));
    }
    Ok(None)
}

/// A node's name; its address where that is not known.
fn peer(inventory: &Inventory, node: IpAddr) -> Arc<str> {
    let known = inventory.peers.nodes.get(&node).and_then(|peer| peer.name());
    known.map_or_else(|| node.to_string().into(), Arc::clone)
}

/// The command that starts a container anew. One of a task is replaced by its service.
fn restart(container: &Container) -> String {
    if container.task_id.is_empty() {
        format!("docker restart {}", container.identity.container)
    } else {
        format!("docker service update --force {}", container.identity.service)
    }
}

/// A number of things, in words.
fn number(count: usize, one: &str, several: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {several}")
    }
}
