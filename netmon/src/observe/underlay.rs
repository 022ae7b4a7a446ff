//! Finds the devices that lead to other nodes, and attaches to them the programs that count what passes there.
//!
//! No list of these devices exists. They are the devices of the node's namespace on the routes to the tunnels' remote
//! ends. The device with the address by which the node is known in its Swarm is one, too: it exists before any
//! tunnel.
//!
//! No packet may pass two of them. So a port of a bridge or a bond is left out where the whole is included. What
//! passes a device with a VLAN tag is counted where the tag is removed (`netmon-ebpf/src/overlay.rs`).
//!
//! Somebody else may detach the programs. They are attached again at the next check.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use super::{Shared, filters, state::State};
use crate::{
    datapath::{
        attach::{AttachError, device_name},
        overlay::programs::OverlayPrograms,
    },
    model::{
        interface::{Device, DeviceKind, DeviceList},
        outage::{News, Outage, Said},
    },
    netns::{
        enter::{EnterError, on_netns_thread},
        rtnetlink::{Client, NetlinkError},
    },
};

/// How many devices get programs. A node has one or two ways to the others.
const MAX_DEVICES: usize = 16;

/// What is known of the devices that lead to other nodes.
#[derive(Debug)]
pub(super) struct Underlay {
    programs: Option<OverlayPrograms>,
    /// How often routes are looked up again without a new tunnel: they may have changed.
    round: Duration,
    /// The tunnels' ends that the devices were chosen by, and when.
    chosen: Option<(Ends, Instant)>,
    /// Programs are missing on a device.
    outage: Outage,
    /// The devices whose programs somebody else detached.
    detached: Said<u32>,
}

/// The known ends of tunnels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ends {
    node: Option<IpAddr>,
    remotes: BTreeSet<IpAddr>,
    port: Option<u16>,
}

/// Why the programs are attached to no device, or not to all.
#[derive(Debug, thiserror::Error)]
enum UnderlayError {
    #[error("no namespace is the node's")]
    NoNode,
    #[error("no device leads to the other nodes: there is no route to the ends of their tunnels")]
    NoWay,
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Datapath(#[from] crate::datapath::DatapathError),
}

impl Underlay {
    pub(super) fn new(programs: Option<OverlayPrograms>, round: Duration) -> Self {
        Self {
            programs,
            round,
            chosen: None,
            outage: Outage::default(),
            detached: Said::default(),
        }
    }

    /// Looks for tunnels to new nodes, and attaches the programs to the devices that they pass.
    pub(super) fn reconcile(&mut self, shared: &Shared, now: Instant) {
        let (ends, node) = {
            let mut state = shared.lock();
            let ends = ends(&state);
            if ends.port.is_none() {
                // No Swarm, or none of its networks on this node.
                state.underlay.clear();
                state.misses_underlay = false;
                self.chosen = None;
            }
            (ends, node_file(&state))
        };
        let Some(port) = ends.port else { return };
        let is_fresh = |(known, at): &(Ends, Instant)| *known == ends && *at + self.round > now;
        if self.chosen.as_ref().is_some_and(is_fresh) {
            return;
        }
        let programs = &mut self.programs;
        let leading = on_netns_thread(
            |thread| -> Result<(BTreeSet<u32>, Option<UnderlayError>), UnderlayError> {
                let _file = thread.enter(&node.ok_or(UnderlayError::NoNode)?)?;
                let mut client = Client::open()?;
                let listed = client.devices()?;
                let devices = &listed.devices;
                let leading = ways(&ends, &mut client)?;
                let wanted = leading.iter().copied().chain(own(&ends, devices)).collect();
                let failed = programs.as_mut().and_then(|programs| {
                    attach(programs, &listed, &outermost(&wanted, devices), port, &mut client)
                        .and_then(|()| check_way(&ends, programs.devices().next().is_some()))
                        .err()
                });
                Ok((outermost(&leading, devices), failed))
            },
        );
        let mut state = shared.lock();
        let failed = match leading {
            Ok(Ok((leading, failed))) => {
                state.underlay = leading;
                failed
            }
            Ok(Err(error)) => Some(error),
            Err(error) => Some(error.into()),
        };
        state.misses_underlay = failed.is_some();
        drop(state);
        // That there is no node is said for all that netmon then does not see, when all is read.
        let is_outage = failed
            .as_ref()
            .is_some_and(|error| !matches!(error, UnderlayError::NoNode));
        match (self.outage.note(is_outage, now), failed) {
            (Some(News::Begins), Some(error)) => warn!(%error, "cannot count traffic between nodes"),
            (Some(News::Ends), _) => info!("traffic between nodes is counted again"),
            (_, Some(error)) => debug!(%error, "traffic between nodes is not counted"),
            (_, None) => {}
        }
        self.chosen = Some((ends, now));
    }

