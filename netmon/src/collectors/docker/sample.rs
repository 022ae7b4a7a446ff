//! Containers, networks and an engine for the golden page.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    facts::{ContainerRow, ContainerState, Facts},
    families,
};
use crate::{
    collectors::sample::{identity, web},
    model::{
        health::DockerHealth,
        inventory::{Container, Identity, Network, Node, Sandbox},
    },
    page::rows::Rows,
};

/// A bit of everything.
pub(super) fn rows() -> Vec<Rows> {
    let web = web();
    let sidecar = identity("sidecar", "", "");
    let overlay = Network {
        id: "z1qkbaqjuhvnwcdzy1bnuvbnl".into(),
        name: "shop_front".to_owned(),
        driver: "overlay".to_owned(),
        scope: "swarm".to_owned(),
        attachable: true,
        encrypted: true,
        mtu: Some(1400),
        vnis: vec![4097, 4098],
        subnets: vec![
            "10.0.1.0/24".parse().expect("a subnet"),
            "fd00:1::/64".parse().expect("a subnet"),
        ],
        stack: "shop".to_owned(),
        ..Network::default()
    };
    let bridge = Network {
        id: "b".repeat(64).into(),
        name: "bridge".to_owned(),
        driver: "bridge".to_owned(),
        scope: "local".to_owned(),
        ..Network::default()
    };
    families::rows(&Facts {
        node: Some(Arc::new(Node {
            hostname: "node-1".to_owned(),
            node_id: "j1p9ftg5s8d1q1evs8tg3ucrd".to_owned(),
            address: Some([192, 0, 2, 11].into()),
            role: "manager".to_owned(),
            engine_version: "28.5.2".to_owned(),
            kernel_version: "6.12.48+deb13-amd64".to_owned(),
            ..Node::default()
        })),
        containers: vec![
            // The ended container had the same name as the running one.
            ContainerRow {
                container: container(&web, 'a', "default", Sandbox::Absent),
                state: ContainerState::Ended,
                shares_with: None,
            },
            ContainerRow {
                container: container(
                    &web,
                    'b',
                    "default",
                    Sandbox::Own("/var/run/docker/netns/1a2b3c4d5e6f".into()),
                ),
                state: ContainerState::Observed,
                shares_with: None,
            },
            ContainerRow {
                container: container(&sidecar, 'c', "container:bbbb", Sandbox::Shared("b".repeat(64).into())),
                state: ContainerState::Shared,
                shares_with: Some(web.container.clone()),
            },
        ],
        networks: vec![Arc::new(overlay), Arc::new(bridge)],
        engine: DockerHealth {
            up: true,
            last_sync: Some(1_795_000_000.25),
            events: BTreeMap::from([("container".to_owned(), 12), ("network".to_owned(), 0)]),
            reconnects: 1,
            decode_errors: 0,
        },
    })
}

fn container(identity: &Arc<Identity>, id: char, network_mode: &str, sandbox: Sandbox) -> Arc<Container> {
    let task = |text: &str| {
        if identity.service.is_empty() {
            String::new()
        } else {
            text.to_owned()
        }
    };
    Arc::new(Container {
        id: String::from(id).repeat(64).into(),
        identity: Arc::clone(identity),
        image: "registry.example/shop/web:1.4@sha256:0123".to_owned(),
        task_id: task("y6k0ncezn0bpeanuwnpc5x5p8"),
        task_slot: task("1"),
        network_mode: network_mode.to_owned(),
        sandbox,
        endpoints: Vec::new(),
        started: None,
        running: true,
    })
}
