//! One question to the engine, from the request to the answer in the model's types.

use std::{pin::pin, time::Duration};

use tokio::time::sleep;

use super::{
    client::{Client, RequestError},
    convert::{self, Described, SwarmNode},
    health::Health,
    question::{Answer, MembersAnswer, Networks, Outcome, Question},
    wire::{self, List},
};
use crate::model::inventory::{ContainerId, Endpoint, NetworkId, Node};

/// How long a container's description may take before the container's endpoints are looked up in a list. On an idle
/// node it takes a few milliseconds. A container with a single task may end within fifty.
const HELD_BACK: Duration = Duration::from_millis(10);
/// The longest pause between two lookups in a list. Each pause is twice as long as the one before.
const BETWEEN_LISTS: Duration = Duration::from_millis(100);

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

async fn containers(client: &Client, health: &Health) -> Result<Vec<ContainerId>, RequestError> {
    let list = client.get::<List<wire::Listed>>("/containers/json").await;
    let list = list.inspect_err(|error| {
        if let RequestError::Nonsense { .. } = error {
            health.nonsense("a list of containers", error);
        }
    })?;
    // Whether the list is complete does not matter: a container's absence from a list is not taken for its end.
    let (ids, _complete) = readable(list, |listed| convert::id(&listed.id), "a container in a list", health);
    Ok(ids)
}

async fn container(client: &Client, id: &ContainerId, health: &Health) -> Answer {
    let about = "a description of a container";
    let path = format!("/containers/{id}/json");
    let mut description = pin!(client.get::<wire::Container>(&path));
    // The engine holds the description back while it starts or ends the container. On a busy node it arrives when the
    // container has ended, and engines from 26 on have then forgotten its endpoints. The engine's lists do not wait.
    let mut look = pin!(look_up_endpoints(client, id));
    let mut endpoints = Vec::new();
    let description = loop {
        tokio::select! {
            biased;
            description = &mut description => break description,
            found = &mut look, if endpoints.is_empty() => endpoints = found,
        }
    };
    match description {
        Ok(description) => match convert::container(description) {
            Some(mut described) if described.container.id == *id => {
                convert::complete(&mut described.container, endpoints);
                Answer::Described(described)
            }
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

/// The endpoints of a container, as soon as a list has them.
async fn look_up_endpoints(client: &Client, id: &ContainerId) -> Vec<Endpoint> {
    let mut pause = HELD_BACK;
    loop {
        sleep(pause).await;
        let endpoints = listed_endpoints(client, id).await;
        if !endpoints.is_empty() {
            return endpoints;
        }
        pause = (pause * 2).min(BETWEEN_LISTS);
    }
}

/// The endpoints of a container from a list. Empty if the list has none yet, or no longer. Errors are ignored: the
/// question for the description reports them.
async fn listed_endpoints(client: &Client, id: &ContainerId) -> Vec<Endpoint> {
    // `{"id":["..."]}`. The id needs no escaping.
    let path = format!("/containers/json?all=1&filters=%7B%22id%22%3A%5B%22{id}%22%5D%7D");
    let list = client.get::<List<wire::Summary>>(&path).await;
    let Ok(List { items, .. }) = list else {
        return Vec::new();
    };
    items
        .into_iter()
        .filter(|summary| summary.id == **id)
        .flat_map(|summary| convert::endpoints(summary.network_settings.as_ref()))
        .filter(Endpoint::is_located)
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
