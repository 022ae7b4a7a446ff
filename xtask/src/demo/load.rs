//! The demo's traffic: steady, gentle, and of every kind, until it is stopped. Owns which containers talk to each
//! other.
//!
//! Must not know how anything is wired. A round that fails is not an error: losses are part of the demo.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, Scope},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use netmon_tests::{
    netns::Netns,
    resolver::{self, ENGINES, Resolver},
};

use super::{
    network::{API, BACKEND, CACHE, DB, FRONTEND, NOWHERE, Plan, UNREACHABLE},
    topology::Topology,
};
use crate::sh;

/// The port that servers listen on.
const PORT: u16 = 8080;
/// Types of DNS queries.
const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
/// Size of a request and of its answer in bytes. The answer is long enough for the sender to leave segmentation to
/// the device.
const REQUEST: usize = 300;
const ANSWER: usize = 30_000;
/// Size of a datagram in bytes, and of one that fills a packet of 1500 bytes.
const DATAGRAM: usize = 400;
const LONG_DATAGRAM: usize = 1472;
/// The interval of frequent traffic, and of rare traffic.
const OFTEN: Duration = Duration::from_millis(200);
const SELDOM: Duration = Duration::from_secs(1);
/// How long an answer may take. Ending the demo may take as long, too.
const PATIENCE: Duration = Duration::from_millis(800);
/// How long the short-lived container lives, and how long the pause after it is.
const PHASE: Duration = Duration::from_secs(5);

/// Starts all of the traffic.
pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>, topology: &'scope Topology, stop: &'scope AtomicBool) {
    let Topology {
        web: [web1, web2],
        api,
        cache,
        db,
        ..
    } = topology;
    for (place, name) in [(api, "api"), (cache, "cache"), (db, "db")] {
        within(scope, place, format!("the server of {name}"), move || serve(stop));
        within(scope, place, format!("the echo of {name}"), move || echo(stop));
    }
    let cache6 = FRONTEND.ipv6(CACHE).and_then(|it| it.parse().ok());
    let cache6 = cache6.map_or(FRONTEND.at(CACHE), IpAddr::V6);
    let flows: [(&Netns, &str, IpAddr); 5] = [
        (web1, "shop_web.1", BACKEND.at(API)),
        (web2, "shop_web.2", BACKEND.at(API)),
        (web1, "shop_web.1", cache6),
        (web2, "shop_web.2", FRONTEND.at(CACHE)),
        (api, "shop_api.1", BACKEND.at(DB)),
    ];
    for (place, name, to) in flows {
        within(scope, place, format!("{name}'s requests to {to}"), move || {
            every(OFTEN, stop, || request(to));
            Ok(())
        });
        within(scope, place, format!("{name}'s datagrams to {to}"), move || {
            let socket = socket(to)?;
            every(OFTEN, stop, || ask(&socket, to));
            Ok(())
        });
        scope.spawn(move || every(SELDOM, stop, || place.run(&format!("ping -q -n -c 1 -W 1 {to}"))));
    }
    let lost: [(&Netns, &str, IpAddr, usize); 4] = [
        (web1, "shop_web.1", FRONTEND.at(CACHE), LONG_DATAGRAM),
        (web2, "shop_web.2", FRONTEND.at(CACHE), LONG_DATAGRAM),
        (api, "shop_api.1", BACKEND.at(NOWHERE), DATAGRAM),
        (api, "shop_api.1", BACKEND.at(UNREACHABLE), DATAGRAM),
    ];
    for (place, name, to, size) in lost {
        within(scope, place, format!("{name}'s lost datagrams to {to}"), move || {
            let socket = socket(to)?;
            every(SELDOM, stop, || socket.send_to(&vec![0; size], (to, PORT)));
            Ok(())
        });
    }
    names(scope, topology, stop);
    scope.spawn(move || tell("the container that comes and goes", jobs(topology, stop)));
}

