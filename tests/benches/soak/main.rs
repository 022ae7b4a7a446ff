//! Whether netmon stays as it is: an hour (or as long as is said) of containers that come and go, of traffic, drops and
//! scrapes, on a real engine. What it holds must be flat, and what it counted must be what the kernel did.
//!
//! Run with `cargo xtask soak`; needs root. The engine is one of its own, in namespaces of its own.
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

/// How long, if nothing is said.
const MINUTES: u64 = 60;
/// As a usual Prometheus does.
const SCRAPES_EVERY: Duration = Duration::from_secs(15);
/// How long last values stay: the churn is to be seen to its end.
const LINGER: Duration = Duration::from_secs(20);
/// Who makes containers, side by side.
const CHURNERS: usize = 2;
/// How long each rests after each: a node that does nothing but start containers is no node's day.
const REST: Duration = Duration::from_secs(1);
/// The network of everybody.
const NETWORK: &str = "soak";
/// The two that stay.
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
    ensure!(lived > minutes, "only {lived} containers lived: that was no churn");
    Ok(())
}

/// Scrapes as Prometheus does, and takes down what netmon says of itself.
fn watch(netmon: &Netmon, time: Duration) -> anyhow::Result<Samples> {
    let begin = Instant::now();
    let mut samples = Samples::default();
    while begin.elapsed() < time {
        thread::sleep(SCRAPES_EVERY);
        samples.add(begin.elapsed(), rest(netmon)?);
    }
    Ok(samples)
}

/// What netmon holds, by its own account.
fn rest(netmon: &Netmon) -> anyhow::Result<Sample> {
    Sample::of(&netmon.page()?, netmon.descriptors()?)
}

/// Containers that come and go: most for a moment, all with a ping and with datagrams to where nobody listens. One in ten
/// is connected to another network and disconnected again.
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

/// What the page and the kernel say of one that stayed, when both say the same.
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
