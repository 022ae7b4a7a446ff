//! What connections by their two ends cost: each connection, each one that is open at a scrape, and the page.
//!
//! The two ends are in namespaces of their own, because connections over loopback are no edges.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use netmon::{
    collectors::edges::yardstick::EdgesOfNode,
    datapath::{
        Tracepoints, WantedTracepoints,
        yardstick::{self, Runs},
    },
    netns::{
        enter::{inside, on_netns_thread},
        rtnetlink::Client,
    },
    page::rows::Rows,
};
use netmon_common::edges::Connection;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{SCRAPES, best_of, milliseconds, page::least, reference::Reference, report::Report, world::ip};

/// Connections that are established and closed, twice. A client has a port for each, for a while after its end.
const CONNECTIONS: usize = 10_000;
/// Connections that are open at once. Both of their ends are on this machine.
const OPEN: usize = 5_000;
/// Edges between services on a page: the default of `--limit.edges`.
const EDGES: usize = 2_000;

/// The ends' namespaces.
const NAMES: [&str; 2] = ["netmon-bench-client", "netmon-bench-server"];
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2)), 5300);

/// Two namespaces and a cable.
struct Ends {
    paths: [PathBuf; 2],
}

impl Ends {
    fn new() -> anyhow::Result<Self> {
        let [client, server] = NAMES;
        ip(&[], &format!("netns add {client}\nnetns add {server}\n"))?;
        let ends = Self {
            paths: NAMES.map(|name| PathBuf::from("/run/netns").join(name)),
        };
        ip(
            &["-n", client],
            &format!(
                "link add eth0 type veth peer name eth0 netns {server}\naddr add 10.99.0.1/24 dev eth0\nlink set eth0 up\n"
            ),
        )?;
        ip(&["-n", server], "addr add 10.99.0.2/24 dev eth0\nlink set eth0 up\n")?;
        Ok(ends)
    }

    /// Makes both namespaces those of containers.
    fn watch(&self, tracepoints: &mut Tracepoints) -> anyhow::Result<()> {
        for path in &self.paths {
            let (netns, devices) = on_netns_thread(|thread| -> anyhow::Result<_> {
                thread.enter(path)?;
                let mut client = Client::open()?;
                Ok((client.netns()?, client.devices()?.devices))
            })??;
            tracepoints.watch(netns);
            let addresses: Vec<_> = devices
                .iter()
                .flat_map(|device| device.addresses.iter().map(|address| (*address, device.ifindex)))
                .collect();
            tracepoints.set_addresses(netns, &addresses);
        }
        Ok(())
    }

    /// Establishes so many connections, and does something with both ends of each.
    fn connect(&self, count: usize, mut done: impl FnMut([TcpStream; 2]) + Send) -> anyhow::Result<()> {
        let [client, server] = &self.paths;
        let listener = inside(server, || TcpListener::bind(SERVER))??;
        inside(client, || -> io::Result<()> {
            for _ in 0..count {
                let client = TcpStream::connect(SERVER)?;
                let (server, _) = listener.accept()?;
                done([client, server]);
            }
            Ok(())
        })??;
        Ok(())
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        for name in NAMES {
            if let Err(error) = ip(&[], &format!("netns del {name}\n")) {
                println!("the namespace {name} is left over: {error}");
            }
        }
    }
}

/// All of it.
pub(crate) fn all(report: &mut Report, reference: &mut Reference, cpus: u32) -> anyhow::Result<()> {
    connections(report, reference, cpus)?;
    open(report, cpus)?;
    page(report);
    Ok(())
}

