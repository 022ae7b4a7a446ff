//! Puts the programs that count what passes between nodes on the devices that lead to other nodes.
//!
//! Which those are nobody says. They are the devices of the node's namespace that its routes to the tunnels' far ends go
//! through, and the one with the address by which the node is known in its Swarm, which is there before any tunnel.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use super::{Shared, state::State};
use crate::{
    datapath::overlay::{OverlayMap, SharedOverlay},
    model::interface::Device,
    netns::{
        discover::Role,
        enter::{EnterError, Traveller, travel},
        rtnetlink::{Client, NetlinkError},
    },
};

/// How often routes are looked up again though no tunnel is new: they may have changed.
const ROUND: Duration = Duration::from_mins(1);
/// How many devices get programs. A node has one way to the others, or two.
const MAX_DEVICES: usize = 16;

/// What is known of the ways to other nodes.
#[derive(Debug)]
pub(super) struct Underlay {
    overlay: SharedOverlay,
    /// What the devices were chosen by, and when.
    chosen: Option<(Ends, Instant)>,
    /// It was said what keeps the programs from a device.
    complained: bool,
}

/// The ends of tunnels, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ends {
    node: Option<IpAddr>,
    remotes: BTreeSet<IpAddr>,
    port: Option<u16>,
}

/// Why the programs are on no device, or not on all.
#[derive(Debug, thiserror::Error)]
enum TendError {
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Datapath(#[from] crate::datapath::DatapathError),
}

impl Underlay {
    pub(super) const fn new(overlay: SharedOverlay) -> Self {
        Self {
            overlay,
            chosen: None,
            complained: false,
        }
    }

    /// Looks whether there are tunnels to nodes that were not there before, and puts the programs where they pass.
    pub(super) fn tend(&mut self, shared: &Shared, now: Instant) {
        if !self.overlay.lock().is_some() {
            return;
        }
        let (ends, node) = {
            let state = shared.lock();
            (ends(&state), node_file(&state))
        };
        // No Swarm, or none of its networks here.
        let (Some(port), Some(node)) = (ends.port, node) else {
            return;
        };
        let is_fresh = |(known, at): &(Ends, Instant)| *known == ends && *at + ROUND > now;
        if self.chosen.as_ref().is_some_and(is_fresh) {
            return;
        }
        let overlay = &self.overlay;
        let tended = travel(|traveller| {
            let mut overlay = overlay.lock();
            match &mut *overlay {
                Some(overlay) => attach(overlay, &ends, port, &node, traveller),
                None => Ok(()),
            }
        });
        let failed = match tended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(error) => Some(error.into()),
        };
        match failed {
            None => self.complained = false,
            Some(error) if !self.complained => {
                self.complained = true;
                warn!(%error, "what passes between this node and others is not counted");
            }
            Some(error) => debug!(%error, "what passes between nodes is not counted"),
        }
        self.chosen = Some((ends, now));
    }

    /// Takes off what the kernel would leave in place.
    pub(super) fn take_off(&self, shared: &Shared) {
        let Some(mut overlay) = self.overlay.lock().take() else {
            return;
        };
        let node = node_file(&shared.lock());
        let (Some(node), true) = (node, overlay.needs_visit()) else {
            return;
        };
        let done = travel(|traveller| {
            if let Ok(_file) = traveller.enter(&node) {
                for ifindex in overlay.devices().collect::<Vec<_>>() {
                    overlay.unwatch(ifindex);
                }
            }
        });
        if let Err(error) = done {
            warn!(%error, "filters stay on the node's devices until netmon starts again");
        }
    }
}

fn ends(state: &State) -> Ends {
    let mut ends = Ends {
        node: state.inventory().node.as_ref().and_then(|node| node.address),
        ..Ends::default()
    };
    for namespace in state.namespaces().values() {
        for tunnel in namespace.tunnels.values() {
            ends.port = Some(tunnel.port);
            ends.remotes.extend(&tunnel.remotes);
        }
    }
    ends
}

fn node_file(state: &State) -> Option<PathBuf> {
    let mut namespaces = state.namespaces().values();
    let node = namespaces.find(|namespace| namespace.file.role == Role::Node)?;
    Some(node.file.path.clone())
}

fn attach(
    overlay: &mut OverlayMap,
    ends: &Ends,
    port: u16,
    node: &std::path::Path,
    traveller: &mut Traveller,
) -> Result<(), TendError> {
    overlay.tell_port(port)?;
    let _file = traveller.enter(node)?;
    let mut client = Client::open()?;
    let devices = client.devices()?;
    let is_there = |ifindex: u32| devices.iter().any(|device| device.ifindex == ifindex);
    let gone: Vec<u32> = overlay.devices().filter(|ifindex| !is_there(*ifindex)).collect();
    for ifindex in gone {
        overlay.unwatch(ifindex);
    }

    let mut wanted: BTreeSet<u32> = BTreeSet::new();
    for remote in &ends.remotes {
        wanted.extend(client.way_to(*remote)?);
    }
    let is_own = |device: &&Device| ends.node.is_some_and(|own| device.addresses.contains(&own));
    wanted.extend(devices.iter().find(is_own).map(|device| device.ifindex));
    for device in devices.iter().filter(|device| wanted.contains(&device.ifindex)) {
        let watched = overlay.devices().any(|ifindex| ifindex == device.ifindex);
        if watched || overlay.devices().count() >= MAX_DEVICES {
            continue;
        }
        match overlay.watch(&device.name, device.ifindex) {
            Ok(()) => info!(device = %device.name, port, "what passes between nodes is counted here"),
            Err(error) => warn!(device = %device.name, %error, "what passes between nodes is not counted here"),
        }
    }
    Ok(())
}
