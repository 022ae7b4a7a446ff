//! Finds the owner of an interface: joins the engine's inventory with the namespace and the device.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use super::{Ended, Interface, Namespace, State, range};
use crate::{
    model::{
        interface::{Device, InterfaceId, NetnsId},
        inventory::{Container, ContainerId, Identity, Inventory, Sandbox},
        netns::{NetnsFile, Role},
        place::Place,
    },
    network,
};

/// The owner of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A container.
    Container {
        /// The container.
        id: ContainerId,
        /// Its name, service and stack.
        identity: Arc<Identity>,
        /// The network it is on. Empty for a device that belongs to none of the container's networks.
        network: Arc<str>,
        /// Its start is over, and its process runs.
        started: bool,
    },
    /// An overlay network: the device is its tunnel to the other nodes.
    Overlay {
        /// The network.
        network: Arc<str>,
    },
}

impl Owner {
    /// Whether it is a container's and belongs to no network of the engine: the container created it itself.
    pub(super) fn is_own_device(&self) -> bool {
        matches!(self, Self::Container { network, .. } if network.is_empty())
    }
}

/// Which device of a container is on which network.
///
/// The engine gives a container one device on each network. Several devices may have the address that the engine
/// assigned. One of them is on the network. The container created the others, and they must not count for the
/// network. The one that was found first is on the network; of several new ones, the one with the lowest ifindex.
#[derive(Default)]
pub(super) struct Claims(BTreeMap<(NetnsId, Arc<str>), u32>);

impl Claims {
    /// A device that was found to be on a network stays on it.
    pub(super) fn keep(&mut self, id: InterfaceId, owner: Option<&Owner>) {
        if let Some(Owner::Container { network, .. }) = owner
            && !network.is_empty()
        {
            self.0.entry((id.netns, Arc::clone(network))).or_insert(id.ifindex);
        }
    }

    /// The owner of a device by these claims.
    pub(super) fn settle(&mut self, id: InterfaceId, mut owner: Owner) -> Owner {
        self.keep(id, Some(&owner));
        if let Owner::Container { network, .. } = &mut owner
            && self
                .0
                .get(&(id.netns, Arc::clone(network)))
                .is_some_and(|it| *it != id.ifindex)
        {
            *network = Arc::from("");
        }
        owner
    }
}

/// Which container each namespace file belongs to.
#[derive(Debug, Default)]
pub(super) struct Sandboxes {
    inventory: Arc<Inventory>,
    by_name: HashMap<Box<str>, Arc<Container>>,
}

impl Sandboxes {
    pub(super) fn new(inventory: Arc<Inventory>) -> Self {
        // The engine's path and netmon's differ where the directory is mounted elsewhere (/run, /host/run). Both
        // agree on the file's name.
        let by_name = inventory
            .containers
            .values()
            .filter_map(|container| match &container.sandbox {
                Sandbox::Own(path) => Some((file_name(path)?.into(), Arc::clone(container))),
                Sandbox::Shared(_) | Sandbox::Host | Sandbox::Isolated | Sandbox::Absent => None,
            })
            .collect();
        Self { inventory, by_name }
    }

    /// The owner of a device, given the owner known before. A device cannot change its network, so a network once
    /// found stays.
    pub(super) fn owner(&self, file: &NetnsFile, device: &Device, before: Option<&Owner>) -> Option<Owner> {
        match &file.role {
            Role::Overlay { network } => {
                network::network_of_namespace(network, &self.inventory).map(|network| Owner::Overlay { network })
            }
            Role::Sandbox => {
                let container = self.by_name.get(file_name(&file.path)?)?;
                let network = match before {
                    Some(Owner::Container { id, network, .. }) if *id == container.id && !network.is_empty() => {
                        Arc::clone(network)
                    }
                    _ => network::network_of(device, container, &self.inventory).unwrap_or_default(),
                };
                let (id, identity) = (Arc::clone(&container.id), Arc::clone(&container.identity));
                Some(Owner::Container {
                    id,
                    identity,
                    network,
                    started: container.running,
                })
            }
            Role::Node | Role::Ingress | Role::LoadBalancer { .. } => None,
        }
    }

