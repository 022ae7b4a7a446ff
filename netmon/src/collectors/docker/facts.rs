//! Containers, and what netmon does with their interfaces. Pure.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use crate::{
    collectors::overlay::mtu,
    model::{
        health::DockerHealth,
        inventory::{Container, ContainerId, Inventory, Network, Node, Sandbox},
    },
    observe::state::{Owner, State},
};

/// A container, and what netmon does with its interfaces.
#[derive(Clone, Debug)]
pub struct ContainerRow {
    /// The container.
    pub container: Arc<Container>,
    /// What netmon does for it.
    pub state: ContainerState,
    /// The container whose interfaces it uses, by name; `None` if it uses its own.
    pub shares_with: Option<String>,
}

/// What netmon does for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerState {
    /// Its interfaces are counted.
    Observed,
    /// It runs, but its interfaces are not found yet, or its namespace cannot be entered.
    Pending,
    /// It uses another container's interfaces, which are counted for that container.
    Shared,
    /// It holds a namespace that another container had before it ended or started again.
    Orphaned,
    /// It uses the node's interfaces and has none of its own.
    Host,
    /// It has only loopback.
    Isolated,
    /// It ended a moment ago, and its last values linger.
    Ended,
}

impl ContainerState {
    /// Every state, in the order of the metrics.
    pub const ALL: [Self; 7] = [
        Self::Observed,
        Self::Pending,
        Self::Shared,
        Self::Orphaned,
        Self::Host,
        Self::Isolated,
        Self::Ended,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Pending => "pending",
            Self::Shared => "shared",
            Self::Orphaned => "orphaned",
            Self::Host => "host",
            Self::Isolated => "isolated",
            Self::Ended => "ended",
        }
    }
}

/// What the engine reports, and the engine itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The node; `None` before the engine's first answer.
    pub node: Option<Arc<Node>>,
    /// All containers, with what netmon does for each.
    pub containers: Vec<ContainerRow>,
    /// All networks.
    pub networks: Vec<Arc<Network>>,
    /// The connection to the engine.
    pub engine: DockerHealth,
}

/// How many containers may each share the next one's namespace before netmon stops following them.
const SHARING_DEPTH: usize = 8;

/// The facts of a scrape.
#[must_use]
pub fn of(state: &State, engine: &DockerHealth) -> Facts {
    let inventory = state.inventory();
    Facts {
        node: inventory.node.clone(),
        containers: rows(inventory, state, engine.up),
        networks: mtu::networks(state, &mtu::overlays(state)),
        engine: engine.clone(),
    }
}

/// Every container, and how netmon observes it. An engine that does not answer does not say that a container ended: then
/// the namespace says it, which the engine removes with the container.
fn rows(inventory: &Inventory, state: &State, engine_is_up: bool) -> Vec<ContainerRow> {
    let observed: HashSet<_> = state
        .interfaces()
        .filter_map(|interface| match interface.owner.as_ref()? {
            Owner::Container { id, .. } => Some(id),
            Owner::Overlay { .. } => None,
        })
        .collect();
    let row = |container: &Arc<Container>| {
        let (shares_with, is_orphaned) = sharer(container, &inventory.containers);
        let state = match &container.sandbox {
            _ if !container.running => ContainerState::Ended,
            Sandbox::Own(_) if observed.contains(&container.id) => ContainerState::Observed,
            Sandbox::Own(sandbox) if !engine_is_up && state.is_removed(sandbox) => ContainerState::Ended,
            Sandbox::Own(_) | Sandbox::Absent => ContainerState::Pending,
            Sandbox::Shared(_) if is_orphaned => ContainerState::Orphaned,
            Sandbox::Shared(_) => ContainerState::Shared,
            Sandbox::Host => ContainerState::Host,
            Sandbox::Isolated => ContainerState::Isolated,
        };
        ContainerRow {
            container: Arc::clone(container),
            state,
            shares_with,
        }
    };
    inventory.containers.values().map(row).collect()
}

