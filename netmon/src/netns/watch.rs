//! Hearing of changes the moment they happen: namespaces that come and go, devices that come, go and stop.
//!
//! Two sources, because neither is enough. The mount table tells of namespaces: the engine makes one by mounting it,
//! and `poll` wakes when it does (inotify would see the file before the mount, and nothing at all of a second mount
//! over the same file). rtnetlink tells of devices in every namespace that has a number in ours
//! (`NETLINK_LISTEN_ALL_NSID`, needs `CAP_NET_BROADCAST`); containers get one when a veth crosses. Such news carries the
//! device's counters, also at its very end, when nothing can be asked any more.

use std::{
    fs::File,
    io,
    mem::{MaybeUninit, size_of},
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::Errno,
};
use tracing::warn;

use super::{
    enter::inside,
    rtnetlink::{LinkEvent, Message, link_event, messages},
};
use crate::{
    model::{
        counters::{DeviceCounters, Directions},
        interface::Device,
    },
    privilege::{self, ThreadRole},
    workers::{HEARTBEAT, Shift},
};

/// The mount table of our own mount namespace, which is the one the netns directory is read in.
const MOUNT_TABLE: &str = "/proc/self/mountinfo";
/// `RTMGRP_LINK`: news of devices.
const LINK_GROUP: u32 = 1;
/// Room for news that came while we were busy. A container's start makes about twenty messages of 2 KiB.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Room for one datagram of news: a device's message is about 2 KiB, more with many virtual functions.
const DATAGRAM_BYTES: usize = 64 << 10;
/// `NETLINK_LISTEN_ALL_NSID` of linux/netlink.h: the option, and the control message that carries the number.
const NETLINK_LISTEN_ALL_NSID: libc::c_int = 8;

/// How long to wait before it is tried again to wait for changes.
const RETRY: Duration = Duration::from_millis(100);

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Namespaces were mounted or unmounted.
    Namespaces,
    /// A device changed, in the namespace that ours calls by this number (none: ours).
    Device(DeviceChange),
    /// News was lost because too much came at once: everything has to be looked at again.
    Overrun,
}

/// What changed about a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceChange {
    /// The namespace, as ours calls it; none for our own.
    pub nsid: Option<i32>,
    /// It happened after this. The kernel gives a namespace's number to another one as soon as it is free: news from
    /// before a namespace got its number is another's.
    pub after: Instant,
    /// The device there, without its addresses, of which such news does not tell.
    pub device: Device,
    /// It is gone from there.
    pub gone: bool,
    /// Its counters as the news has them. What the driver could no longer tell is missing.
    pub counters: Directions<Option<DeviceCounters>>,
}

impl DeviceChange {
    /// It counts no more, for it went or was taken down: its counters are its last word, until it is up again.
    #[must_use]
    pub const fn is_last_word(&self) -> bool {
        self.gone || !self.device.up
    }
}

/// Why changes cannot be heard of.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {source}")]
pub struct WatchError {
    what: &'static str,
    source: io::Error,
}

impl WatchError {
    fn no_event(source: impl Into<io::Error>) -> Self {
        Self {
            what: "make an event descriptor",
            source: source.into(),
        }
    }
}

/// Has the watch take in what waits. What it tells later is known to have happened after this was asked for, which it
/// would not be while nothing happens: the watch sleeps then, and cannot say for how long there was no news.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// One for a watch that is to be started.
    ///
    /// # Errors
    /// No descriptor could be had.
    pub fn new() -> Result<Self, WatchError> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(WatchError::no_event)?;
        Ok(Self(Arc::new(event)))
    }

    /// Nudges.
    pub fn wake(&self) {
        // Fails only if it was given 2^64 times and never taken.
        let _written = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    fn take(&self) {
        let _read = rustix::io::read(&*self.0, &mut [0; 8]);
    }
}

/// A running watch. Ends when dropped.
#[derive(Debug)]
pub struct Watch {
    shift: Shift,
    receives_all: bool,
    stop: OwnedFd,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watch {
    /// Starts a thread that calls `tell` for every change, in the order they happened, as the node's namespace on that
    /// file hears of it, and drains the socket when the waker says so.
    ///
    /// # Errors
    /// The kernel gives no netlink socket or no mount table. Without `CAP_NET_BROADCAST` only a warning is logged:
    /// changes in containers are then found by looking.
    pub fn start(
        node: &Path,
        waker: Waker,
        shift: Shift,
        tell: impl FnMut(Change) + Send + 'static,
    ) -> Result<Self, WatchError> {
        let failed = |what| move |source| WatchError { what, source };
        let (netlink, receives_all) = inside(node, listen)
            .map_err(io::Error::other)
            .flatten()
            .map_err(failed("listen to news of devices (rtnetlink)"))?;
        let mounts = File::open(MOUNT_TABLE).map_err(failed("open the mount table /proc/self/mountinfo"))?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(WatchError::no_event)?;
        let stopped = stop.try_clone().map_err(failed("copy an event descriptor"))?;
        let turns = shift.clone();
        let work = shift
            .clone()
            .watched(move || run(&netlink, &mounts, &stopped, &waker, &turns, tell));
        let thread = privilege::spawn("netns-watch", ThreadRole::Serve, work).map_err(failed("start a thread"))?;
        Ok(Self {
            shift,
            receives_all,
            stop,
            thread: Some(thread),
        })
    }

    /// Whether news of other namespaces' devices comes, too.
    #[must_use]
    pub const fn receives_all(&self) -> bool {
        self.receives_all
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Eight bytes into an empty event counter cannot fail.
        let _written = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            self.shift.join(thread);
        }
    }
}

