//! One reading of every watched device: the part of a scrape that reads from the kernel.

mod needs;
pub mod protocols;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use tracing::debug;

use self::{
    needs::{Files, Place, has, read_need},
    protocols::ProtocolsReader,
};
use super::{
    Shared,
    state::{Namespace, State},
};
use crate::{
    model::{
        collector::Need,
        counters::{DeviceCounters, Directions},
        interface::NetnsId,
        netns::NetnsFile,
    },
    netns::{
        enter::{EnterError, NetnsThread, on_netns_thread},
        proc_net::ProcNet,
        rtnetlink::{Client, NetlinkError},
        settings::Settings,
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
    /// Whether the namespace is deleted, or about to be: it is no longer where it was listed.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Enter(EnterError::Open { source, .. }) => source.kind() == io::ErrorKind::NotFound,
            Self::Enter(EnterError::NoNamespace { .. }) | Self::Replaced => true,
            Self::Enter(EnterError::Refused { .. } | EnterError::Thread(_)) | Self::Netlink(_) | Self::Protocols(_) => {
                false
            }
        }
    }

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
#[derive(Debug, Default)]
pub struct ReadReport {
    /// Namespaces that exist and could not be read, at least in part. What was read before stays in the registry.
    pub unread: BTreeSet<NetnsId>,
    /// The devices of one of them or more were not read.
    pub misses_devices: bool,
    /// What else was not read in one of them or more.
    pub missed: BTreeSet<Need>,
    /// Why the first of them was not read.
    pub error: Option<ReadError>,
    /// The time for each need.
    pub spent: BTreeMap<Need, Duration>,
}

impl ReadReport {
    /// Notes that a namespace could not be read at all. One that is gone is not missed.
    fn fail(&mut self, netns: NetnsId, needs: impl IntoIterator<Item = Need>, error: ReadError) {
        self.misses_devices |= !error.is_gone();
        self.fail_in_part(netns, needs, error);
    }

    /// Notes that something could not be read in a namespace.
    fn fail_in_part(&mut self, netns: NetnsId, needs: impl IntoIterator<Item = Need>, error: ReadError) {
        debug!(netns = netns.0, %error, "a namespace was not read");
        if !error.is_gone() {
            self.unread.insert(netns);
            self.missed.extend(needs);
            self.error.get_or_insert(error);
        }
    }
}

/// Reads every device, and the wanted counters of the namespaces, one namespace after the other. On a node with a
/// thousand containers the whole reading takes so long that a container may start and end meanwhile.
///
/// # Errors
/// No thread could be started.
pub fn read_all(
    shared: &Shared,
    wanted: &BTreeSet<Need>,
    protocols: &mut ProtocolsReader,
    settings: &mut Settings,
) -> Result<ReadReport, EnterError> {
    on_netns_thread(|thread| {
        let (number, namespaces) = {
            let mut state = shared.lock();
            (state.begin_reading(), to_read(&state, wanted))
        };
        let mut files = Files {
            proc_net: ProcNet::default(),
            protocols,
            settings,
            last: None,
        };
        let mut reading = ReadReport::default();
        for (netns, file) in namespaces {
            let needs: Vec<_> = wanted
                .iter()
                .copied()
                .filter(|need| has(*need, &file.role, wanted))
                .collect();
            let read = read_after(shared, netns, &file, thread, |client| {
                for need in &needs {
                    let begin = Instant::now();
                    let place = Place {
                        netns,
                        role: &file.role,
                        reading: number,
                    };
                    if let Err(error) = read_need(shared, *need, place, client, &mut files) {
                        reading.fail_in_part(netns, [*need], error);
                    }
                    *reading.spent.entry(*need).or_default() += begin.elapsed();
                }
            });
            if let Err(error) = read {
                reading.fail(netns, needs, error);
            }
        }
        reading
    })
}

/// The namespaces that have something to read.
fn to_read(state: &State, wanted: &BTreeSet<Need>) -> Vec<(NetnsId, NetnsFile)> {
    let with_interfaces: BTreeSet<_> = state.interface_ids().map(|id| id.netns).collect();
    let has_any = |(netns, namespace): &(&NetnsId, &Namespace)| {
        let role = &namespace.file.role;
        with_interfaces.contains(netns) || wanted.iter().any(|need| has(*need, role, wanted))
    };
    let namespaces = state.namespaces().iter().filter(has_any);
    namespaces
        .map(|(netns, namespace)| (*netns, namespace.file.clone()))
        .collect()
}

