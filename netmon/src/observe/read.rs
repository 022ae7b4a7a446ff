//! One reading of every watched device: the part of a scrape that reads from the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use tracing::{debug, warn};

use super::{
    Shared,
    state::{Namespace, State},
};
use crate::{
    model::{
        collector::Need,
        counters::{DeviceCounters, Directions},
        interface::NetnsId,
        netns::{NetnsFile, Role},
    },
    netns::{
        buffers,
        enter::{EnterError, NetnsThread, on_netns_thread},
        protocols::Reader,
        rtnetlink::{Client, NetlinkError},
        xfrm,
    },
};

/// Why a namespace was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be entered.
    #[error(transparent)]
    Enter(#[from] EnterError),
    /// The kernel did not answer.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Its procfs cannot be read.
    #[error("cannot read the counters of its protocols: {0}")]
    Protocols(#[from] io::Error),
    /// Another namespace is on its file now.
    #[error("another namespace has taken its place")]
    Replaced,
}

impl ReadError {
    /// Whether the process or the machine ran out of something, mostly descriptors. Then the namespace may well
    /// exist, and has to be tried again.
    #[must_use]
    pub fn is_want(&self) -> bool {
        let source = match self {
            Self::Enter(
                EnterError::Open { source, .. } | EnterError::Refused { source, .. } | EnterError::Thread(source),
            )
            | Self::Protocols(source)
            | Self::Netlink(NetlinkError::Socket { source, .. } | NetlinkError::Refused { source, .. }) => source,
            Self::Netlink(NetlinkError::Cut { .. } | NetlinkError::Restless { .. })
            | Self::Enter(EnterError::NoNamespace { .. })
            | Self::Replaced => return false,
        };
        let wants = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::AGAIN];
        source
            .raw_os_error()
            .is_some_and(|code| wants.iter().any(|it| it.raw_os_error() == code))
    }
}

/// What a reading missed, and how long its parts took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Namespaces that could not be read. Most of them are about to be found deleted.
    pub unread: usize,
    /// The time for each need.
    pub spent: BTreeMap<Need, Duration>,
}

/// Reads every device, and the wanted counters of the namespaces, one namespace after the other. On a node with a
/// thousand containers the whole reading takes so long that a container may start and end meanwhile.
///
/// # Errors
/// No thread could be started.
pub fn read_all(shared: &Shared, wanted: &BTreeSet<Need>) -> Result<Reading, EnterError> {
    on_netns_thread(|thread| {
        let namespaces = to_read(&shared.lock(), wanted);
        let mut reader = Reader::default();
        let mut reading = Reading::default();
        for (netns, file) in namespaces {
            let read = read_after(shared, netns, &file, thread, |client| {
                read_counters(shared, netns, &file.role, client, wanted, &mut reader, &mut reading)
            });
            if let Err(error) = read {
                debug!(netns = netns.0, %error, "a namespace was not read");
                reading.unread += 1;
            }
        }
        reading
    })
}

/// The namespaces that have something to read.
fn to_read(state: &State, wanted: &BTreeSet<Need>) -> Vec<(NetnsId, NetnsFile)> {
    let with_interfaces: BTreeSet<_> = state.interface_ids().map(|id| id.netns).collect();
    let has_any = |(netns, namespace): &(&NetnsId, &Namespace)| {
        with_interfaces.contains(netns)
            || has_protocols(&namespace.file.role)
            || wanted.contains(&Need::Tunnels) && namespace.tunnels().next().is_some()
    };
    let namespaces = state.namespaces().iter().filter(has_any);
    namespaces
        .map(|(netns, namespace)| (*netns, namespace.file.clone()))
        .collect()
}

