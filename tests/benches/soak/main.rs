//! Whether netmon's resources grow: an hour (or another time) of short-lived containers, traffic, drops and scrapes,
//! on a real engine. Its resources must not grow, and its counts must be the kernel's.
//!
//! Run with `cargo xtask soak`; needs root. The engine is the benchmark's own, in namespaces of its own.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod samples;

use std::{
    env,
    fmt::Write as _,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use netmon_tests::{
    figures::Figures,
    flow::{Pings, Stream},
    lab::{Engine, IMAGE, Lab, Node},
    netmon::Netmon,
    patience::{until, within},
};

use samples::{Sample, Samples};

/// The default duration.
const MINUTES: u64 = 60;
/// The interval of a usual Prometheus.
const SCRAPES_EVERY: Duration = Duration::from_secs(15);
/// The linger. It is short, so that the series of the short-lived containers also end.
const LINGER: Duration = Duration::from_secs(20);
/// How many threads start containers, side by side.
const CHURNERS: usize = 2;
/// How long each thread pauses after a container. A real node does other things than start containers.
const REST: Duration = Duration::from_secs(1);
/// The network of all containers.
const NETWORK: &str = "soak";
/// The two containers that stay.
const STAYING: [&str; 2] = ["one", "two"];

fn main() -> anyhow::Result<()> {
    let minutes = env::var("NETMON_SOAK_MINUTES").map_or(Ok(MINUTES), |text| text.parse())?;
    let lab = Lab::up(1, Engine::Installed)?;
    let node = lab.node(1);
    node.docker(&format!("network create {NETWORK}"))?;
    for name in STAYING {
        node.start_container(
            name,
            &format!(
                "--network {NETWORK} --label com.docker.compose.service={name} --label com.docker.compose.project=soak"
            ),
        )?;
    }
    let netmon = node.netmon(&[&format!("--container.linger={}s", LINGER.as_secs())])?;
    netmon.wait_ready()?;
    let at_rest = rest(&netmon)?;

    let (sandboxes, addresses) = (
        STAYING.map(|name| node.sandbox(name).and_then(|it| node.namespace(&it))),
        STAYING.map(|name| node.address_of(name, NETWORK)),
    );
    let [one, two] = sandboxes;
    let (one, two) = (one?, two?);
    let [_, to] = addresses;
    let to = to?;
    let stream = Stream::start(&one, &two, to)?;
    let pings = Pings::start(&one, to)?;
    let over = Arc::new(AtomicBool::new(false));
    let lived = Arc::new(AtomicU64::new(0));
    let samples = thread::scope(|scope| {
        let churners: Vec<_> = (0..CHURNERS)
            .map(|number| {
                let (over, lived) = (Arc::clone(&over), Arc::clone(&lived));
                scope.spawn(move || churn(node, number, to, &over, &lived))
            })
            .collect();
        let samples = watch(&netmon, Duration::from_secs(minutes * 60));
        over.store(true, Ordering::Relaxed);
        for churner in churners {
            churner.join().map_err(|_| anyhow!("a churner panicked"))??;
        }
        samples
    })?;
    let (sent, answered) = pings.stop()?;
    let bytes = stream.stop()?;

    let mut report = samples.table();
    let lived = lived.load(Ordering::Relaxed);
    write!(
        report,
        "\n{lived} containers came and went in {minutes} minutes; {bytes} bytes and {sent} pings ({answered} answered) went from one \
         to the other of those that stayed.\n\n"
    )?;
    for name in STAYING {
        let shown = agree(&netmon, node, name)?;
        writeln!(report, "`{name}`: the page and the kernel both say {shown:?}.")?;
    }
    let after = within(3 * LINGER, "everything that came to be gone", || {
        let after = rest(&netmon)?;
        ensure!(
            after.entries == at_rest.entries
                && after.programs == at_rest.programs
                && after.descriptors <= at_rest.descriptors,
            "{after:?} is left, {at_rest:?} was before"
        );
        Ok(after)
    })?;
    write!(report, "\nBefore: {at_rest}. After: {after}.\n")?;
    print!("{report}");
    // cargo runs benchmarks in the package's folder.
    fs::write("../target/soak.md", &report).context("target/soak.md cannot be written")?;
    samples.verdict()?;
    ensure!(sent == answered, "{} pings were not answered", sent - answered);
    ensure!(lived > minutes, "only {lived} containers lived: that was not churn");
    Ok(())
}

/// Scrapes at Prometheus' interval, and records netmon's metrics about itself.
fn watch(netmon: &Netmon, time: Duration) -> anyhow::Result<Samples> {
    let begin = Instant::now();
    let mut samples = Samples::default();
    while begin.elapsed() < time {
        thread::sleep(SCRAPES_EVERY);
        samples.add(begin.elapsed(), rest(netmon)?);
    }
    Ok(samples)
}

/// The resources that netmon reports about itself.
fn rest(netmon: &Netmon) -> anyhow::Result<Sample> {
    Sample::of(&netmon.page()?, netmon.descriptors()?)
}

/// Short-lived containers. Each sends a ping, and datagrams to a port on which nothing listens. One in ten is
/// connected to another network and disconnected again.
fn churn(
    node: Node<'_>,
    number: usize,
    to: std::net::IpAddr,
    over: &AtomicBool,
    lived: &AtomicU64,
) -> anyhow::Result<()> {
    let other = format!("other{number}");
    let mut round = 0_u64;
    while !over.load(Ordering::Relaxed) {
        round += 1;
        let name = format!("churn{number}-{round}");
        let labels =
            format!("--label com.docker.compose.service=churn{number} --label com.docker.compose.project=soak");
        let flags = format!("--network {NETWORK} --name {name} {labels}");
        if round.is_multiple_of(10) {
            node.docker(&format!("network create {other}"))?;
            node.docker(&format!("run -d {flags} {IMAGE} sleep infinity"))?;
            node.docker(&format!("network connect {other} {name}"))?;
            node.docker(&format!("exec {name} ping -q -c 3 -i 0.1 {to}"))?;
            node.docker(&format!("network disconnect {other} {name}"))?;
            node.docker(&format!("rm -f {name}"))?;
            node.docker(&format!("network rm {other}"))?;
        } else {
            let script = format!("ping -q -c 3 -i 0.1 {to}; echo lost | nc -u -w 1 {to} 9; true");
            let flags = format!("run --rm {flags} {IMAGE}");
            node.docker_script(&flags, &script)?;
        }
        lived.fetch_add(1, Ordering::Relaxed);
        thread::sleep(REST);
    }
    Ok(())
}

/// The counts of a container that stays, once the page and the kernel have the same.
fn agree(netmon: &Netmon, node: Node<'_>, name: &str) -> anyhow::Result<Figures> {
    let (sandbox, device) = (node.sandbox(name)?, node.device(name, NETWORK)?);
    until("page and kernel to say the same", || {
        let before = node.figures(&sandbox, &device)?;
        let shown = netmon.page()?.interface(name, NETWORK)?;
        let after = node.figures(&sandbox, &device)?;
        ensure!(before == after, "it is not quiet");
        ensure!(shown == after, "{name}: the page says {shown:?}, the kernel {after:?}");
        Ok(shown)
    })
}
