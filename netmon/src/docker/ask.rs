//! One question to the engine, from the request to the answer in the model's types.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    client::{Client, RequestError, filters},
    convert::{self, Described, Listed, SwarmNode},
    health::Health,
    question::{Answer, MembersAnswer, Networks, Outcome, Question},
    wire::{self, List},
};
use crate::model::inventory::{ContainerId, Endpoint, NetworkId, Node};

pub(super) async fn ask(client: &Client, question: Question, health: &Health) -> Outcome {
    match question {
        Question::Node => Outcome::Node(node(client, health).await),
        Question::Networks => Outcome::Networks(networks(client, health).await),
        Question::Containers => Outcome::Containers(containers(client, health).await),
        Question::Nodes => Outcome::Nodes(nodes(client, health).await),
        Question::Members(network) => {
            let answer = members(client, &network, health).await;
            Outcome::Members(network, answer)
        }
        Question::Endpoints(ids) => Outcome::Endpoints(endpoints(client, &ids).await),
        Question::Container(id) => {
            let answer = container(client, &id, health).await;
            Outcome::Container(id, answer)
        }
    }
}

async fn node(client: &Client, health: &Health) -> Option<Node> {
    let info = client.get::<wire::Info>("/info").await;
    let info = info
        .inspect_err(|error| health.failed("the description of the node", error))
        .ok()?;
    Some(convert::node(&info))
}

async fn networks(client: &Client, health: &Health) -> Option<Networks> {
    let list = client.get::<List<wire::Network>>("/networks").await;
    let list = list
        .inspect_err(|error| health.failed("the list of networks", error))
        .ok()?;
    let (networks, complete) = readable(list, convert::network, "a network in a list", health);
    Some(Networks { networks, complete })
}

async fn nodes(client: &Client, health: &Health) -> Option<Vec<SwarmNode>> {
    let list = client.get::<List<wire::SwarmNode>>("/nodes").await;
    let list = list
        .inspect_err(|error| health.failed("the list of the Swarm's nodes", error))
        .ok()?;
    let (nodes, _complete) = readable(list, convert::swarm_node, "a node in a list", health);
    Some(nodes)
}

async fn members(client: &Client, network: &NetworkId, health: &Health) -> MembersAnswer {
    let about = "a description of who is on a network";
    let path = format!("/networks/{network}?verbose=true");
    match client.get::<wire::VerboseNetwork>(&path).await {
        Ok(described) if described.id == **network => {
            let (members, nonsense) = convert::members(described);
            for reason in &nonsense {
                health.nonsense("a container on another node", reason);
            }
            MembersAnswer::Members(members)
        }
        Ok(described) => {
            health.nonsense(
                about,
                &format_args!("asked for {network} it describes {}", described.id),
            );
            MembersAnswer::Nothing
        }
        // This node's last container has just left the network.
        Err(RequestError::Refused { status: 404, .. }) => MembersAnswer::NotHere,
        Err(error) => {
            health.failed(about, &error);
            MembersAnswer::Nothing
        }
    }
}

async fn containers(client: &Client, health: &Health) -> Result<Vec<Listed>, RequestError> {
    let list = client.get::<List<wire::Listed>>("/containers/json").await;
    let list = list.inspect_err(|error| {
        if let RequestError::Nonsense { .. } = error {
            health.nonsense("a list of containers", error);
        }
    })?;
    // Whether the list is complete does not matter: a container's absence from a list is not taken for its end.
    let (listed, _complete) = readable(list, convert::listed, "a container in a list", health);
    Ok(listed)
}

async fn container(client: &Client, id: &ContainerId, health: &Health) -> Answer {
    let about = "a description of a container";
    let path = format!("/containers/{id}/json");
    match client.get::<wire::Container>(&path).await {
        Ok(description) => match convert::container(description) {
            Some(described) if described.container.id == *id => Answer::Described(Box::new(described)),
            Some(Described { container, .. }) => {
                health.nonsense(about, &format_args!("asked for {id} it describes {}", container.id));
                Answer::Nothing
            }
            None => {
                health.nonsense(about, &format_args!("asked for {id} it has no id"));
                Answer::Nothing
            }
        },
        Err(RequestError::Refused { status: 404, .. }) => Answer::NotFound,
        Err(error) => {
            health.failed(about, &error);
            Answer::Nothing
        }
    }
}

/// The endpoints of containers from a list. Without those that the list has not yet, or no longer. Errors are ignored:
/// the questions for the descriptions report them.
async fn endpoints(client: &Client, ids: &BTreeSet<ContainerId>) -> BTreeMap<ContainerId, Vec<Endpoint>> {
    let wanted: Vec<_> = ids.iter().collect();
    let path = format!("/containers/json?all=1&filters={}", filters(&[("id", &wanted[..])]));
    let list = client.get::<List<wire::Summary>>(&path).await;
    let Ok(List { items, .. }) = list else {
        return BTreeMap::new();
    };
    items
        .into_iter()
        .filter_map(|summary| {
            let id = ids.get(summary.id.as_str())?;
            let endpoints = convert::endpoints(summary.network_settings.as_ref());
            let located: Vec<_> = endpoints.into_iter().filter(Endpoint::is_located).collect();
            (!located.is_empty()).then(|| (ContainerId::clone(id), located))
        })
        .collect()
}

/// The elements of a list that could be converted, and whether those are all.
fn readable<T, U>(
    list: List<T>,
    convert: impl Fn(T) -> Option<U>,
    about: &'static str,
    health: &Health,
) -> (Vec<U>, bool) {
    let List { items, mut skipped } = list;
    let mut readable = Vec::with_capacity(items.len());
    for item in items {
        match convert(item) {
            Some(item) => readable.push(item),
            None => skipped.push("it has no id".to_owned()),
        }
    }
    for reason in &skipped {
        health.nonsense(about, reason);
    }
    (readable, skipped.is_empty())
}
