//! Fuzz targets for the code that reads the engine's answers, events and address. See [`crate::fuzzing`].

use std::collections::BTreeMap;

use hyper::Uri;
use serde::de::DeserializeOwned;

use super::{
    client::describe,
    convert::{self, Change, EVENT_KINDS, LONGEST_TEXT, MOST_OF_A_NETWORK, VNI_LIMIT},
    host::EngineAddress,
    lines::{Line, Lines},
    wire::{self, List},
};
use crate::model::{
    inventory::{Endpoint, Sandbox},
    peers::Members,
};

/// An answer to any question.
pub(crate) fn answers(data: &[u8]) {
    let _: Option<wire::Version> = read(data);
    if let Some(info) = read::<wire::Info>(data) {
        let node = convert::node(&info);
        for text in [
            &node.hostname,
            &node.node_id,
            &node.engine_version,
            &node.kernel_version,
        ] {
            assert_short(text);
        }
    }
    if let Some(described) = read::<wire::Network>(data) {
        network(described);
    }
    if let Some(described) = read::<wire::Container>(data) {
        container(described);
    }
    if let Some(List { items, .. }) = read::<List<wire::Network>>(data) {
        items.into_iter().for_each(network);
    }
    if let Some(List { items, .. }) = read::<List<wire::Container>>(data) {
        items.into_iter().for_each(container);
    }
    if let Some(List { items, .. }) = read::<List<wire::Listed>>(data) {
        for listed in items.into_iter().filter_map(convert::listed) {
            assert_id(&listed.id);
        }
    }
    let _: Option<wire::End> = read(data);
    if let Some(List { items, .. }) = read::<List<wire::Ended>>(data) {
        items
            .iter()
            .filter_map(|it| convert::id(&it.id))
            .for_each(|id| assert_id(&id));
    }
    if let Some(List { items, .. }) = read::<List<wire::Summary>>(data) {
        for summary in items {
            endpoints(&convert::endpoints(summary.network_settings.as_ref()));
        }
    }
    let nodes = read::<List<wire::SwarmNode>>(data).map_or_else(Vec::new, |list| list.items);
    let nodes: Vec<_> = nodes.into_iter().filter_map(convert::swarm_node).collect();
    for node in &nodes {
        assert_id(&node.id);
        assert_short(&node.hostname);
        assert!(!node.address.is_some_and(|address| address.is_unspecified()));
    }
    let members = read::<wire::VerboseNetwork>(data).map(|described| convert::members(described).0);
    let members = members.unwrap_or_default();
    bounded(&members);
    let peers = convert::by_address(&nodes, &members.nodes);
    let mut names = BTreeMap::new();
    for peer in peers.values() {
        if let Some(name) = peer.name() {
            let before = names.insert(name, &peer.node_id);
            assert!(
                before.is_none_or(|id| *id == peer.node_id),
                "two nodes are called {name:?}"
            );
        }
    }
}

/// A stream of events that arrives in pieces. The first byte is the size of the pieces.
pub(crate) fn events(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else {
        return;
    };
    let (mut in_pieces, mut at_once) = (Vec::new(), Vec::new());
    let rests = [
        (usize::from(*size).max(1), &mut in_pieces),
        (stream.len().max(1), &mut at_once),
    ]
    .map(|(size, found)| {
        let mut lines = Lines::default();
        for piece in stream.chunks(size) {
            lines.push(piece);
            found.extend(std::iter::from_fn(|| lines.next()));
        }
        lines.has_rest()
    });
    assert_eq!(
        rests[0], rests[1],
        "a line's rest depends on the pieces that it came in"
    );
    assert_eq!(in_pieces, at_once, "lines depend on the pieces that they came in");
    for line in at_once {
        let Line::Whole(line) = line else { continue };
        assert!(!line.contains(&b'\n'));
        match serde_json::from_slice::<wire::Event>(&line) {
            Ok(event) => {
                let event = convert::event(&event);
                assert!(EVENT_KINDS.contains(&event.kind), "{} would be a label", event.kind);
                match event.change {
                    Change::Started(id)
                    | Change::Died(id)
                    | Change::Removed(id)
                    | Change::Altered(id)
                    | Change::Connected(id)
                    | Change::Disconnected(id) => assert_id(&id),
                    Change::Nothing | Change::Networks | Change::Node => {}
                }
            }
            Err(error) => {
                let message = describe(&error, &line);
                assert!(
                    !message.contains(char::is_control),
                    "{message:?} is more than a line of a log"
                );
                assert!(message.len() < 4096, "{message:?} is a lot for a log");
            }
        }
    }
}

