//! A node with containers that are busy, and the netmon that watches it. Owns how it starts, and how a page is timed.

use std::{
    collections::BTreeSet,
    process::ExitStatus,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use netmon_tests::{
    netmon::Netmon,
    page::{Page, Sample},
    patience::within,
    scratch::Scratch,
};

use crate::{
    ask::{Answer, Client},
    load::Load,
    median,
    process::{Process, bpf_maps},
    world::{NETWORKS, World},
};

/// The number of pages in a run. Each figure of a run is the median.
const SCRAPES: usize = 20;
/// How long the node rests before a page is asked for, after every container was busy.
const PAUSE: Duration = Duration::from_millis(50);
/// How long after an answer what the exporter does is still on account of it, such as dropping the page.
const AFTERMATH: Duration = Duration::from_millis(20);
/// How long it may take until a page names the containers, and until the last of a thousand has its programs.
const NAMING: Duration = Duration::from_mins(2);
const ATTACHING: Duration = Duration::from_mins(8);
/// The pause between two looks at who is named, for each container: some times what a page of it takes.
const LOOK_LATER: Duration = Duration::from_micros(500);
/// A family with a series for each container on each network.
const NAMED: &str = "netmon_container_network_receive_packets_total{";

/// The node. Fields are dropped in this order: who watches and who is busy, before what they use.
pub(crate) struct Site {
    pub(crate) netmon: Netmon,
    pub(crate) load: Load,
    pub(crate) world: World,
    _scratch: Scratch,
    /// The maps that were there before netmon.
    other_maps: BTreeSet<u64>,
    pub(crate) started: Started,
}

/// How long it took from netmon's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    /// Until a page named every container on both of its networks.
    pub(crate) named: Duration,
    /// Until every interface had its programs.
    pub(crate) attached: Duration,
}

/// What the pages of a run took: the median of each, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) latency: f64,
    pub(crate) cpu: f64,
}

impl Site {
    /// Makes the containers, has them begin, and starts netmon.
    pub(crate) fn start(containers: usize) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let world = World::new(&scratch, containers)?;
        let load = Load::start(&world)?;
        let other_maps = bpf_maps()?.into_keys().collect();
        let begin = Instant::now();
        let netmon = Netmon::start(&world.flags())?;
        let mut client = Client::connect(None, netmon.address, false)?;
        let named = within(NAMING, "every container to be named", || {
            let found = named(&client.ask()?.text()?, containers);
            let elapsed = begin.elapsed();
            if found.is_err() {
                // Making pages all the time would take a processor from who finds the names.
                thread::sleep(LOOK_LATER * u32::try_from(containers)?);
            }
            found.map(|()| elapsed)
        })?;
        within(ATTACHING, "every interface to have programs", || {
            // A page would take the processor that attaches.
            let answer = netmon.get("/-/ready")?;
            ensure!(answer.status == 200, "{}", answer.text());
            Ok(())
        })?;
        let attached = begin.elapsed();
        let (used, interfaces) = (
            netmon.page()?.count("netmon_bpf_map_entries", &[("map", "TRAFFIC")])?,
            NETWORKS.len() * containers,
        );
        ensure!(used == interfaces as u64, "{used} of {interfaces} have programs");
        Ok(Self {
            netmon,
            load,
            world,
            _scratch: scratch,
            other_maps,
            started: Started { named, attached },
        })
    }

    /// The kernel memory of netmon's maps, in megabytes: of those that were made since it started.
    pub(crate) fn maps(&self) -> anyhow::Result<f64> {
        let maps = bpf_maps()?.into_iter();
        let bytes: f64 = maps
            .filter(|(id, _)| !self.other_maps.contains(id))
            .map(|(_, bytes)| bytes)
            .sum();
        Ok(bytes / 1e6)
    }

    /// A client of netmon, which takes compressed pages or does not.
    pub(crate) fn client(&self, is_compressed: bool) -> anyhow::Result<Client> {
        Client::connect(None, self.netmon.address, is_compressed)
    }

    pub(crate) fn process(&self) -> Process {
        Process::of(self.netmon.pid())
    }

    /// Asks for pages, and shows each to `look`. Before each, every container is busy once. While it is made they go on,
    /// a hundred of a thousand in a second.
    pub(crate) fn run(
        &self,
        process: Process,
        client: &mut Client,
        look: impl FnMut(&Answer) -> anyhow::Result<()>,
    ) -> anyhow::Result<Run> {
        pages(process, client, || self.load.turn(self.world.containers().len()), look)
    }

    /// The same with containers that were busy, and are still.
    pub(crate) fn run_beside_none(&self, client: &mut Client) -> anyhow::Result<Run> {
        self.load.be_still(true);
        let run = pages(self.process(), client, || Ok(()), |_| Ok(()));
        self.load.be_still(false);
        run
    }

    /// Asks netmon to end. Returns how it ended, and after how long.
    pub(crate) fn end(self) -> anyhow::Result<(ExitStatus, Duration)> {
        self.netmon.terminate()
    }
}

fn pages(
    process: Process,
    client: &mut Client,
    mut prepare: impl FnMut() -> anyhow::Result<()>,
    mut look: impl FnMut(&Answer) -> anyhow::Result<()>,
) -> anyhow::Result<Run> {
    let (mut latencies, mut cpus) = (Vec::new(), Vec::new());
    for _ in 0..SCRAPES {
        prepare()?;
        thread::sleep(PAUSE);
        let (before, begin) = (process.cpu()?, Instant::now());
        let answer = client.ask()?;
        latencies.push(milliseconds(begin.elapsed()));
        thread::sleep(AFTERMATH);
        cpus.push(milliseconds(process.cpu()?.saturating_sub(before)));
        look(&answer)?;
    }
    Ok(Run {
        latency: median(&latencies),
        cpu: median(&cpus),
    })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Fails unless the page names so many containers on each of their networks.
fn named(page: &str, containers: usize) -> anyhow::Result<()> {
    let lines: Vec<_> = page.lines().filter(|line| line.starts_with(NAMED)).collect();
    let page = Page::parse(&lines.join("\n"))?;
    let label = |sample: &Sample, name| sample.labels.get(name).cloned().unwrap_or_default();
    let named: BTreeSet<_> = page
        .samples
        .iter()
        .map(|it| (label(it, "container"), label(it, "network")))
        .filter(|(container, network)| {
            container.starts_with("service") && NETWORKS.iter().any(|(name, _)| name == network)
        })
        .collect();
    let wanted = NETWORKS.len() * containers;
    ensure!(
        named.len() == wanted,
        "{} of {wanted} interfaces are named",
        named.len()
    );
    Ok(())
}
