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

use self::movement::{Askers, Movement};
use super::{
    Shared,
    state::{Owner, State},
};
use crate::{
    model::{
        facts::{Balanced, CheckFacts, ContainerFacts, NodeFacts, OverlayFacts, Route, Unread},
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
    #[error("it has over {MOST_OF_CONTAINER} routes")]
    Routes,
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
            | Self::Routes
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
/// How many routes of a container are read. The engine makes one for each network.
const MOST_OF_CONTAINER: usize = 512;
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
    askers: Askers,
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
            askers: Askers::new(),
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
                if !places.containers.contains_key(id)
                    && let Some(dns) = namespace.sandbox().and_then(|sandbox| sandbox.dns.as_ref())
                {
                    places.askers.push((Arc::clone(id), Arc::clone(dns)));
                }
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
        askers,
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
        moved: movement.read(netns, &askers, Instant::now()),
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
    let neighbours = client.neighbour_entries()?;
    let routes = client.routes(MOST_ROUTES)?;
    // A node with more has a way out, and the kernel says which.
    let way_out = match &routes {
        Some(routes) => way_out(routes),
        None => Client::open()?.way_to(FAR_AWAY)?,
    };
    Ok(NodeFacts {
        devices: listed.is_whole.then_some(listed.devices).ok_or(NotRead::Restless)?,
        forwards_ipv4,
        forwards_ipv6,
        underlay,
        connections: settings::connections(),
        way_out,
        neighbours,
        encryptions: if encrypts {
            policies::outgoing().map_err(|error| Unread(error.to_string()))
        } else {
            Ok(Vec::new())
        },
        routes,
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

/// The device of the route to an address far away. The kernel would say it, too. But where there is no route, it frees the
/// packet that it made up for the question, and that looks like one that was dropped (`inet_rtm_getroute`).
fn way_out(routes: &[Route]) -> Option<u32> {
    let leading = routes.iter().filter(|route| route.subnet.contains(FAR_AWAY));
    // Of several, the kernel lists the one that it prefers first.
    let best = leading.rev().max_by_key(|route| route.subnet.prefix)?;
    Some(best.ifindex)
}

/// The devices of a container are known: netmon watches them. Only its routes are read.
fn read_container(thread: &mut NetnsThread, path: &Path, facts: ContainerFacts) -> Result<ContainerFacts, NotRead> {
    let _file = thread.enter(path)?;
    let routes = Client::open()?.routes(MOST_OF_CONTAINER)?.ok_or(NotRead::Routes)?;
    Ok(ContainerFacts {
        way_out: way_out(&routes),
        ..facts
    })
}

#[cfg(test)]
mod tests {
    use super::{Route, way_out};

    #[test]
    fn the_way_out_is_the_most_specific_route_and_the_first_of_equals() {
        let route = |subnet: &str, ifindex| Route {
            subnet: subnet.parse().expect("a subnet"),
            ifindex,
            is_link: false,
            is_main: true,
        };
        let of = |routes: &[(&str, u32)]| {
            let routes: Vec<_> = routes.iter().map(|(subnet, ifindex)| route(subnet, *ifindex)).collect();
            way_out(&routes)
        };
        assert_eq!(of(&[("10.0.0.0/8", 2)]), None);
        assert_eq!(of(&[("0.0.0.0/0", 2), ("0.0.0.0/0", 3), ("10.0.0.0/8", 4)]), Some(2));
        assert_eq!(of(&[("0.0.0.0/0", 2), ("128.0.0.0/1", 5)]), Some(5));
    }
}