/// The engine's address.
pub(crate) fn host(text: &str) {
    if let Ok(host) = EngineAddress::choose(Some(text), None) {
        let again = EngineAddress::choose(Some(host.as_str()), None);
        assert_eq!(again.as_ref(), Ok(&host), "{text:?} is not what it became");
    }
}

fn read<T: DeserializeOwned>(data: &[u8]) -> Option<T> {
    serde_json::from_slice(data).ok()
}

fn container(described: wire::Container) {
    let Some(described) = convert::container(described) else {
        return;
    };
    let mut container = described.container;
    assert_id(&container.id);
    for text in [
        &container.identity.container,
        &container.identity.service,
        &container.identity.stack,
        &container.image,
        &container.task_id,
        &container.task_slot,
        &container.network_mode,
    ] {
        assert_short(text);
    }
    match &container.sandbox {
        Sandbox::Own(path) => assert!(path.is_absolute(), "{} is somewhere", path.display()),
        Sandbox::Shared(other) => assert_id(other),
        Sandbox::Host | Sandbox::Isolated | Sandbox::Absent => {}
    }
    endpoints(&container.endpoints);
    let before = container.clone();
    convert::complete(&mut container, Vec::new());
    assert_eq!(container, before, "nothing seen is nothing known");
}

fn endpoints(endpoints: &[Endpoint]) {
    for endpoint in endpoints {
        assert_id(&endpoint.network);
        assert_short(&endpoint.network_name);
        assert!(endpoint.addresses.len() <= 2);
    }
}

fn network(described: wire::Network) {
    let Some(network) = convert::network(described) else {
        return;
    };
    assert_id(&network.id);
    for text in [&network.name, &network.driver, &network.scope, &network.stack] {
        assert_short(text);
    }
    assert_short(network.bridge.as_deref().unwrap_or_default());
    assert!(network.vnis.iter().all(|vni| *vni < VNI_LIMIT));
    assert_ne!(network.mtu, Some(0));
    for subnet in &network.subnets {
        assert!(
            subnet.contains(subnet.address),
            "{subnet} does not contain its own address"
        );
    }
}

fn bounded(members: &Members) {
    let Members {
        endpoints,
        virtual_ips,
        load_balancers,
        gateways,
        nodes,
        is_cut: _,
    } = members;
    assert!(endpoints.len() <= MOST_OF_A_NETWORK && virtual_ips.len() <= MOST_OF_A_NETWORK);
    assert!(nodes.len() <= MOST_OF_A_NETWORK && gateways.len() <= MOST_OF_A_NETWORK);
    for id in gateways.values() {
        assert_id(id);
    }
    for member in endpoints.values() {
        assert_short(&member.container);
        assert_short(&member.service);
    }
    for name in virtual_ips.keys().chain(load_balancers.values()) {
        assert_short(name);
    }
    for id in nodes.values() {
        assert_id(id);
    }
}

/// An id becomes part of a request's path. It must not change the path's target.
fn assert_id(id: &str) {
    let path = format!("/containers/{id}/json");
    let uri: Uri = path
        .parse()
        .unwrap_or_else(|error| panic!("{id:?} is not an id: {error}"));
    assert_eq!((uri.path(), uri.query()), (path.as_str(), None), "{id:?} is not an id");
    assert!(id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?} is not an id");
}

fn assert_short(text: &str) {
    assert!(text.len() <= LONGEST_TEXT, "{} bytes were kept of a text", text.len());
}