/// Reads the counters and tables of the namespace that the calling thread has just entered.
fn read_counters(
    shared: &Shared,
    netns: NetnsId,
    role: &Role,
    client: &mut Client,
    wanted: &BTreeSet<Need>,
    reader: &mut Reader,
    reading: &mut Reading,
) -> Result<(), ReadError> {
    for need in wanted {
        let begin = Instant::now();
        match (need, role) {
            (Need::Tunnels, Role::Overlay { .. }) => {
                let remotes = client.remotes()?;
                shared.lock().set_remotes(netns, remotes);
            }
            (Need::Protocols, role) if has_protocols(role) => {
                let protocols = reader.read()?;
                shared.lock().counted(netns, protocols);
            }
            (Need::Encryption, Role::Node) => {
                let errors = xfrm::errors();
                if let Err(error) = &errors {
                    warn!(%error, "cannot read IPsec errors; this scrape is without them");
                }
                shared.lock().set_xfrm_errors(netns, errors.unwrap_or_default());
            }
            (Need::Buffers, Role::Sandbox) => read_buffers(shared, netns, client)?,
            // Reads the node's devices anyway, for `NodeDevices`, too.
            (Need::Buffers, Role::Node) => {
                let devices = client.devices()?.devices;
                let read = buffers::node(client, &devices);
                if let Err(error) = &read {
                    warn!(%error, "cannot read the node's queues and tables; this scrape is without them");
                }
                let mut state = shared.lock();
                state.node_bounded(netns, read.ok());
                state.node_has(netns, &devices, Instant::now());
            }
            (Need::NodeDevices, Role::Node) if !wanted.contains(&Need::Buffers) => {
                let devices = client.devices()?.devices;
                shared.lock().node_has(netns, &devices, Instant::now());
            }
            (
                Need::Protocols | Need::Encryption | Need::Tunnels | Need::NodeDevices | Need::Buffers,
                Role::Sandbox | Role::Overlay { .. } | Role::LoadBalancer { .. } | Role::Ingress | Role::Node,
            ) => continue,
        }
        *reading.spent.entry(*need).or_default() += begin.elapsed();
    }
    Ok(())
}

/// Reads a container's queues, tables and limits.
fn read_buffers(shared: &Shared, netns: NetnsId, client: &mut Client) -> Result<(), ReadError> {
    let conntrack_entries = buffers::conntrack_entries();
    let mut queues: BTreeMap<_, _> = client.queues()?.into_iter().collect();
    let mut state = shared.lock();
    state.set_conntrack_entries(netns, conntrack_entries);
    for (ifindex, interface) in state.interfaces_of(netns) {
        interface.queue = queues.remove(&ifindex);
    }
    Ok(())
}

/// Whether a namespace with this role has sockets. An overlay and a load balancer only forward packets.
const fn has_protocols(role: &Role) -> bool {
    match role {
        Role::Sandbox | Role::Node => true,
        Role::Overlay { .. } | Role::LoadBalancer { .. } | Role::Ingress => false,
    }
}

/// Reads the devices of one namespace, on a thread that may enter it. The thread is in the namespace afterwards.
///
/// # Errors
/// See [`ReadError`]. What was known before stays, and what programs counted since is added to it.
pub fn read_namespace(shared: &Shared, netns: NetnsId, thread: &mut NetnsThread) -> Result<(), ReadError> {
    let file = shared.lock().namespaces().get(&netns).map(|it| it.file.clone());
    let file = file.ok_or(ReadError::Replaced)?;
    read_after(shared, netns, &file, thread, |_| Ok(()))
}

/// Like [`read_namespace`], but first calls `first` in the namespace.
///
/// The kernel's count of the whole is read before the devices' shares of it. Packets in between then make the
/// unattributed rest smaller. In the other order they would be charged to the rest for good.
fn read_after(
    shared: &Shared,
    netns: NetnsId,
    file: &NetnsFile,
    thread: &mut NetnsThread,
    first: impl FnOnce(&mut Client) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let read = try_read(shared, netns, file, thread, first);
    read.unwrap_or_else(|error| {
        alone(shared, netns, || shared.lock().estimate(netns));
        Err(error)
    })
}

/// Returns the result of `first`, unless the devices could not be read.
fn try_read(
    shared: &Shared,
    netns: NetnsId,
    file: &NetnsFile,
    thread: &mut NetnsThread,
    first: impl FnOnce(&mut Client) -> Result<(), ReadError>,
) -> Result<Result<(), ReadError>, ReadError> {
    let _file = thread.enter(&file.path)?;
    let mut client = Client::open()?;
    if client.netns()? != netns {
        return Err(ReadError::Replaced);
    }
    let done = first(&mut client);
    take_reading(shared, netns, || client.statistics())?;
    Ok(done)
}