fn listen() -> io::Result<(Socket, bool)> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_rx_buf_sz(i32::try_from(RECEIVE_BUFFER_BYTES).unwrap_or(i32::MAX))?;
    let all = socket.set_listen_all_namespaces(true);
    if let Err(error) = &all {
        warn!(
            %error,
            "cannot listen to other namespaces' devices: containers' new interfaces are found seconds late; \
             this needs CAP_NET_BROADCAST"
        );
    }
    socket.bind(&SocketAddr::new(0, LINK_GROUP))?;
    socket.set_non_blocking(true)?;
    Ok((socket, all.is_ok()))
}

fn run(netlink: &Socket, mounts: &File, stop: &OwnedFd, waker: &Waker, turns: &Shift, mut tell: impl FnMut(Change)) {
    let heartbeat = Timespec {
        tv_sec: HEARTBEAT.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    let mut buffer = vec![0; DATAGRAM_BYTES];
    let mut cannot_wait = false;
    // Nothing waited then: what comes happened after it.
    let mut empty_at = Instant::now();
    loop {
        let mut waiting = [
            PollFd::new(netlink, PollFlags::IN),
            PollFd::new(mounts, PollFlags::PRI),
            PollFd::new(stop, PollFlags::IN),
            PollFd::new(&*waker.0, PollFlags::IN),
        ];
        match poll(&mut waiting, Some(&heartbeat)) {
            Ok(_) => cannot_wait = false,
            Err(Errno::INTR) => {}
            // For want of memory, or because fewer descriptors are allowed than are waited for. What comes waits.
            Err(error) => {
                if !std::mem::replace(&mut cannot_wait, true) {
                    warn!(error = %io::Error::from(error), "cannot wait for changes in namespaces; will retry");
                }
                if rustix::io::read(stop, &mut [0; 8]).is_ok() {
                    return;
                }
                let _turn = turns.turn();
                thread::sleep(RETRY);
                continue;
            }
        }
        let _turn = turns.turn();
        let ready = waiting.each_ref().map(|entry| !entry.revents().is_empty());
        let [devices, namespaces, stopping, woken] = ready;
        if stopping {
            return;
        }
        if woken {
            waker.take();
        }
        // Devices first: what a container's device counted must be known before its namespace is given up.
        if devices || woken {
            hear(netlink, &mut buffer, &mut empty_at, &mut tell);
        }
        if namespaces {
            tell(Change::Namespaces);
        }
    }
}

/// Takes in everything that waits on the socket.
fn hear(netlink: &Socket, buffer: &mut [u8], empty_at: &mut Instant, tell: &mut impl FnMut(Change)) {
    loop {
        let now = Instant::now();
        match receive(netlink, buffer) {
            Ok((length, nsid)) => {
                for message in messages(&buffer[..length]) {
                    let Message::Answer(answer) = message else { continue };
                    let Some(LinkEvent { device, gone, counters }) = link_event(answer) else {
                        continue;
                    };
                    tell(Change::Device(DeviceChange {
                        nsid,
                        after: *empty_at,
                        device,
                        gone,
                        counters,
                    }));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                *empty_at = now;
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // ENOBUFS: the kernel dropped news. Whatever else it is, looking at everything again is right.
            Err(_) => {
                tell(Change::Overrun);
                return;
            }
        }
    }
}

/// Reads one datagram and the number of the namespace that it is of.
#[expect(unsafe_code, reason = "no library reads this control message")]
fn receive(netlink: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Option<i32>)> {
    /// Room for one control message of four bytes, aligned as the kernel wants it.
    #[repr(C, align(8))]
    struct Control([u8; 64]);

    let mut control = Control([0; 64]);
    let mut data = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeros is a valid msghdr: null pointers with zero lengths.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &raw mut data;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<Control>();
    // SAFETY: `header` points to `data` and `control`, and `data` to `buffer`, with their true lengths; all of them
    // live through the call, and nothing else refers to them.
    let length = unsafe { libc::recvmsg(netlink.as_raw_fd(), &raw mut header, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    if header.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
    }
    let mut nsid = None;
    // SAFETY: `header` was filled in by the kernel and still points to `control`; the macros stay within it.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !message.is_null() {
        // SAFETY: not null, and so a control message that lies wholly within `control`; its data is four bytes for
        // this type (netlink_cmsg_listen_all_nsid), read unaligned.
        unsafe {
            if (*message).cmsg_level == libc::SOL_NETLINK && (*message).cmsg_type == NETLINK_LISTEN_ALL_NSID {
                nsid = Some(libc::CMSG_DATA(message).cast::<i32>().read_unaligned());
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    Ok((length, nsid))
}