/// The container at the end of a chain of `--network container:X`, and whether the namespace is no longer that one's. A
/// container that starts again gets a new namespace. Who shared the former one keeps it, with only loopback in it.
fn sharer(container: &Container, containers: &BTreeMap<ContainerId, Arc<Container>>) -> (Option<String>, bool) {
    let mut guest = container;
    let mut name = None;
    for _ in 0..SHARING_DEPTH {
        let Sandbox::Shared(id) = &guest.sandbox else { break };
        let Some(host) = containers.get(id) else {
            return (name, true);
        };
        name = Some(host.identity.container.clone());
        let has_started_again = guest
            .started
            .zip(host.started)
            .is_some_and(|(guest, host)| host > guest);
        if !host.running || has_started_again {
            return (name, true);
        }
        guest = host;
    }
    (name, false)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::Arc,
        time::{Duration, Instant, SystemTime},
    };

    use super::{Container, ContainerId, ContainerState, Sandbox, rows, sharer};
    use crate::{
        model::{
            inventory::{Identity, Inventory},
            netns::{Listing, NetnsFile, Role},
        },
        observe::state::{Scope, State},
    };

    #[test]
    fn a_container_that_is_gone_has_ended_though_a_silent_engine_does_not_say_so() {
        let now = Instant::now();
        let scope = Scope {
            containers: true,
            vxlan: true,
        };
        let mut state = State::new(scope, Duration::from_mins(1));
        let mut web = container("web", 10, None);
        web.sandbox = Sandbox::Own("/var/run/docker/netns/aaaaaaaaaaaa".into());
        let inventory = Arc::new(Inventory {
            containers: BTreeMap::from([(web.id.clone(), Arc::new(web))]),
            ..Inventory::default()
        });
        state.set_inventory(Arc::clone(&inventory));
        let shown = |state: &State, engine_is_up| rows(&inventory, state, engine_is_up)[0].state;
        assert_eq!(shown(&state, false), ContainerState::Pending, "it was never seen");
        let file = NetnsFile {
            path: "/netns/aaaaaaaaaaaa".into(),
            inode: 5,
            role: Role::Sandbox,
        };
        for files in [vec![file], Vec::new()] {
            let listing = Listing {
                files,
                ..Listing::default()
            };
            state.listed(listing, now);
            state.check_host(now);
        }
        assert_eq!(shown(&state, false), ContainerState::Ended);
        // An engine that answers is about to say so, and knows better.
        assert_eq!(shown(&state, true), ContainerState::Pending);
    }

    /// A container that started at this second, in another one's namespace or in its own.
    fn container(name: &str, started: u64, host: Option<&str>) -> Container {
        Container {
            id: name.into(),
            identity: Arc::new(Identity {
                container: name.to_owned(),
                ..Identity::default()
            }),
            sandbox: host.map_or(Sandbox::Isolated, |host| Sandbox::Shared(host.into())),
            started: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(started)),
            running: true,
            ..Container::default()
        }
    }

    fn found(guest: &Container, others: &[Container]) -> (Option<String>, bool) {
        let others = others
            .iter()
            .map(|it| (ContainerId::clone(&it.id), Arc::new(it.clone())));
        sharer(guest, &others.collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn who_holds_the_namespace_of_a_former_run_is_orphaned() {
        let vpn = Some("vpn".to_owned());
        let app = container("app", 20, Some("vpn"));
        assert_eq!(found(&app, &[container("vpn", 10, None)]), (vpn.clone(), false));
        // At the same moment, as far as the engine says.
        assert_eq!(found(&app, &[container("vpn", 20, None)]), (vpn.clone(), false));
        // Started again.
        assert_eq!(found(&app, &[container("vpn", 30, None)]), (vpn.clone(), true));
        let mut ended = container("vpn", 10, None);
        ended.running = false;
        assert_eq!(found(&app, &[ended]), (vpn.clone(), true));
        // Removed, and made anew under another id.
        assert_eq!(found(&app, &[container("other", 30, None)]), (None, true));
        let mut silent = container("vpn", 30, None);
        silent.started = None;
        assert_eq!(found(&app, &[silent]), (vpn, false));
    }

    #[test]
    fn a_chain_is_as_good_as_its_worst_link() {
        let chain = |first, second| {
            let (vpn, proxy) = (container("vpn", first, None), container("proxy", second, Some("vpn")));
            found(&container("app", 30, Some("proxy")), &[vpn, proxy])
        };
        assert_eq!(chain(10, 20), (Some("vpn".to_owned()), false));
        assert_eq!(chain(25, 20), (Some("vpn".to_owned()), true));
        assert_eq!(chain(10, 40), (Some("proxy".to_owned()), true));
        // Containers cannot share in a circle, but the engine may say so.
        let circle = [container("a", 1, Some("b")), container("b", 1, Some("a"))];
        assert!(!found(&circle[0], &circle).1);
    }
}