/// What the resolver is to answer, and the type of the query.
type Queries = [(&'static str, u16); 2];

/// Starts resolvers, and containers that ask them for names. The resolver on the other node leaves some queries without a response.
fn names<'scope>(scope: &'scope Scope<'scope, '_>, topology: &'scope Topology, stop: &'scope AtomicBool) {
    let Topology {
        web: [web1, web2],
        api,
        db,
        ..
    } = topology;
    let outside = SocketAddr::new(BACKEND.at(DB), resolver::PORT);
    for (place, name, address) in [
        (web1, "shop_web.1", ENGINES),
        (web2, "shop_web.2", ENGINES),
        (api, "shop_api.1", ENGINES),
        (db, "the other node", outside),
    ] {
        let what = format!("the resolver of {name}");
        scope.spawn(move || tell(&what, resolve(place, address.ip(), stop)));
    }
    let asked: [(&Netns, &str, SocketAddr, Queries, Duration); 4] = [
        (web1, "shop_web.1", ENGINES, [("noerror", A), ("noerror", AAAA)], OFTEN),
        (web2, "shop_web.2", ENGINES, [("noerror", A), ("noerror", AAAA)], OFTEN),
        (api, "shop_api.1", ENGINES, [("nxdomain", A), ("noerror", A)], SELDOM),
        (api, "shop_api.1", outside, [("noerror", PTR), ("silent", A)], SELDOM),
    ];
    for (place, name, resolver, queries, interval) in asked {
        let what = format!("{name}'s queries to {}", resolver.ip());
        within(scope, place, what, move || {
            let mut id = 0_u16;
            every(interval, stop, || {
                queries.iter().try_for_each(|(answer, kind)| {
                    id = id.wrapping_add(1);
                    resolver::ask(resolver, &resolver::query(id, answer, *kind, None), PATIENCE).map(drop)
                })
            });
            Ok(())
        });
    }
}

/// Answers for names until the demo is over.
fn resolve(place: &Netns, address: IpAddr, stop: &AtomicBool) -> anyhow::Result<()> {
    let _resolver = Resolver::start(place, address, Duration::from_millis(1))?;
    every(OFTEN, stop, || anyhow::Ok(()));
    Ok(())
}

impl Plan {
    fn at(&self, last: u8) -> IpAddr {
        self.ip(last).into()
    }
}

/// Runs `run` on a thread of its own in the container's namespace.
fn within<'scope>(
    scope: &'scope Scope<'scope, '_>,
    place: &'scope Netns,
    what: String,
    run: impl FnOnce() -> anyhow::Result<()> + Send + 'scope,
) {
    scope.spawn(move || tell(&what, place.enter().and_then(|()| run())));
}

fn tell(what: &str, ended: anyhow::Result<()>) {
    if let Err(error) = ended {
        sh::say(format!("The demo goes on without {what}: {error:#}"));
    }
}

/// Calls `act` again and again, whether it succeeds or fails.
fn every<T, E>(interval: Duration, stop: &AtomicBool, mut act: impl FnMut() -> Result<T, E>) {
    while !stop.load(Ordering::Relaxed) {
        drop(act());
        thread::sleep(interval);
    }
}

/// Answers requests, over IPv4 too.
fn serve(stop: &AtomicBool) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).context("it cannot listen")?;
    listener.set_nonblocking(true)?;
    every(Duration::from_millis(20), stop, || -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.read_exact(&mut [0; REQUEST])?;
        stream.write_all(&vec![0; ANSWER])
    });
    Ok(())
}

fn request(to: IpAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(to, PORT), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[0; REQUEST])?;
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::with_capacity(ANSWER)).map(drop)
}

/// Sends datagrams back, over IPv4 too.
fn echo(stop: &AtomicBool) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)).context("it cannot listen")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut datagram = [0; LONG_DATAGRAM];
    every(Duration::ZERO, stop, || {
        let (length, from) = socket.recv_from(&mut datagram)?;
        socket.send_to(&datagram[..length], from)
    });
    Ok(())
}

fn ask(socket: &UdpSocket, to: IpAddr) -> io::Result<()> {
    socket.send_to(&[0; DATAGRAM], (to, PORT))?;
    socket.recv(&mut [0; LONG_DATAGRAM]).map(drop)
}

fn socket(to: IpAddr) -> anyhow::Result<UdpSocket> {
    let any: IpAddr = match to {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).context("it has no socket")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Runs a container for some seconds, then pauses, over and over.
fn jobs(topology: &Topology, stop: &AtomicBool) -> anyhow::Result<()> {
    let during = |phase: Duration, act: &dyn Fn()| {
        let begin = Instant::now();
        while begin.elapsed() < phase && !stop.load(Ordering::Relaxed) {
            act();
            thread::sleep(OFTEN);
        }
    };
    for run in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (container, netns) = topology.start_job(run)?;
        netns.within(|| {
            during(PHASE, &|| drop(request(BACKEND.at(API))));
            Ok(())
        })?;
        // The engine removes the namespace before it reports that the container ended.
        drop(netns);
        topology.engine.end_container(&container.name);
        during(PHASE, &|| {});
    }
    Ok(())
}
