//! One scrape, from the kernel to the page: the file to read first.
//!
//! Every device is read now ([`crate::observe::read`]), joined with what the engine said last ([`crate::observe::state`]), and laid out
//! as a [`Snapshot`], of which the metrics make a page. Nothing is carried over to the next scrape but the ledgers, which
//! keep the totals of devices that are gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use tracing::warn;

use crate::{
    datapath::traffic::TrafficMap,
    model::{
        counters::{Directions, Totals},
        interface::Device,
        inventory::{Container, ContainerId, Inventory, Sandbox},
        snapshot::{
            AttachHealth, CollectorRow, ContainerRow, ContainerState, DockerHealth, Health, InterfaceRow, MapRow,
            ProgramRow, ServiceRow, Snapshot, VxlanRow,
        },
    },
    observe::{
        Shared,
        read::read_all,
        state::{Owner, State},
    },
};

/// How many containers may each share the next one's namespace before we stop following.
const SHARING_DEPTH: usize = 8;

/// The part of the data path that a scrape looks at.
#[derive(Debug)]
pub struct Counting {
    /// The counters.
    pub traffic: Arc<TrafficMap>,
    /// The programs that write them.
    pub programs: Vec<ProgramRow>,
}

/// What a scrape is made from.
#[derive(Debug)]
pub struct Sources {
    /// What is watched.
    pub shared: Shared,
    /// The data path; nothing where the host has none, or it was switched off.
    pub counting: Option<Counting>,
    /// Programs were wanted.
    pub counting_wanted: bool,
}

impl Sources {
    /// Takes a snapshot: reads every device, and writes down what there is. Blocks for as long as the kernel takes to
    /// answer, some ten microseconds for each namespace.
    #[must_use]
    pub fn snapshot(&self, docker: DockerHealth) -> Snapshot {
        let begin = Instant::now();
        let mut state = self.shared.lock();
        let read = read_all(&mut state);
        if let Err(error) = &read {
            warn!(%error, "the devices were not read; the last reading stands");
        }
        let device = CollectorRow {
            collector: "device",
            duration: begin.elapsed(),
            success: read.is_ok(),
        };

        let begin = Instant::now();
        let inventory = Arc::clone(state.inventory());
        let (interfaces, vxlans) = rows(&state);
        let services = services(&state);
        let containers = containers(&inventory, &state);
        let attach = state.attach_health().clone();
        drop(state);
        let mut collectors = vec![device];
        if self.counting_wanted {
            let success = self.counting.is_some();
            collectors.push(CollectorRow {
                collector: "traffic",
                duration: begin.elapsed(),
                success,
            });
        }
        let health = self.health(docker, attach, collectors);
        let (node, networks) = (
            inventory.node.clone(),
            inventory.networks.values().map(Arc::clone).collect(),
        );
        Snapshot {
            node,
            containers,
            interfaces,
            services,
            vxlans,
            networks,
            health,
        }
    }

    /// How many interfaces wait for programs that they can still get.
    #[must_use]
    pub fn waiting(&self) -> usize {
        if self.counting.is_some() {
            self.shared.lock().waiting(Instant::now())
        } else {
            0
        }
    }

    fn health(&self, docker: DockerHealth, attach: AttachHealth, collectors: Vec<CollectorRow>) -> Health {
        let (programs, maps): (Vec<ProgramRow>, Vec<MapRow>) = match &self.counting {
            Some(Counting { traffic, programs }) => (programs.clone(), vec![traffic.row()]),
            None => (Vec::new(), Vec::new()),
        };
        Health {
            docker,
            attach,
            programs,
            maps,
            collectors,
            process: None,
        }
    }
}

/// Every interface that has a name to go by: those that are there, then those that are gone, the latest first. Of two
/// with the same labels the first stands: a new container takes the place of a lingering one of the same name.
fn rows(state: &State) -> (Vec<InterfaceRow>, Vec<VxlanRow>) {
    let living = state
        .interfaces()
        .map(|interface| (interface.owner.as_ref(), &interface.device, interface.ledger.totals()));
    let lingering = state
        .ended()
        .map(|ended| (ended.owner.as_ref(), &ended.device, ended.totals));
    let mut taken = BTreeSet::new();
    let (mut interfaces, mut vxlans) = (Vec::new(), Vec::new());
    for (owner, device, totals) in living.chain(lingering) {
        let Some(owner) = owner else { continue };
        let container = match owner {
            Owner::Container { identity, .. } => identity.container.as_str(),
            Owner::Overlay { .. } => "",
        };
        let (Owner::Container { network, .. } | Owner::Overlay { network }) = owner;
        if taken.insert((container, network.as_ref(), device.name.as_str())) {
            lay_out(owner, device, totals, &mut interfaces, &mut vxlans);
        }
    }
    (interfaces, vxlans)
}

fn lay_out(
    owner: &Owner,
    device: &Arc<Device>,
    totals: Directions<Totals>,
    interfaces: &mut Vec<InterfaceRow>,
    vxlans: &mut Vec<VxlanRow>,
) {
    let device = Arc::clone(device);
    match owner {
        Owner::Container { identity, network, .. } => {
            let (identity, network) = (Arc::clone(identity), Arc::clone(network));
            interfaces.push(InterfaceRow {
                identity,
                network,
                device,
                totals,
            });
        }
        Owner::Overlay { network } => vxlans.push(VxlanRow {
            network: Arc::clone(network),
            device,
            totals,
        }),
    }
}

fn services(state: &State) -> Vec<ServiceRow> {
    state
        .services()
        .into_iter()
        .map(|(key, totals)| ServiceRow {
            service: key.service,
            stack: key.stack,
            network: key.network,
            totals,
        })
        .collect()
}

/// Every container, with what netmon does for it.
fn containers(inventory: &Inventory, state: &State) -> Vec<ContainerRow> {
    let observed: BTreeSet<_> = state
        .interfaces()
        .filter_map(|interface| match interface.owner.as_ref()? {
            Owner::Container { id, .. } => Some(Arc::clone(id)),
            Owner::Overlay { .. } => None,
        })
        .collect();
    let row = |container: &Arc<Container>| {
        let state = match &container.sandbox {
            _ if !container.running => ContainerState::Ended,
            Sandbox::Own(_) if observed.contains(&container.id) => ContainerState::Observed,
            Sandbox::Own(_) | Sandbox::Absent => ContainerState::Pending,
            Sandbox::Shared(_) => ContainerState::Shared,
            Sandbox::Host => ContainerState::Host,
            Sandbox::Isolated => ContainerState::Isolated,
        };
        let shares_with = sharer(&container.sandbox, &inventory.containers);
        ContainerRow {
            container: Arc::clone(container),
            state,
            shares_with,
        }
    };
    inventory.containers.values().map(row).collect()
}

/// The container at the end of a chain of `--network container:X`.
fn sharer(sandbox: &Sandbox, containers: &BTreeMap<ContainerId, Arc<Container>>) -> Option<String> {
    let mut sandbox = sandbox;
    let mut name = None;
    for _ in 0..SHARING_DEPTH {
        let Sandbox::Shared(id) = sandbox else { break };
        let container = containers.get(id)?;
        name = Some(container.identity.container.clone());
        sandbox = &container.sandbox;
    }
    name
}
