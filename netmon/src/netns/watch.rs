//! Receives changes as they happen: namespaces that are created and deleted, devices that are created, deleted or set
//! down.
//!
//! There are two sources, because neither is sufficient. The mount table shows namespaces: the engine mounts each one
//! it creates, and `poll` wakes on every mount. (inotify would report the file before the mount. It would not report
//! a second mount over the same file.)
//!
//! rtnetlink reports the devices of every namespace that has an nsid in ours (`NETLINK_LISTEN_ALL_NSID`, needs
//! `CAP_NET_BROADCAST`). A container's namespace gets an nsid when a veth connects it to ours. These messages carry
//! the device's counters. The last one does too, when the device can no longer be queried.

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
    net::sockopt,
};
use socket2::{SockFilter, SockRef};
use tracing::warn;

use super::{
    enter::inside,
    rtnetlink::{LinkEvent, Message, link_event, messages},
};
use crate::{
    model::netns::DeviceChange,
    privilege::{self, ThreadRole},
    workers::{HEARTBEAT, Shift},
};

/// The mount table of netmon's own mount namespace. The netns directory is read in the same one.
const MOUNT_TABLE: &str = "/proc/self/mountinfo";
/// `RTMGRP_LINK`: messages about devices.
pub(super) const LINK_GROUP: u32 = 1;
/// Room for messages that arrive while the thread is busy. The start of a container causes about twenty messages of 2
/// KiB.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// The largest message that is taken. A device's has about 2 KiB. Alternative names make it larger: a container may
/// give its devices up to 64 KiB of them, and would fill the buffer with a few dozen messages. Such a device is read at
/// the next round. Nobody else misses a message for it.
const MOST_BYTES: u32 = 16 << 10;
/// Room for one datagram.
const DATAGRAM_BYTES: usize = MOST_BYTES as usize;
/// `NETLINK_LISTEN_ALL_NSID` of linux/netlink.h: the socket option, and the control message with the nsid.
const NETLINK_LISTEN_ALL_NSID: libc::c_int = 8;

/// The pause before polling again after an error.
const RETRY: Duration = Duration::from_millis(100);

/// A change that the watch reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Namespaces were mounted or unmounted.
    Namespaces,
    /// A device changed.
    Device(Box<DeviceChange>),
    /// Messages were lost because too many arrived at once. Everything has to be read again.
    Overrun,
}

/// Why changes cannot be received.
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

/// Makes the watch read all waiting messages. Every later change is then known to have happened after this call.
/// Without it the watch sleeps while nothing happens, and does not know how long the socket was empty.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Creates a waker for a watch that is not started yet.
    ///
    /// # Errors
    /// No file descriptor is free.
    pub fn new() -> Result<Self, WatchError> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(WatchError::no_event)?;
        Ok(Self(Arc::new(event)))
    }

    /// Wakes the watch.
    pub fn wake(&self) {
        // Fails only when the counter is full, after 2^64 calls that were never read.
        let _written = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    fn take(&self) {
        let _read = rustix::io::read(&*self.0, &mut [0; 8]);
    }
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    shift: Shift,
    receives_all: bool,
    stop: OwnedFd,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watch {
    /// Starts a thread that calls `report` for every change, in the order of the changes. It receives them in the
    /// node's namespace, which is mounted on `node`. It also reads the socket when the waker is called.
    ///
    /// # Errors
    /// The kernel gives no netlink socket or no mount table. Without `CAP_NET_BROADCAST` only a warning is logged:
    /// changes in containers are then found by periodic reads.
    pub fn start(
        node: &Path,
        waker: Waker,
        shift: Shift,
        report: impl FnMut(Change) + Send + 'static,
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
            .watched(move || run(&netlink, &mounts, &stopped, &waker, &turns, report));
        let thread = privilege::spawn("netns-watch", ThreadRole::Serve, work).map_err(failed("start a thread"))?;
        Ok(Self {
            shift,
            receives_all,
            stop,
            thread: Some(thread),
        })
    }

    /// Whether changes of other namespaces' devices are received too.
    #[must_use]
    pub const fn receives_all(&self) -> bool {
        self.receives_all
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Writing eight bytes to an empty eventfd cannot fail.
        let _written = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            self.shift.join(thread);
        }
    }
}

fn listen() -> io::Result<(Socket, bool)> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    SockRef::from(&socket).attach_filter(&up_to(MOST_BYTES))?;
    // Distributions limit what a socket may ask for (`net.core.rmem_max`) to 208 KiB, and cap it without an error.
    if let Err(error) = sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES) {
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
        warn!(
            error = %io::Error::from(error),
            "cannot make room for many messages of the kernel: bursts of starting containers may be too much for netmon; \
             this needs CAP_NET_ADMIN"
        );
    }
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

/// A filter for messages up to a length: "load the length; is it greater; refuse; accept".
const fn up_to(bytes: u32) -> [SockFilter; 4] {
    // BPF_LD | BPF_W | BPF_LEN, BPF_JMP | BPF_JGT | BPF_K, and BPF_RET | BPF_K of linux/bpf_common.h.
    const LOAD_LENGTH: u16 = 0x80;
    const IS_GREATER: u16 = 0x25;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_LENGTH, 0, 0, 0),
        SockFilter::new(IS_GREATER, 0, 1, bytes),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

fn run(netlink: &Socket, mounts: &File, stop: &OwnedFd, waker: &Waker, turns: &Shift, mut report: impl FnMut(Change)) {
    let heartbeat = Timespec {
        tv_sec: HEARTBEAT.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    let mut buffer = vec![0; DATAGRAM_BYTES];
    let mut cannot_wait = false;
    // A moment when no message was waiting. Messages received later are from after it.
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
            // There is no memory, or fewer descriptors are permitted than are polled. Messages stay in the socket
            // meanwhile.
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
        // Devices come first. The counters of a container's device must be recorded before its namespace is dropped.
        if devices || woken {
            receive_all(netlink, &mut buffer, &mut empty_at, &mut report);
        }
        if namespaces {
            report(Change::Namespaces);
        }
    }
}

/// Reads all messages that wait on the socket.
fn receive_all(netlink: &Socket, buffer: &mut [u8], empty_at: &mut Instant, report: &mut impl FnMut(Change)) {
    loop {
        let now = Instant::now();
        match receive(netlink, buffer) {
            Ok((length, nsid)) => {
                for message in messages(&buffer[..length]) {
                    let Message::Answer(answer) = message else { continue };
                    let Some(LinkEvent { device, gone, counters }) = link_event(answer) else {
                        continue;
                    };
                    report(Change::Device(Box::new(DeviceChange {
                        nsid,
                        after: *empty_at,
                        device,
                        gone,
                        counters,
                    })));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                *empty_at = now;
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // ENOBUFS: the kernel dropped messages. After any other error a full read is right too.
            Err(_) => {
                report(Change::Overrun);
                return;
            }
        }
    }
}

/// Reads one datagram and the nsid of the namespace it is about.
#[expect(unsafe_code, reason = "no library reads this control message")]
fn receive(netlink: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Option<i32>)> {
    /// Room for one control message of four bytes, with the alignment that the kernel requires.
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