/// Reads the devices of a namespace: the programs' counters, the devices' by `statistics`, and the programs' again, as
/// close together as possible.
///
/// # Errors
/// The kernel did not answer.
pub fn take_reading(
    shared: &Shared,
    netns: NetnsId,
    statistics: impl FnOnce() -> Result<Vec<(u32, Directions<DeviceCounters>)>, NetlinkError>,
) -> Result<(), ReadError> {
    alone(shared, netns, || {
        let opening = shared.lock().open_reading(netns);
        let Some(opening) = opening else { return Ok(()) };
        let before = opening.read();
        // Waits for the kernel's RTNL lock, which others may hold for long. The registry is not locked meanwhile.
        let devices = statistics()?.into_iter().collect();
        let after = opening.read();
        shared.lock().close_reading(&opening, &before, &devices, &after);
        Ok(())
    })
    .unwrap_or(Ok(()))
}

/// Does this while nobody else reads the namespace. `None` if the namespace is gone.
fn alone<T>(shared: &Shared, netns: NetnsId, work: impl FnOnce() -> T) -> Option<T> {
    let lock = shared.lock().reading_lock(netns)?;
    let _held = lock.lock();
    Some(work())
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::mpsc, thread, time::Duration};

    use super::{Instant, NetnsFile, NetnsId, Role, Shared, State, take_reading};
    use crate::{
        model::{
            counters::{DeviceCounters, Directions},
            interface::{Device, DeviceKind},
        },
        observe::state::Scope,
    };

    const ETH0: u32 = 7;
    const NETNS: NetnsId = NetnsId(1);

    fn one_container() -> Shared {
        let scope = Scope {
            containers: true,
            vxlan: true,
        };
        let mut state = State::new(scope, Duration::ZERO);
        let file = NetnsFile {
            path: PathBuf::from("/netns/aaaaaaaaaaaa"),
            inode: 1,
            role: Role::Sandbox,
        };
        let eth0 = Device::new(ETH0, "eth0".to_owned(), DeviceKind::Veth);
        state.looked(&file, NETNS, vec![eth0], Instant::now());
        Shared::new(state)
    }

    fn counters(packets: u64) -> Vec<(u32, Directions<DeviceCounters>)> {
        let counters = DeviceCounters {
            packets,
            ..DeviceCounters::default()
        };
        let both = Directions {
            receive: counters,
            transmit: counters,
        };
        vec![(ETH0, both)]
    }

    fn packets(shared: &Shared) -> u64 {
        let state = shared.lock();
        state.interfaces().map(|it| it.ledger.totals().receive.packets).sum()
    }

    #[test]
    fn nobody_waits_for_the_registry_while_the_kernel_is_asked() {
        let shared = one_container();
        let read = take_reading(&shared, NETNS, || {
            // Would wait for ever if this thread had locked it.
            assert_eq!(shared.lock().interfaces().count(), 1);
            Ok(counters(5))
        });
        read.expect("a reading");
        assert_eq!(packets(&shared), 5);
    }

    #[test]
    fn a_namespace_is_read_by_one_after_the_other() {
        let shared = &one_container();
        let (asked, second_asked) = mpsc::channel();
        thread::scope(|scope| {
            let first = take_reading(shared, NETNS, || {
                scope.spawn(|| {
                    let second = take_reading(shared, NETNS, || {
                        asked.send(()).expect("the first one or the test listens");
                        Ok(counters(30))
                    });
                    second.expect("a reading");
                });
                // Long enough for the second one, if it did not wait for this one.
                let second = second_asked.recv_timeout(Duration::from_millis(200));
                assert!(second.is_err(), "the kernel is asked twice at the same time");
                Ok(counters(20))
            });
            first.expect("a reading");
        });
        assert_eq!(packets(shared), 30);
    }
}
