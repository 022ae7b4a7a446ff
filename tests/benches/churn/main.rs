//! What five thousand short-lived containers cost: the page, memory, the kernel's maps, and whether the sums are
//! right.
//!
//! Run with `cargo xtask bench churn`; needs root. The containers are real namespaces with real traffic, and the
//! engine is a fake one.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

#[path = "../../../netmon/benches/costs/report.rs"]
mod report;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use netmon_tests::{
    fake_engine::{Container, Endpoint, FakeEngine, Network, task_labels},
    netmon::Netmon,
    netns::Netns,
    page::Page,
    patience::within,
    scratch::Scratch,
    traffic,
};
use report::Report;

/// How many containers start and end, and how many exist at a time.
const CONTAINERS: usize = 5000;
const WORKERS: usize = 4;
/// The limit of series, and the linger. Far more containers linger than the page has room for.
const SERIES: usize = 5000;
const LINGER: Duration = Duration::from_mins(1);
/// One in so many packets may be missing: those of containers that end before their namespace gets an nsid.
const UNSEEN: f64 = 500.0;
/// How often a page is fetched.
const SCRAPES_EVERY: Duration = Duration::from_secs(2);
/// How many datagrams each container sends.
const DATAGRAMS: u32 = 5;
const DEVICE: &str = "eth0";
/// The maps of the kernel programs, and how many more keys they may have afterwards. Keys for drops in unwatched
/// namespaces, such as the bridge's here, stay until there are thousands.
const MAPS: [(&str, f64); 4] = [("TRAFFIC", 8.0), ("DROPS", 2048.0), ("TCP", 8.0), ("ADDRESSES", 8.0)];
/// The time by which netmon has returned free memory.
const THRIFT: Duration = Duration::from_secs(70);

/// The highest values seen.
#[derive(Debug, Default)]
struct Most {
    series: usize,
    bytes: usize,
    memory: u64,
    lingering: u64,
    over: u64,
    scrape: Duration,
}

fn main() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    let netmon = Netmon::start(&[
        ground.engine.flag(),
        format!("--docker.netns-dir={}", ground.folder.display()),
        format!("--limit.series={SERIES}"),
        format!("--container.linger={}s", LINGER.as_secs()),
    ])?;
    netmon.wait_ready()?;
    let before = Before {
        page: netmon.page()?,
        memory: netmon.memory()?,
        descriptors: netmon.descriptors()?,
    };
    let mut report = Report::default();
    churn(&mut report, &ground, &netmon, &before)?;
    aftermath(&mut report, &netmon, &before)?;
    print!("{report}");
    // cargo runs benchmarks in the package's folder.
    report.write("../target/bench-churn.jsonl".as_ref())?;
    report.verdict()
}

/// The engine, the bridge and the folder of the containers' namespaces.
struct Ground {
    // Fields are dropped in this order: namespaces before the folder that they are mounted in.
    engine: FakeEngine,
    bridge: Netns,
    folder: PathBuf,
    _scratch: Scratch,
}

impl Ground {
    fn new() -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        for folder in ["netns", "others"] {
            std::fs::create_dir(scratch.path().join(folder))?;
        }
        let engine = FakeEngine::start(scratch.path())?;
        engine.network(Network {
            name: "net".to_owned(),
            driver: "bridge".to_owned(),
            subnet: "10.77.0.0/16".to_owned(),
            ..Network::default()
        });
        let bridge = Netns::new(&scratch.path().join("others"), "bridge")?;
        bridge.run("ip link add br0 type bridge forward_delay 0 mcast_snooping 0")?;
        bridge.run("ip addr add 10.77.0.1/16 dev br0")?;
        bridge.run("ip link set br0 up")?;
        Ok(Self {
            engine,
            bridge,
            folder: scratch.path().join("netns"),
            _scratch: scratch,
        })
    }

    /// A container that sends a few datagrams and ends. Returns how many packets its device sent.
    fn live(&self, number: usize) -> anyhow::Result<u64> {
        let Self {
            engine, bridge, folder, ..
        } = self;
        let name = format!("jobs.1.{number:025}");
        let netns = Netns::new(folder, &format!("eeeeeeee{number:04}"))?;
        let address = format!("10.77.{}.{}", number / 250 + 1, number % 250 + 1);
        bridge.run(&format!(
            "ip link add j{number} master br0 up type veth peer name {DEVICE} netns {}",
            netns.path().display()
        ))?;
        netns.run(&format!("ip addr add {address}/16 dev {DEVICE}"))?;
        netns.run(&format!("ip link set {DEVICE} up"))?;
        let container = Container {
            name: name.clone(),
            sandbox: netns.path().to_path_buf(),
            labels: task_labels(&name),
            network_mode: "default".to_owned(),
            endpoints: vec![Endpoint {
                network: "net".to_owned(),
                mac: netns.mac(DEVICE)?,
                address,
                ipv6_address: String::new(),
            }],
        };
        engine.start_container(container);
        let to: SocketAddr = "10.77.0.1:9".parse().context("an address")?;
        traffic::datagrams(&netns, to, DATAGRAMS, 100)?;
        // If the engine forgets the container before netmon asks for it, the packets are unattributed.
        within(Duration::from_secs(20), "netmon to ask for it", || {
            ensure!(engine.was_asked_for(&name), "it has not");
            Ok(())
        })?;
        netns.run(&format!("ip link set {DEVICE} down"))?;
        let last = netns.figures(DEVICE)?;
        engine.end_container(&name);
        netns.run(&format!("ip link del {DEVICE}"))?;
        Ok(last.transmit_packets)
    }
}

