//! Reads what the checks look at: the engine's last word, and what the kernel has in the namespaces of the node, of its
//! overlay networks and of its containers. Must not know what is a fault.

pub mod movement;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use self::movement::Movement;
use super::{
    Shared,
    state::{Owner, State},
};
use crate::{
    model::{
        facts::{Balanced, CheckFacts, ContainerFacts, NodeFacts, OverlayFacts, Unread},
        health::DockerHealth,
        inventory::ContainerId,
        netns::Role,
        place::Place,
    },
    netns::{
        enter::{EnterError, NetnsThread, on_netns_thread},
        ipvs,
        rtnetlink::{Client, NetlinkError},
        settings,
        xfrm::policies,
    },
};

/// Why a namespace was not read.
#[derive(Debug, thiserror::Error)]
enum NotRead {
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("cannot read the load balancer: {0}")]
    Balancer(io::Error),
    #[error("the devices change too fast to be listed")]
    Restless,
}

impl NotRead {
    /// Whether the namespace was removed since it was listed.
    fn is_gone(&self) -> bool {
        match self {
            Self::Enter(EnterError::Open { source, .. }) => source.kind() == io::ErrorKind::NotFound,
            Self::Enter(EnterError::NoNamespace { .. }) => true,
            Self::Enter(EnterError::Refused { .. } | EnterError::Thread(_))
            | Self::Netlink(_)
            | Self::Balancer(_)
            | Self::Restless => false,
        }
    }
}

impl From<NotRead> for Unread {
    fn from(error: NotRead) -> Self {
        Self(error.to_string())
    }
}

/// How many routes of a node are read. A router between networks has far more, and comparing them would take long.
const MOST_ROUTES: usize = 2_048;
/// An address outside of every network here (TEST-NET-1 of RFC 5737): the way to it is the way to the internet.
const FAR_AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// What is read where.
struct Places {
    node: Option<PathBuf>,
    underlay: BTreeSet<u32>,
    /// A network here is to be encrypted.
    encrypts: bool,
    overlays: BTreeMap<Arc<str>, PathBuf>,
    balancers: BTreeMap<Arc<str>, PathBuf>,
    containers: BTreeMap<ContainerId, (PathBuf, ContainerFacts)>,
}

impl Places {
    fn of(state: &State) -> Self {
        let mut places = Self {
            node: state.node().map(|(_, node)| node.file.path.clone()),
            underlay: state.underlay.clone(),
            encrypts: state
                .inventory()
                .networks
                .values()
                .any(|network| network.encrypted && network.driver == "overlay"),
            overlays: BTreeMap::new(),
            balancers: BTreeMap::new(),
            containers: BTreeMap::new(),
        };
        for (netns, namespace) in state.namespaces() {
            let path = &namespace.file.path;
            match (&namespace.place, &namespace.file.role) {
                (Some(Place::Overlay { network }), Role::Overlay { .. }) => {
                    places.overlays.insert(Arc::clone(network), path.clone());
                }
                (Some(Place::LoadBalancer { network }), Role::LoadBalancer { .. } | Role::Ingress) => {
                    places.balancers.insert(Arc::clone(network), path.clone());
                }
                _ => {}
            }
            for interface in state.interfaces_in(*netns) {
                let Some(Owner::Container {
                    id,
                    network,
                    started: true,
                    ..
                }) = &interface.owner
                else {
                    continue;
                };
                let place = places.containers.entry(Arc::clone(id));
                let (_, facts) = place.or_insert_with(|| (path.clone(), ContainerFacts::default()));
                if !network.is_empty() {
                    facts.devices.push((Arc::clone(&interface.device), Arc::clone(network)));
                }
            }
        }
        places
    }
}

