//! Many short connections between two containers, both ways at once, over IPv4 and IPv6. Must not know what is counted.

use std::{
    io::Read as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use netmon_tests::netns::Netns;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{listen, sockopt::set_socket_linger},
};

use crate::world::Member;

/// The port of a server that waits until the other end closes, and of one that closes at once.
const PATIENT: u16 = 5311;
const HASTY: u16 = 5312;
/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long a server waits at once. Then it looks whether the load is over.
const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Connections that are made and closed as fast as the machine can.
pub(super) struct Load {
    is_over: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    clients: Vec<JoinHandle<std::io::Result<()>>>,
    servers: Vec<JoinHandle<()>>,
    servers_over: Arc<AtomicBool>,
    begin: Instant,
}

impl Load {
    pub(super) fn start(a: &Member, b: &Member) -> anyhow::Result<Self> {
        let mut load = Self {
            is_over: Arc::default(),
            made: Arc::default(),
            clients: Vec::new(),
            servers: Vec::new(),
            servers_over: Arc::default(),
            begin: Instant::now(),
        };
        for member in [a, b] {
            // Otherwise the client's ports run out within seconds, and the kernel's list has a line for each.
            member
                .netns
                .run("sysctl -qw net.ipv4.tcp_max_tw_buckets=1000 net.ipv4.tcp_tw_reuse=1")?;
            for (port, is_patient) in [(PATIENT, true), (HASTY, false)] {
                for address in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
                    load.serve(&member.netns, SocketAddr::new(address, port), is_patient)?;
                }
            }
        }
        for (client, server) in [(a, b), (b, a)] {
            load.connect(&client.netns, [server.address, server.ipv6_address]);
        }
        Ok(load)
    }

    fn serve(&mut self, netns: &Netns, address: SocketAddr, is_patient: bool) -> anyhow::Result<()> {
        let listener = netns.within(|| {
            let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.bind(&address.into())?;
            listen(&socket, BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(TcpListener::from(socket))
        })?;
        let is_over = Arc::clone(&self.servers_over);
        self.servers.push(thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                match listener.accept() {
                    // An error is the client's reset.
                    Ok((mut stream, _)) if is_patient => drop(stream.read(&mut [0])),
                    Ok(_) => {}
                    Err(_) => {
                        let _ = poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&PAUSE));
                    }
                }
            }
        }));
        Ok(())
    }

    fn connect(&mut self, netns: &Netns, servers: [IpAddr; 2]) {
        let (is_over, made) = (Arc::clone(&self.is_over), Arc::clone(&self.made));
        let path = netns.path().to_path_buf();
        self.clients.push(thread::spawn(move || {
            let netns = Netns::of_others(&path);
            netns.enter().map_err(std::io::Error::other)?;
            for number in 0_usize.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                one(servers[number % 2], number / 2)?;
                made.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }));
    }

    /// Ends the load. Returns how many connections there were, and how many a second.
    pub(super) fn stop(mut self) -> anyhow::Result<(u64, f64)> {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().ok().context("a client panicked")?.context("a client")?;
        }
        let made = self.made.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = made as f64 / self.begin.elapsed().as_secs_f64();
        Ok((made, rate))
    }
}

/// Makes a connection that ends in one of four ways: with a reset, or closed by this end first, or by the other one.
fn one(server: IpAddr, number: usize) -> std::io::Result<()> {
    let port = if number % 4 == 3 { HASTY } else { PATIENT };
    let mut stream = TcpStream::connect((server, port))?;
    match number % 4 {
        0 | 2 => set_socket_linger(&stream, Some(Duration::ZERO))?,
        3 => drop(stream.read(&mut [0])),
        _ => {}
    }
    Ok(())
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            drop(client.join());
        }
        self.servers_over.store(true, Ordering::Relaxed);
        for server in self.servers.drain(..) {
            drop(server.join());
        }
    }
}