/// Reads the devices of one namespace, on a thread that may enter it. The thread is in the namespace afterwards.
///
/// # Errors
/// See [`ReadError`]. What was known before stays, and what programs counted since is added to it.
pub fn read_namespace(shared: &Shared, netns: NetnsId, thread: &mut NetnsThread) -> Result<(), ReadError> {
    let file = shared.lock().namespaces().get(&netns).map(|it| it.file.clone());
    let file = file.ok_or(ReadError::Replaced)?;
    read_after(shared, netns, &file, thread, |_| {})
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
    first: impl FnOnce(&mut Client),
) -> Result<(), ReadError> {
    let read = try_read(shared, netns, file, thread, first);
    if let Err(error) = &read {
        // The last counters of devices that are gone may still come. An estimate that is higher would stay.
        alone(shared, netns, || {
            let mut state = shared.lock();
            if error.is_gone() {
                state.count(netns);
            } else {
                state.estimate(netns);
            }
        });
    }
    read
}

fn try_read(
    shared: &Shared,
    netns: NetnsId,
    file: &NetnsFile,
    thread: &mut NetnsThread,
    first: impl FnOnce(&mut Client),
) -> Result<(), ReadError> {
    let _file = thread.enter(&file.path)?;
    let mut client = Client::open()?;
    if client.netns()? != netns {
        return Err(ReadError::Replaced);
    }
    first(&mut client);
    take_reading(shared, netns, || client.statistics())
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
        let mut devices = statistics()?;
        devices.sort_unstable_by_key(|(ifindex, _)| *ifindex);
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

    use super::{
        BTreeSet, EnterError, Instant, Need, NetlinkError, NetnsFile, NetnsId, ReadError, ReadReport, Shared, State,
        io, take_reading,
    };
    use crate::{
        model::{
            counters::{DeviceCounters, Directions},
            interface::{Device, DeviceKind},
            netns::Role,
        },
        observe::state::Scope,
    };

    const ETH0: u32 = 7;
    const NETNS: NetnsId = NetnsId(1);

    /// A registry with this container, which has one device.
    pub(super) fn one_container(netns: NetnsId) -> Shared {
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
        state.looked(&file, netns, vec![eth0], Instant::now());
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
    fn a_namespace_that_is_gone_is_not_missed_and_one_that_cannot_be_read_is() {
        let path = || PathBuf::from("/netns/aaaaaaaaaaaa");
        let open = |code| {
            let source = io::Error::from_raw_os_error(code);
            ReadError::from(EnterError::Open { path: path(), source })
        };
        let refused = |code| {
            let source = io::Error::from_raw_os_error(code);
            ReadError::from(NetlinkError::Refused { what: "list", source })
        };
        let mut reading = ReadReport::default();
        for gone in [
            open(libc::ENOENT),
            EnterError::NoNamespace { path: path() }.into(),
            ReadError::Replaced,
        ] {
            reading.fail(NETNS, [Need::Protocols], gone);
        }
        assert!(reading.unread.is_empty() && reading.missed.is_empty() && reading.error.is_none());
        assert!(!reading.misses_devices);
        for (number, error) in (1..).zip([
            open(libc::EMFILE),
            refused(libc::ENOBUFS),
            NetlinkError::Cut { what: "list" }.into(),
            io::Error::from_raw_os_error(libc::ENOMEM).into(),
        ]) {
            reading.fail_in_part(NETNS, [Need::Buffers], error);
            assert!(!reading.misses_devices);
            reading.fail_in_part(NetnsId(number), [], ReadError::Protocols(io::ErrorKind::Other.into()));
        }
        assert_eq!(reading.unread.len(), 4);
        assert_eq!(reading.missed, BTreeSet::from([Need::Buffers]));
        let error = reading.error.as_ref().expect("the first error").to_string();
        assert!(error.contains("os error 24"), "{error}");
        reading.fail(NETNS, [], open(libc::EMFILE));
        assert!(reading.misses_devices);
    }

    #[test]
    fn nobody_waits_for_the_registry_while_the_kernel_is_asked() {
        let shared = one_container(NETNS);
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
        let shared = &one_container(NETNS);
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
