//! A path with a delay: a thread passes frames between two devices of a namespace, each after a while.
//!
//! For kernels without netem. It copies frames through user space: some thousand a second, and none is lost.

use std::{
    collections::VecDeque,
    io,
    mem::{size_of, zeroed},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};

use crate::netns::Netns;

/// The size of the largest frame. The devices at both ends must segment larger ones themselves.
const FRAME: usize = 65_536;
/// How long the thread sleeps when it has nothing to do.
const NAP: Duration = Duration::from_micros(200);

/// A running relay. It stops when this is dropped.
#[derive(Debug)]
pub struct Relay {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Connects two devices of the namespace, with that delay in each direction.
    ///
    /// # Errors
    /// There are no such devices.
    pub fn start(netns: &Netns, [one, other]: [&str; 2], delay: Duration) -> anyhow::Result<Self> {
        let indices = [one, other].map(|device| netns.ifindex(device));
        let [one, other] = indices.map(|index| index.and_then(|index| Ok(i32::try_from(index)?)));
        let (one, other) = (one?, other?);
        let ends = netns.within(|| Ok([open(one)?, open(other)?]))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("relay".to_owned()).spawn(move || {
            let [one, other] = &ends;
            let mut ways = [Way::new(one, other), Way::new(other, one)];
            while !stopped.load(Ordering::Relaxed) {
                let busy = ways.each_mut().map(|way| way.step(delay));
                if !busy.contains(&true) {
                    thread::sleep(NAP);
                }
            }
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join().map_err(|_| anyhow!("the relay panicked")));
        }
    }
}

/// One direction of the relay.
struct Way<'a> {
    from: &'a OwnedFd,
    to: &'a OwnedFd,
    waiting: VecDeque<(Instant, Vec<u8>)>,
    buffer: Vec<u8>,
}

impl<'a> Way<'a> {
    fn new(from: &'a OwnedFd, to: &'a OwnedFd) -> Self {
        Self {
            from,
            to,
            waiting: VecDeque::new(),
            buffer: vec![0; FRAME],
        }
    }

    /// Receives frames, and sends those whose delay is over. Returns whether there were any.
    fn step(&mut self, delay: Duration) -> bool {
        let mut busy = false;
        while let Ok(length) = rustix::io::read(self.from, &mut self.buffer[..]) {
            self.waiting
                .push_back((Instant::now() + delay, self.buffer[..length].to_vec()));
            busy = true;
        }
        while let Some((due, frame)) = self.waiting.front() {
            if *due > Instant::now() || rustix::io::write(self.to, frame).is_err() {
                break;
            }
            self.waiting.pop_front();
            busy = true;
        }
        busy
    }
}

/// A socket that sends and receives a device's frames.
#[expect(unsafe_code, reason = "no library has addresses of link-layer sockets")]
fn open(ifindex: i32) -> anyhow::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let fd = unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            0,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error()).context("no link-layer socket can be had");
    }
    // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the struct has only integers and arrays of integers, for which all zeros is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET.try_into()?;
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL)?.to_be();
    address.sll_ifindex = ifindex;
    let length = size_of::<libc::sockaddr_ll>().try_into()?;
    // SAFETY: `address` lives through the call, and `length` is its size.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    // The relay must not receive its own frames (PACKET_IGNORE_OUTGOING).
    let yes: libc::c_int = 1;
    // SAFETY: `yes` lives through the call, and the length is its size.
    let deaf = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_IGNORE_OUTGOING,
            (&raw const yes).cast(),
            size_of::<libc::c_int>().try_into()?,
        )
    };
    if bound != 0 || deaf != 0 {
        return Err(io::Error::last_os_error()).context("a link-layer socket cannot be bound");
    }
    Ok(socket)
}

/// From `linux/if_packet.h`, since Linux 4.20.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