    /// Checks whether the programs are still attached. Those that are not will be attached by [`Self::reconcile`].
    pub(super) fn verify(&mut self, shared: &Shared) {
        let Some(programs) = &mut self.programs else { return };
        let watched: Vec<_> = programs.devices().collect();
        let node = node_file(&shared.lock());
        let (Some(node), false) = (node, watched.is_empty()) else {
            return;
        };
        let said = &mut self.detached;
        let detached = on_netns_thread(|thread| -> Result<u64, UnderlayError> {
            let _file = thread.enter(&node)?;
            let mut client = Client::open()?;
            let mut detached = 0;
            for ifindex in watched {
                // A device that is deleted is found by the next look.
                let Ok(name) = device_name("", ifindex) else { continue };
                let filters = client.filters(ifindex)?;
                if !programs.is_on(&name, ifindex, &filters) {
                    let text = "programs were detached by somebody else; attaching them again";
                    if said.is_news(ifindex, Instant::now()) {
                        warn!(device = name, "{text}; more on this device is only counted");
                    } else {
                        debug!(device = name, "{text}");
                    }
                    programs.unwatch_rest(ifindex, &filters);
                    detached += 1;
                }
            }
            Ok(detached)
        });
        match detached.map_err(UnderlayError::from).flatten() {
            Ok(0) => {}
            Ok(detached) => {
                shared.lock().count_detached(detached);
                self.chosen = None;
            }
            Err(error) => debug!(%error, "cannot check programs on the node's devices"),
        }
    }

