//! The demo: netmon on a small Swarm that is simulated with network namespaces. Every metric moves within a minute,
//! on a machine without an engine. Owns its start and its end: nothing stays behind.
//!
//! Must not know anything of netmon except its flags.

mod containers;
mod load;
mod network;
mod topology;

use std::{
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use netmon_tests::{patience::within, scratch::Scratch};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::topology::Topology;
use crate::sh;

/// How often to check whether the demo is over.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long netmon may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs netmon on the demo's topology until a signal arrives, `time` is over, or netmon ends.
pub(crate) fn run(netmon: &Path, time: Option<Duration>, flags: &[String]) -> anyhow::Result<()> {
    ensure!(
        geteuid().is_root(),
        "the demo makes network namespaces and needs root: `sudo -E env PATH=$PATH cargo xtask run`"
    );
    for folder in Scratch::sweep()? {
        sh::say(format!(
            "{} was left by a demo or test that was killed: removed.",
            folder.display()
        ));
    }
    // From here on a signal ends the demo in order.
    let over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&over)).context("signals cannot be caught")?;
    }
    let topology = match Topology::new() {
        // The signal also ended the command that was just creating the topology, so that one failed.
        Err(_) if over.load(Ordering::Relaxed) => return Ok(()),
        made => made?,
    };
    let mut daemon = Daemon::start(netmon, &topology, flags)?;
    introduce(flags);

    let stop = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        load::start(scope, &topology, &stop);
        let ended = daemon.watch(&over, time);
        drop(daemon);
        stop.store(true, Ordering::Relaxed);
        ended
    });
    drop(topology);
    sh::say("The demo is over; nothing of it is left.");
    match ended? {
        Some(status) if !status.success() => {
            anyhow::bail!("netmon ended by itself ({status}): the last lines of its log say why")
        }
        _ => Ok(()),
    }
}

/// Prints what a newcomer needs to know.
fn introduce(flags: &[String]) {
    let listens = flags
        .iter()
        .rev()
        .find_map(|flag| flag.strip_prefix("--web.listen-address="))
        .unwrap_or(":10095");
    let page = match listens.strip_prefix("0.0.0.0:").or(listens.strip_prefix(':')) {
        Some(port) => format!("localhost:{port}/metrics"),
        None => format!("{listens}/metrics"),
    };
    sh::say(format!(
        "
The page: http://{page}

What runs: stack `shop`, on a bridge (shop_frontend) and on an overlay to a second node (shop_backend).
  shop_web.1 and .2 ask shop_api over the overlay and cache over the bridge, IPv6 too; shop_api asks a database on
  the other node. shop_job comes and goes every 10 seconds. Everything is TCP, UDP and ping, a few a second.
  All of them ask for names.
What is broken: long packets do not fit between shop_web and cache; shop_api calls two addresses that no node has;
  the link between the nodes spoils a packet every 10 seconds. And shop_api loses 2 % of what shop_web.2 sends, but
  in its firewall, after its interface has counted them. The resolver on the other node leaves every second
  query of shop_api's without a response.

Try, elsewhere:
  curl -s {page} | grep ^netmon_container_network_receive_bytes_total
  curl -s {page} | grep ^netmon_vxlan_                       # between the nodes
  curl -s {page} | grep -E '(dropped|errors)_total.* [1-9]'  # what is broken
  curl -s {page} | grep ^netmon_edge_connections_total       # who talks to whom
  curl -s {page} | grep ^netmon_container_dns_               # do names resolve
  curl -s {page} | grep -E '^netmon_containers|shop_job'     # who comes, goes and lingers

Ctrl-C ends it and removes everything.
"
    ));
}

/// The running netmon. It is ended when this is dropped.
#[derive(Debug)]
struct Daemon(Child);

impl Daemon {
    /// Starts netmon; its log goes to the terminal.
    fn start(netmon: &Path, topology: &Topology, flags: &[String]) -> anyhow::Result<Self> {
        // If the demo is killed, netmon receives SIGTERM too.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM"])
            .arg(netmon)
            .arg(format!("--docker.netns-dir={}", topology.netns_dir().display()))
            .arg(topology.engine.flag())
            .args(flags)
            .stdin(Stdio::null());
        command
            .spawn()
            .map(Self)
            .with_context(|| format!("{} cannot be run (by setpriv, of util-linux)", netmon.display()))
    }

    /// Waits until the demo is over. Returns netmon's status if netmon ended first.
    fn watch(&mut self, over: &AtomicBool, time: Option<Duration>) -> anyhow::Result<Option<ExitStatus>> {
        let begin = Instant::now();
        while !over.load(Ordering::Relaxed) && time.is_none_or(|time| begin.elapsed() < time) {
            if let Some(status) = self.0.try_wait().context("netmon cannot be watched")? {
                return Ok(Some(status));
            }
            thread::sleep(INTERVAL);
        }
        Ok(None)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        // A terminal has already sent the signal to the whole process group. A second signal does no harm.
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _told = kill_process(pid, Signal::TERM);
        }
        let ended = within(PATIENCE, "netmon to end", || {
            self.0.try_wait()?.context("it still runs")
        });
        if ended.is_err() {
            sh::say("netmon did not end in 10 seconds and is killed.");
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}
