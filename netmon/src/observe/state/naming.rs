//! Whose an interface is: the engine's inventory joined with the namespace and the device.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use crate::{
    model::{
        interface::{Device, InterfaceId, NetnsId},
        inventory::{Container, ContainerId, Identity, Inventory, Sandbox},
        place::Place,
    },
    netns::discover::{NetnsFile, Role},
    network,
};

/// Whose an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A container's.
    Container {
        /// The container.
        id: ContainerId,
        /// What it is called.
        identity: Arc<Identity>,
        /// The network it is on; empty for a device that no network of the container's accounts for.
        network: Arc<str>,
        /// Its start is over, and its process is there.
        started: bool,
    },
    /// An overlay network's own: its way to the other nodes.
    Overlay {
        /// The network.
        network: Arc<str>,
    },
}

impl Owner {
    /// It is a container's, and no network of the engine's accounts for it: the container made it itself.
    pub(super) fn is_own_device(&self) -> bool {
        matches!(self, Self::Container { network, .. } if network.is_empty())
    }
}

/// Which device has which of a container's networks.
///
/// The engine gives a container one device on each. So of several that look like it, by the address that they were given,
/// one is it, and the others are the container's own: they must not count for the network. It is the one that was found
/// first, or has the lowest number.
#[derive(Default)]
pub(super) struct Claims(BTreeMap<(NetnsId, Arc<str>), u32>);

impl Claims {
    /// What was found stays.
    pub(super) fn keep(&mut self, id: InterfaceId, owner: Option<&Owner>) {
        if let Some(Owner::Container { network, .. }) = owner
            && !network.is_empty()
        {
            self.0.entry((id.netns, Arc::clone(network))).or_insert(id.ifindex);
        }
    }

    /// What a device is by these claims.
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
pub(super) struct Sandboxes<'a> {
    inventory: &'a Inventory,
    by_name: HashMap<&'a str, &'a Arc<Container>>,
}

impl<'a> Sandboxes<'a> {
    pub(super) fn new(inventory: &'a Inventory) -> Self {
        // The engine's path and ours differ where netmon sees the directory elsewhere (/run, /host/run): the name of
        // the file is what both agree on.
        let by_name = inventory
            .containers
            .values()
            .filter_map(|container| match &container.sandbox {
                Sandbox::Own(path) => Some((file_name(path)?, container)),
                Sandbox::Shared(_) | Sandbox::Host | Sandbox::Isolated | Sandbox::Absent => None,
            })
            .collect();
        Self { inventory, by_name }
    }

    /// Whose a device is, given what was known before: a device cannot change its network, so one once found stays.
    pub(super) fn owner(&self, file: &NetnsFile, device: &Device, before: Option<&Owner>) -> Option<Owner> {
        match &file.role {
            Role::Overlay { network } => {
                network::network_of_namespace(network, self.inventory).map(|network| Owner::Overlay { network })
            }
            Role::Sandbox => {
                let container = self.by_name.get(file_name(&file.path)?)?;
                let network = match before {
                    Some(Owner::Container { id, network, .. }) if *id == container.id && !network.is_empty() => {
                        Arc::clone(network)
                    }
                    _ => network::network_of(device, container, self.inventory).unwrap_or_default(),
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

    /// Whose a namespace is.
    pub(super) fn place(&self, file: &NetnsFile) -> Option<Place> {
        match &file.role {
            Role::Overlay { network } => {
                network::network_of_namespace(network, self.inventory).map(|network| Place::Overlay { network })
            }
            Role::LoadBalancer { network } => {
                network::network_of_namespace(network, self.inventory).map(|network| Place::LoadBalancer { network })
            }
            Role::Ingress => network::routing_mesh(self.inventory).map(|network| Place::LoadBalancer { network }),
            Role::Node => Some(Place::Node),
            Role::Sandbox => {
                let container = self.by_name.get(file_name(&file.path)?)?;
                Some(Place::Container {
                    identity: Arc::clone(&container.identity),
                })
            }
        }
    }

    /// Whose a device was that is gone, where no container has its namespace: a container that ended before the engine
    /// told of its namespace, found by hardware address or address. Not one that has its device on that network
    /// already (`claimed`), for addresses are given out again; and nobody's, if it could be more than one's.
    ///
    /// Never asked for a device that is there: its owner may be about to be known, and until then another's figures
    /// would be wrong.
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
                let network = network::network_by_address(device, container, self.inventory)?;
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

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}