    /// Detaches what the kernel would leave in place.
    pub(super) fn detach_all(&mut self, shared: &Shared) {
        let Some(mut programs) = self.programs.take() else {
            return;
        };
        let node = node_file(&shared.lock());
        let (Some(node), true) = (node, programs.needs_visit()) else {
            return;
        };
        let done = on_netns_thread(|thread| {
            if let Ok(_file) = thread.enter(&node) {
                for ifindex in programs.devices().collect::<Vec<_>>() {
                    programs.unwatch(ifindex);
                }
            }
        });
        if let Err(error) = done {
            warn!(%error, "cannot remove filters from the node's devices; they stay until netmon starts again");
        }
    }
}

fn ends(state: &State) -> Ends {
    let mut ends = Ends {
        node: state.inventory().node.as_ref().and_then(|node| node.address),
        ..Ends::default()
    };
    for namespace in state.namespaces().values() {
        for tunnel in namespace.tunnels() {
            ends.port = Some(tunnel.port);
            ends.remotes.extend(&tunnel.remotes);
        }
    }
    ends
}

fn node_file(state: &State) -> Option<PathBuf> {
    let (_, node) = state.node()?;
    Some(node.file.path.clone())
}

/// The devices that lead to other nodes.
fn ways(ends: &Ends, client: &mut Client) -> Result<BTreeSet<u32>, NetlinkError> {
    let mut ways = BTreeSet::new();
    for remote in &ends.remotes {
        ways.extend(client.way_to(*remote)?);
    }
    Ok(ways)
}

/// The device with the node's own address. A Swarm with another address for its data need not send anything through
/// it.
fn own(ends: &Ends, devices: &[Device]) -> Option<u32> {
    let is_own = |device: &&Device| ends.node.is_some_and(|own| device.addresses.contains(&own));
    devices.iter().find(is_own).map(|device| device.ifindex)
}

/// The devices among these that are not part of another one of them. Loopback is left out: it leads nowhere.
fn outermost(wanted: &BTreeSet<u32>, devices: &[Device]) -> BTreeSet<u32> {
    let is_part = |device: &Device| device.master.is_some_and(|whole| wanted.contains(&whole));
    let all = devices
        .iter()
        .filter(|device| wanted.contains(&device.ifindex))
        .filter(|device| device.kind != DeviceKind::Loopback && !is_part(device));
    let more = all.clone().count().saturating_sub(MAX_DEVICES);
    if more > 0 {
        debug!(
            more,
            "traffic between nodes on more devices than {MAX_DEVICES} is not counted"
        );
    }
    all.map(|device| device.ifindex).take(MAX_DEVICES).collect()
}

/// Attaches the programs to these devices, and detaches them from all others. While no device leads to other nodes,
/// they stay where they are.
///
/// # Errors
/// The kernel refuses them. They are on the other devices all the same.
fn attach(
    programs: &mut OverlayPrograms,
    listed: &DeviceList,
    wanted: &BTreeSet<u32>,
    port: u16,
    client: &mut Client,
) -> Result<(), UnderlayError> {
    programs.tell_port(port)?;
    let watched: BTreeSet<u32> = programs.devices().collect();
    let device = |ifindex: u32| listed.devices.iter().find(|device| device.ifindex == ifindex);
    for ifindex in watched.difference(wanted) {
        let is_there = device(*ifindex).is_some();
        if !is_there && listed.is_whole || is_there && !wanted.is_empty() {
            programs.unwatch(*ifindex);
        }
    }
    let new = wanted.difference(&watched);
    let mut refused = None;
    for device in new.filter_map(|ifindex| device(*ifindex)) {
        let (name, ifindex) = (&device.name, device.ifindex);
        let filters = filters::before(programs.mode(), name, ifindex, client);
        match filters.and_then(|filters| programs.watch(name, ifindex, &filters)) {
            Ok(()) => info!(device = %device.name, port, "counting traffic between nodes on this device"),
            Err(error) => {
                debug!(device = %device.name, %error, "cannot count traffic between nodes on this device");
                refused.get_or_insert(error);
            }
        }
    }
    refused.map_or(Ok(()), |error| Err(error.into()))
}

/// Whether the programs are on a device, if there are other nodes.
///
/// # Errors
/// They are on none.
fn check_way(ends: &Ends, is_on_a_device: bool) -> Result<(), UnderlayError> {
    if ends.remotes.is_empty() || is_on_a_device {
        Ok(())
    } else {
        Err(UnderlayError::NoWay)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        time::{Duration, Instant},
    };

    use super::{Ends, Shared, State, Underlay, check_way, outermost};
    use crate::{
        model::interface::{Device, DeviceKind},
        observe::state::Scope,
    };

    const ROUND: Duration = Duration::from_mins(1);

    fn nothing() -> Shared {
        let scope = Scope {
            containers: true,
            vxlan: true,
        };
        Shared::new(State::new(scope, Duration::ZERO))
    }

    #[test]
    fn without_a_tunnel_no_device_leads_to_other_nodes() {
        let shared = nothing();
        let mut underlay = Underlay::new(None, ROUND);
        {
            let mut state = shared.lock();
            state.underlay = BTreeSet::from([2]);
            state.misses_underlay = true;
        }
        underlay.reconcile(&shared, Instant::now());
        assert!(shared.lock().underlay.is_empty());
        assert!(!shared.lock().misses_underlay);
    }

    fn device(ifindex: u32, kind: DeviceKind, master: Option<u32>) -> Device {
        Device {
            master,
            ..Device::new(ifindex, format!("dev{ifindex}"), kind)
        }
    }

    fn chosen(wanted: &[u32]) -> Vec<u32> {
        let devices = [
            device(1, DeviceKind::Loopback, None),
            device(2, DeviceKind::Other, Some(4)),
            device(3, DeviceKind::Other, None),
            device(4, DeviceKind::Bridge, None),
        ];
        let wanted: BTreeSet<u32> = wanted.iter().copied().collect();
        outermost(&wanted, &devices).into_iter().collect()
    }

    #[test]
    fn a_port_is_left_out_where_its_bridge_is_watched() {
        assert_eq!(chosen(&[2, 3, 4]), [3, 4]);
        assert_eq!(chosen(&[2]), [2]);
    }

    #[test]
    fn programs_on_no_device_miss_something_only_where_there_are_other_nodes() {
        let alone = Ends::default();
        let in_company = Ends {
            remotes: BTreeSet::from(["10.88.0.2".parse().expect("an address")]),
            ..Ends::default()
        };
        assert!(check_way(&alone, false).is_ok());
        assert!(check_way(&in_company, true).is_ok());
        assert!(check_way(&in_company, false).is_err());
    }

    #[test]
    fn nothing_leads_out_through_loopback_or_through_what_is_gone() {
        assert_eq!(chosen(&[1, 9]), [0; 0]);
    }
}