/// The cost of a connection to each of its two ends.
fn connections(report: &mut Report, reference: &mut Reference, cpus: u32) -> anyhow::Result<()> {
    let ends = Ends::new()?;
    let (mut made, mut made_again) = (Ok(()), Ok(()));
    let runs = yardstick::per_event(cpus, |tracepoints| {
        made = ends.watch(tracepoints).and_then(|()| ends.connect(CONNECTIONS, drop));
    })?;
    let stored = yardstick::per_stored(|| made_again = ends.connect(CONNECTIONS, drop))?;
    made.and(made_again)?;
    let of = |runs: &[Runs], name: &str| {
        let programs = runs.iter().filter(|run| run.program.starts_with(name));
        let nanoseconds: f64 = programs.map(|run| run.count as f64 * run.nanoseconds).sum();
        nanoseconds / (2 * CONNECTIONS) as f64
    };
    let (programs, storage) = (of(&runs, "edge_"), of(&stored, "stored"));
    report.add("edges: a connection, for each of its ends", programs, "ns", None);
    reference.add(
        report,
        "a connection by its ends over the storage that it needs",
        programs,
        storage,
    );
    Ok(())
}

/// What open connections cost: time in a scrape, and memory.
fn open(report: &mut Report, cpus: u32) -> anyhow::Result<()> {
    let most = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: most.maximum,
            ..most
        },
    )?;
    let ends = Ends::new()?;
    let memory = |wanted| -> anyhow::Result<(Tracepoints, Vec<[TcpStream; 2]>, u64)> {
        let mut tracepoints = Tracepoints::load(wanted, cpus)?;
        ends.watch(&mut tracepoints)?;
        let mut open = Vec::with_capacity(OPEN);
        let before = allocated()?;
        ends.connect(OPEN, |both| open.push(both))?;
        Ok((tracepoints, open, allocated()?.saturating_sub(before)))
    };
    let (without, connections, sockets) = memory(WantedTracepoints::default())?;
    drop((without, connections));
    let (tracepoints, connections, with_storage) = memory(WantedTracepoints {
        edges: true,
        ..WantedTracepoints::default()
    })?;
    let ends = 2 * OPEN;
    let memory = with_storage.saturating_sub(sockets) as f64 / ends as f64;
    ensure!(
        memory > size_of::<Connection>() as f64,
        "the kernel has the storage of sockets in other caches"
    );
    report.add("edges: memory of a socket", memory, "bytes", Some(400.0));
    let mut map = tracepoints.edges.context("this kernel has no edges")?;
    let read = map.read()?;
    let live: u64 = read.edges.iter().map(|edge| edge.live).sum();
    ensure!(live == ends as u64, "{live} of {ends} ends are counted");
    let mut failed = Ok(());
    let best = best_of(SCRAPES, || {
        if let Err(error) = map.read() {
            failed = Err(error);
        }
    });
    failed?;
    report.add(
        "edges: reading 10,000 open sockets",
        milliseconds(best),
        "ms",
        Some(6.0),
    );
    drop(connections);
    Ok(())
}

/// What the kernel has allocated for small objects that it charges to somebody, as the storage of sockets.
fn allocated() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/slabinfo")?;
    let caches = text.lines().filter(|line| line.starts_with("kmalloc-cg-"));
    let bytes = caches.map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let active: u64 = words.next()?.parse().ok()?;
        let size: u64 = words.nth(1)?.parse().ok()?;
        Some(active * size)
    });
    bytes.sum::<Option<u64>>().context("/proc/slabinfo has another form")
}

/// What the most edges add to a page. On each something has happened since the last one.
fn page(report: &mut Report) {
    let mut node = EdgesOfNode::new(EDGES, Instant::now());
    drop(node.scrape());
    let mut rows: Vec<Rows> = Vec::new();
    let joined = least(|| rows = node.scrape());
    let mut add = |what: &str, time| {
        let name = format!("edges: {what}, {EDGES} edges");
        report.add(&name, milliseconds(time), "ms", None);
    };
    add("rows", joined);
    let sort = || rows.iter().map(|rows| rows.sorted().of(0).count()).sum::<usize>();
    add("labels and their order", least(sort));
    let series: usize = rows.iter().map(Rows::lines).sum();
    report.add(&format!("edges: series, {EDGES} edges"), series as f64, "", None);
}