/// netmon's figures before the containers.
struct Before {
    page: Page,
    memory: u64,
    descriptors: usize,
}

/// Starts and ends all containers, while pages are fetched.
fn churn(report: &mut Report, ground: &Ground, netmon: &Netmon, before: &Before) -> anyhow::Result<()> {
    let (begin, processor) = (Instant::now(), netmon.processor_time()?);
    let (next, counted, living) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicUsize::new(WORKERS));
    let work = || -> anyhow::Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= CONTAINERS {
                return Ok(());
            }
            counted.fetch_add(ground.live(number)?, Ordering::Relaxed);
        }
    };
    let most = thread::scope(|scope| -> anyhow::Result<Most> {
        let worker = || {
            let done = work();
            living.fetch_sub(1, Ordering::Relaxed);
            done
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        let mut most = Most::default();
        while living.load(Ordering::Relaxed) > 0 {
            most.look(netmon)?;
            thread::sleep(SCRAPES_EVERY);
        }
        for worker in workers {
            worker.join().map_err(|_| anyhow!("a worker panicked"))??;
        }
        Ok(most)
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    let processor = netmon.processor_time()?.saturating_sub(processor).as_secs_f64();
    let labels = [("service", "jobs"), ("network", "net")];
    let service = netmon
        .page()?
        .count("netmon_service_network_transmit_packets_total", &labels)?;
    let counted = counted.into_inner();
    let (missing, counted) = (counted.abs_diff(service) as f64, counted as f64);
    let memory = megabytes(before.memory);
    for (what, value, unit, bound) in [
        ("containers", CONTAINERS as f64, "", None),
        ("containers a second", CONTAINERS as f64 / seconds, "/s", None),
        ("containers that linger, at most", most.lingering as f64, "", None),
        ("containers over the limit, at most", most.over as f64, "", None),
        (
            "series on the page, at most",
            most.series as f64,
            "",
            Some(SERIES as f64),
        ),
        ("the page, at most", megabytes(most.bytes as u64), "MB", None),
        ("a page, at longest", most.scrape.as_secs_f64() * 1e3, "ms", None),
        (
            "processor, a page every 2 s included",
            processor / seconds * 100.0,
            "%",
            None,
        ),
        (
            "packets between the service's sum and the kernel's",
            missing,
            "",
            Some(counted / UNSEEN),
        ),
        ("resident memory before", memory, "MB", None),
        (
            "resident memory, at most",
            megabytes(most.memory),
            "MB",
            Some(memory + 40.0),
        ),
    ] {
        report.add(what, value, unit, bound);
    }
    Ok(())
}

/// What is left once nothing lingers.
fn aftermath(report: &mut Report, netmon: &Netmon, before: &Before) -> anyhow::Result<()> {
    within(LINGER * 3, "everything to be forgotten", || {
        let page = netmon.page()?;
        let over = page.count("netmon_over_limit", &[("limit", "series")])?;
        let ended = page.count("netmon_containers", &[("state", "ended")])?;
        ensure!(over == 0 && ended == 0, "{over} over the limit, {ended} lingering");
        Ok(())
    })?;
    thread::sleep(THRIFT);
    let after = netmon.page()?;
    let memory = Some(megabytes(before.memory) + 20.0);
    report.add("resident memory after", megabytes(netmon.memory()?), "MB", memory);
    let descriptors = netmon.descriptors()?.saturating_sub(before.descriptors);
    report.add("descriptors more than before", descriptors as f64, "", Some(2.0));
    for (map, most) in MAPS {
        let more = entries(&after, map)?.saturating_sub(entries(&before.page, map)?);
        report.add(&format!("keys in {map} more than before"), more as f64, "", Some(most));
    }
    Ok(())
}

impl Most {
    fn look(&mut self, netmon: &Netmon) -> anyhow::Result<()> {
        let begin = Instant::now();
        let answer = netmon.get("/metrics")?;
        self.scrape = self.scrape.max(begin.elapsed());
        let page = Page::parse(&answer.text())?;
        self.bytes = self.bytes.max(answer.body.len());
        self.series = self.series.max(page.samples.len());
        self.memory = self.memory.max(netmon.memory()?);
        self.lingering = self
            .lingering
            .max(page.count("netmon_containers", &[("state", "ended")])?);
        self.over = self.over.max(page.count("netmon_over_limit", &[("limit", "series")])?);
        Ok(())
    }
}

fn entries(page: &Page, map: &str) -> anyhow::Result<u64> {
    page.count("netmon_bpf_map_entries", &[("map", map)])
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