/// Reads everything. A namespace that cannot be read is missing in the facts, with the reason.
#[must_use]
pub fn read(shared: &Shared, engine: &DockerHealth, movement: &mut Movement) -> CheckFacts {
    let (inventory, places, netns, unseen) = {
        let state = shared.lock();
        let unseen = state.misfit().map(|misfit| misfit.to_string());
        let netns = state.node().map(|(netns, _)| netns);
        (Arc::clone(state.inventory()), Places::of(&state), netns, unseen)
    };
    let engine = match engine {
        DockerHealth { last_sync: None, .. } => Err("the engine has not answered yet"),
        DockerHealth { up: false, .. } => Err("the engine does not answer"),
        DockerHealth { .. } if inventory.node.is_none() => Err("the engine has not described the node yet"),
        DockerHealth { .. } => Ok(inventory),
    };
    let Places {
        node,
        underlay,
        encrypts,
        overlays,
        balancers,
        containers,
    } = places;
    let read = on_netns_thread(|thread| {
        let node = node.ok_or_else(|| Unread("no namespace is the node's".to_owned()));
        let node = node.and_then(|path| Ok(read_node(thread, &path, underlay, encrypts)?));
        let overlays = overlays
            .into_iter()
            .filter_map(|(network, path)| unless_gone(network, read_overlay(thread, &path)));
        let overlays = overlays.collect();
        let balancers = balancers
            .into_iter()
            .filter_map(|(network, path)| unless_gone(network, read_balancer(thread, &path)));
        let balancers = balancers.collect();
        let containers = containers
            .into_iter()
            .filter_map(|(id, (path, facts))| unless_gone(id, read_container(thread, &path, facts)));
        (node, overlays, balancers, containers.collect())
    });
    let (node, overlays, balancers, containers) = read.unwrap_or_else(|error| {
        let node = Err(Unread(error.to_string()));
        (node, BTreeMap::new(), BTreeMap::new(), BTreeMap::new())
    });
    CheckFacts {
        engine: engine.map_err(|reason| Unread(reason.to_owned())),
        node,
        overlays,
        balancers,
        containers,
        moved: movement.read(netns, Instant::now()),
        unseen,
    }
}

/// A namespace that was removed meanwhile is none that could not be read.
fn unless_gone<K, T>(key: K, read: Result<T, NotRead>) -> Option<(K, Result<T, Unread>)> {
    (!read.as_ref().is_err_and(NotRead::is_gone)).then(|| (key, read.map_err(Unread::from)))
}

fn read_node(
    thread: &mut NetnsThread,
    path: &Path,
    underlay: BTreeSet<u32>,
    encrypts: bool,
) -> Result<NodeFacts, NotRead> {
    let _file = thread.enter(path)?;
    let mut client = Client::open()?;
    let listed = client.devices()?;
    let [forwards_ipv4, forwards_ipv6] = settings::forwards();
    Ok(NodeFacts {
        devices: listed.is_whole.then_some(listed.devices).ok_or(NotRead::Restless)?,
        forwards_ipv4,
        forwards_ipv6,
        way_out: client.way_to(FAR_AWAY)?,
        underlay,
        connections: settings::connections(),
        neighbours: client.neighbour_entries()?,
        encryptions: if encrypts {
            policies::outgoing().map_err(|error| Unread(error.to_string()))
        } else {
            Ok(Vec::new())
        },
        routes: client.routes(MOST_ROUTES)?,
    })
}

fn read_overlay(thread: &mut NetnsThread, path: &Path) -> Result<OverlayFacts, NotRead> {
    let _file = thread.enter(path)?;
    let mut client = Client::open()?;
    let listed = client.devices()?;
    Ok(OverlayFacts {
        devices: listed.is_whole.then_some(listed.devices).ok_or(NotRead::Restless)?,
        forwarding: client.forwarding()?,
        neighbours: client.neighbour_entries()?,
    })
}

fn read_balancer(thread: &mut NetnsThread, path: &Path) -> Result<Option<Vec<Balanced>>, NotRead> {
    let _file = thread.enter(path)?;
    ipvs::balanced().map_err(NotRead::Balancer)
}

/// The devices of a container are known: netmon watches them. Only the way out is asked for.
fn read_container(thread: &mut NetnsThread, path: &Path, facts: ContainerFacts) -> Result<ContainerFacts, NotRead> {
    let _file = thread.enter(path)?;
    Ok(ContainerFacts {
        way_out: Client::open()?.way_to(FAR_AWAY)?,
        ..facts
    })
}