    /// The owner of a namespace.
    pub(super) fn place(&self, file: &NetnsFile) -> Option<Place> {
        match &file.role {
            Role::Overlay { network } => {
                network::network_of_namespace(network, &self.inventory).map(|network| Place::Overlay { network })
            }
            Role::LoadBalancer { network } => {
                network::network_of_namespace(network, &self.inventory).map(|network| Place::LoadBalancer { network })
            }
            Role::Ingress => network::routing_mesh(&self.inventory).map(|network| Place::LoadBalancer { network }),
            Role::Node => Some(Place::Node),
            Role::Sandbox => {
                let container = self.by_name.get(file_name(&file.path)?)?;
                Some(Place::Container {
                    identity: Arc::clone(&container.identity),
                })
            }
        }
    }

    /// The owner of an ended device whose namespace belongs to no container. The container ended before the engine
    /// reported its namespace, and is found by hardware address or address. A container that has a device on that
    /// network already (`claimed`) does not match, because addresses are reused. If several containers match, the
    /// device stays unattributed.
    ///
    /// Never called for a device that exists. Its owner may become known soon, and until then another container's
    /// figures would be wrong.
    pub(super) fn former_owner(
        &self,
        file: &NetnsFile,
        device: &Device,
        claimed: impl Fn(&ContainerId, &str) -> bool,
    ) -> Option<Owner> {
        if file.role != Role::Sandbox {
            return None;
        }
        let mut owners = self
            .inventory
            .containers
            .values()
            .filter(|container| container.sandbox == Sandbox::Absent && !container.running)
            .filter_map(|container| {
                let network = network::network_by_address(device, container, &self.inventory)?;
                (!claimed(&container.id, &network)).then(|| Owner::Container {
                    id: Arc::clone(&container.id),
                    identity: Arc::clone(&container.identity),
                    network,
                    started: false,
                })
            });
        let owner = owners.next()?;
        owners.next().is_none().then_some(owner)
    }
}

pub(super) fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

impl Namespace {
    fn found(&mut self, sandboxes: &Sandboxes) {
        if let Some(place) = sandboxes.place(&self.file) {
            self.place = Some(place);
        }
    }
}

impl State {
    /// Finds the owner of every namespace and interface, as far as the engine has reported it.
    pub fn name(&mut self) {
        let all: Vec<_> = self.namespaces.keys().copied().collect();
        self.name_in(all);
    }

    /// Finds the owners of these namespaces and their interfaces, and of what has ended without one. The owners of others
    /// change with the engine's inventory only.
    pub fn name_in(&mut self, looked: impl IntoIterator<Item = NetnsId>) {
        let Self {
            sandboxes,
            namespaces,
            interfaces,
            ended,
            closed,
            ..
        } = self;
        for closed in closed.values_mut() {
            closed.namespace.found(sandboxes);
        }
        for netns in looked {
            let Some(namespace) = namespaces.get_mut(&netns) else {
                continue;
            };
            namespace.found(sandboxes);
            let mut claims = Claims::default();
            for (id, interface) in interfaces.range(range(netns)) {
                claims.keep(*id, interface.owner.as_ref());
            }
            for (id, interface) in interfaces.range_mut(range(netns)) {
                let owner = sandboxes.owner(&namespace.file, &interface.device, interface.owner.as_ref());
                interface.belongs_to(owner.map(|owner| claims.settle(*id, owner)));
            }
        }
        for at in 0..ended.len() {
            if ended[at].owner.is_none() {
                let Ended { file, device, .. } = &ended[at];
                let owners = || {
                    let living = interfaces.values().filter_map(|interface| interface.owner.as_ref());
                    living.chain(ended.iter().filter_map(|ended| ended.owner.as_ref()))
                };
                let claimed = |container: &ContainerId, on: &str| {
                    owners().any(|owner| match owner {
                        Owner::Container { id, network, .. } => id == container && **network == *on,
                        Owner::Overlay { .. } => false,
                    })
                };
                let owner = sandboxes.owner(file, device, None);
                let owner = owner.or_else(|| sandboxes.former_owner(file, device, claimed));
                ended[at].owner = owner;
            }
        }
    }

    /// Finds the owner of an interface that ends. More may be known now than when all interfaces were last named.
    pub(super) fn name_at_last(&self, id: InterfaceId, file: &NetnsFile, interface: &mut Interface) {
        if interface.owner.as_ref().is_some_and(|owner| !owner.is_own_device()) {
            return;
        }
        let mut claims = Claims::default();
        for (id, other) in self.interfaces.range(range(id.netns)) {
            claims.keep(*id, other.owner.as_ref());
        }
        let owner = self.sandboxes.owner(file, &interface.device, interface.owner.as_ref());
        interface.belongs_to(owner.map(|owner| claims.settle(id, owner)));
    }
}
