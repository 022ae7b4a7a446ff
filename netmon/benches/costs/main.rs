//! Measures what netmon costs on this machine. Each figure stands beside its bound, in a table for people and in JSON
//! lines for machines (`target/bench.jsonl`). Figures that depend on the machine are given as ratios within one run.
//!
//! Run it with `cargo xtask bench`; it needs root. It creates its own network namespaces and removes them.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod dns;
mod edges;
mod page;
mod reference;
mod report;
mod workload;
mod world;

use std::{
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use netmon::{
    collectors::{
        self, Running,
        visit::{Counting, Tools},
    },
    datapath::{
        Datapath, SharedTracepoints, Tracepoints, WantedTracepoints, host::Host, overlay::SharedOverlay,
        protocols::ProtocolsProgram, yardstick,
    },
    model::format::Format,
    model::{
        collector::Collectors,
        counters::{Directions, Traffic},
        health::DockerHealth,
        programs::{Counts as _, Others},
    },
    netns::{enter::on_netns_thread, rtnetlink::Client},
    observe::{
        Shared,
        inventories::Inventories,
        read::protocols::ProtocolsReader,
        state::{Scope, State},
    },
    page::limits::{Caps, Limits},
    process,
    scrape::Sources,
};

use reference::Reference;
use report::Report;
use world::World;

/// Rounds, each with a hundred thousand runs of every program.
const PACKET_ROUNDS: usize = 100;
/// Datagrams to a port without a listener.
const DROPS: usize = 100_000;
/// Requests over one connection, each with an answer.
const REQUESTS: usize = 50_000;
/// Messages over one connection, without answers.
const MESSAGES: usize = 500_000;
/// Connections that are established and closed.
const CONNECTIONS: usize = 5_000;
/// The length of each request and answer.
const REQUEST_BYTES: usize = 1000;
/// Scrapes, of which only the fastest counts.
const SCRAPES: usize = 15;
/// Numbers of containers, with two interfaces each.
const CONTAINERS: [usize; 3] = [10, 100, 1000];
/// The number of containers for the comparison with the committed ratios. It is large enough to measure, and small
/// enough to stay in the caches.
const COMPARED: usize = 100;
/// The number of interfaces for measuring attachment.
const ATTACHMENTS: usize = 40;

fn main() -> anyhow::Result<()> {
    let mut report = Report::default();
    let host = Host::detect()?;
    let mode = host.mode();
    println!("{} CPUs, attaching by {}\n", host.cpus, mode.as_str());
    let mut datapath = Datapath::load(host, mode, 16_384, true, Others::unknown())?;

    let mut reference = Reference::read()?;
    packets(&mut report, &mut reference, &mut datapath)?;
    sent(&mut report, &mut datapath)?;
    dns::all(&mut report, &mut reference, &mut datapath)?;
    slots(&mut report, &mut reference, &mut datapath)?;
    events(&mut report, &mut reference, datapath.host().cpus)?;
    edges::all(&mut report, &mut reference, datapath.host().cpus)?;
    scrapes(&mut report, &mut reference, &datapath)?;
    attaching(&mut report, &mut datapath)?;

    print!("{report}");
    // cargo runs benchmarks in the folder of the package.
    report.write("../target/bench.jsonl".as_ref())?;
    reference.finish()?;
    report.verdict()
}

/// The cost of a packet, less that of an empty program on the same hook.
fn packets(report: &mut Report, reference: &mut Reference, datapath: &mut Datapath) -> anyhow::Result<()> {
    let runs = yardstick::per_packet(datapath, PACKET_ROUNDS)?;
    let of = |name: &str| {
        runs.iter()
            .find(|run| run.program == name)
            .map_or(f64::NAN, |run| run.nanoseconds)
    };
    let empty = of("empty");
    for (what, program, bound) in [
        ("packet, traffic_ingress over empty", "traffic_ingress", Some(5.0)),
        // The kernel's socket for such runs has no port: this is what a raw socket's packet costs, not a connection's.
        (
            "packet of a socket without a port, traffic_egress over empty",
            "traffic_egress",
            None,
        ),
        ("packet, hashed over empty", "hashed", None),
    ] {
        report.add(what, of(program) - empty, "ns", bound);
    }
    for (program, with_dns) in [
        ("traffic_ingress", "traffic_ingress, with DNS"),
        ("traffic_egress", "traffic_egress, with DNS"),
    ] {
        let what = format!("DNS: packet, what it adds to {program}");
        report.add(&what, of(with_dns) - of(program), "ns", Some(8.0));
    }
    for program in ["traffic_ingress", "traffic_egress"] {
        reference.add(
            report,
            &format!("packet, {program} over one with a hash lookup"),
            of(program),
            of("hashed"),
        );
    }
    Ok(())
}

/// The cost of a packet that a connection sends.
fn sent(report: &mut Report, datapath: &mut Datapath) -> anyhow::Result<()> {
    let world = World::new(1, 1)?;
    let runs = world.within(|| {
        yardstick::per_sent_packet(datapath, "lo", || {
            if let Err(error) = workload::messages(MESSAGES, REQUEST_BYTES) {
                println!("the packets could not be sent: {error}");
            }
        })
    })??;
    let of = |name: &str| runs.iter().find(|runs| name.starts_with(&runs.program));
    let time = |name: &str| of(name).map_or(f64::NAN, |runs| runs.nanoseconds);
    report.add(
        "a packet that a connection sends, over an empty program",
        time("traffic_egress") - time("empty"),
        "ns",
        Some(5.0),
    );
    Ok(())
}

/// The cost of rarer events: a dropped packet, a received acknowledgement, an established connection.
fn events(report: &mut Report, reference: &mut Reference, cpus: u32) -> anyhow::Result<()> {
    let runs = yardstick::per_event(cpus, |_| {
        // This runs in the machine's own namespace, over loopback, which makes no difference to the programs.
        let made = workload::drops(DROPS)
            .and_then(|()| workload::requests(REQUESTS, REQUEST_BYTES))
            .and_then(|()| workload::connections(CONNECTIONS));
        if let Err(error) = made {
            println!("the events could not be made: {error}");
        }
    })?;
    let of = |name: &str| runs.iter().find(|runs| name.starts_with(&runs.program));
    let time = |name: &str| of(name).map_or(f64::NAN, |runs| runs.nanoseconds);
    report.add("a dropped packet", time("drops_kfree_skb"), "ns", Some(140.0));
    report.add(
        "a dropped packet, over an empty program",
        time("drops_kfree_skb") - time("empty_drop"),
        "ns",
        None,
    );
    report.add(
        "a segment received (round-trip time)",
        time("tcp_round_trip"),
        "ns",
        None,
    );
    report.add(
        "a segment received, over an empty program",
        time("tcp_round_trip") - time("empty_segment"),
        "ns",
        None,
    );
    report.add("a connection's change of state", time("tcp_state"), "ns", None);
    for (what, program, empty) in [
        (
            "a dropped packet over an empty program",
            "drops_kfree_skb",
            "empty_drop",
        ),
        (
            "a segment received over an empty program",
            "tcp_round_trip",
            "empty_segment",
        ),
    ] {
        reference.add(report, what, time(program), time(empty));
    }
    // Both ends are on this machine, as on a node whose containers talk to each other.
    let segments = of("tcp_round_trip").map_or(f64::NAN, |runs| runs.count as f64) / REQUESTS as f64;
    let requests = 1e9 / 8.0 / (2 * REQUEST_BYTES) as f64;
    report.add(
        "TCP programs at 1 Gbit/s of requests and answers of 1,000 bytes",
        segments * requests * time("tcp_round_trip") / 1e9 * 100.0,
        "% of a core",
        None,
    );
    Ok(())
}

/// The cost of reading all counters of ten thousand interfaces.
fn slots(report: &mut Report, reference: &mut Reference, datapath: &mut Datapath) -> anyhow::Result<()> {
    let slots: Result<Vec<_>, _> = (0..10_000).map(|_| datapath.allocate()).collect();
    let slots = slots?;
    let best = best_of(50, || {
        slots.iter().fold(0_u64, |sum, slot| {
            sum.wrapping_add(slot.counters().read().receive.packets)
        })
    });
    report.add(
        "reading the counters of 10,000 interfaces",
        milliseconds(best),
        "ms",
        Some(1.0),
    );
    // The yardstick: the same amount of memory, read in the same way.
    let figures = slots.len() * 2 * size_of::<Traffic>() / size_of::<u64>() * datapath.host().cpus as usize;
    let plain: Vec<_> = (0..figures as u64).map(AtomicU64::new).collect();
    let yardstick = best_of(50, || {
        plain
            .iter()
            .fold(0_u64, |sum, figure| sum.wrapping_add(figure.load(Ordering::Relaxed)))
    });
    reference.add(
        report,
        "reading counters over reading as much memory",
        milliseconds(best),
        milliseconds(yardstick),
    );
    Ok(())
}

/// The cost of a scrape with many containers, from the kernel to the page.
fn scrapes(report: &mut Report, reference: &mut Reference, datapath: &Datapath) -> anyhow::Result<()> {
    for containers in CONTAINERS {
        let world = World::new(containers, 2)?;
        let scope = Scope {
            containers: true,
            vxlan: true,
        };
        let shared = Shared::new(State::new(scope, Duration::ZERO));
        world.observe(&shared)?;
        let counting = Counting {
            maps: datapath.maps(),
            programs: datapath.programs(),
        };
        let wanted = Collectors::default();
        let sources = Sources {
            settings: Mutex::default(),
            protocols: Mutex::new(ProtocolsReader::new(
                ProtocolsProgram::load(datapath.host()),
                "/proc/self/ns/net".as_ref(),
            )),
            shared,
            tools: Tools {
                counting: Some(counting),
                counting_wanted: true,
                tracepoints: SharedTracepoints::new(Tracepoints::load(WantedTracepoints::ALL, datapath.host().cpus)?),
                overlay: SharedOverlay::new(datapath.load_overlay()?.map(|(map, _programs)| map)),
                most_edges: 0,
                findings: <_>::default(),
            },
            wanted: wanted.clone(),
            running: Mutex::new(Running::start(&wanted)),
            // All series are shown. A user with a thousand containers on a node raises the limit.
            limits: Mutex::new(Limits::new(Caps {
                series: 1_000_000,
                container_series: 400,
            })),
            scrapes: AtomicU64::new(0),
            no_reading: Mutex::default(),
            published: Inventories::default(),
            first_whole: OnceLock::new(),
        };
        let before = process::read()?.cpu_seconds;
        let reading = best_of(SCRAPES, || sources.scrape(&DockerHealth::default()));
        let scraped = sources.scrape(&DockerHealth::default());
        let page = collectors::page(scraped.rows.clone(), &scraped.health, &wanted);
        let encoding = best_of(SCRAPES, || page.text(Format::OpenMetrics));
        let cpu = (process::read()?.cpu_seconds - before) / (2 * SCRAPES + 1) as f64 * 2.0;
        let page = page.text(Format::OpenMetrics);
        let interfaces = page
            .lines()
            .filter(|line| line.starts_with("netmon_container_interface_info{"));
        anyhow::ensure!(
            interfaces.clone().count() == containers * 2,
            "{} interfaces",
            interfaces.count()
        );
        let series = page.lines().filter(|line| !line.starts_with('#')).count();

        let name = |what: &str| format!("{what}, {containers} containers");
        report.add(&name("reading devices"), milliseconds(reading), "ms", None);
        report.add(
            &name("reading a namespace"),
            milliseconds(reading) * 1000.0 / containers as f64,
            "us",
            None,
        );
        page::parts(report, containers, &sources, &scraped.health)?;
        report.add(&name("encoding"), milliseconds(encoding), "ms", None);
        report.add(
            &name("encoding a series"),
            encoding.as_secs_f64() * 1e9 / series as f64,
            "ns",
            None,
        );
        report.add(&name("series"), series as f64, "", None);
        if containers == COMPARED {
            let least = best_of(SCRAPES, || world.least());
            let (reading, least) = (milliseconds(reading), milliseconds(least));
            reference.add(
                report,
                "reading a namespace over the least that it takes",
                reading,
                least,
            );
            let lines = best_of(SCRAPES, || workload::lines(series));
            reference.add(
                report,
                "encoding a series over formatting such a line",
                milliseconds(encoding),
                milliseconds(lines),
            );
        }
        report.add(
            &name("CPU of a scrape"),
            cpu * 1000.0,
            "ms",
            (containers == 1000).then_some(30.0),
        );
    }
    Ok(())
}

/// The cost of attaching programs to interfaces and of detaching them.
fn attaching(report: &mut Report, datapath: &mut Datapath) -> anyhow::Result<()> {
    let world = World::new(ATTACHMENTS / 2, 2)?;
    let mut attachments = Vec::new();
    let mut times = Vec::new();
    on_netns_thread(|thread| -> anyhow::Result<()> {
        for (path, devices) in world.namespaces() {
            thread.enter(&path)?;
            for (name, ifindex) in devices {
                let begin = Instant::now();
                attachments.push(datapath.attach(&name, ifindex, None, &Directions::default())?);
                times.push(begin.elapsed());
            }
        }
        Ok(())
    })??;
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    report.add("attaching to one interface (median)", milliseconds(median), "ms", None);
    let begin = Instant::now();
    let count = attachments.len();
    drop(attachments);
    report.add(
        "letting go of one interface",
        milliseconds(begin.elapsed()) / count as f64,
        "ms",
        None,
    );
    // The thread of this benchmark is still in the namespace that it started in.
    Client::open()?.netns()?;
    Ok(())
}

fn best_of<T>(rounds: usize, mut work: impl FnMut() -> T) -> Duration {
    let times = (0..rounds).map(|_| {
        let begin = Instant::now();
        std::hint::black_box(work());
        begin.elapsed()
    });
    times.min().unwrap_or_default()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
