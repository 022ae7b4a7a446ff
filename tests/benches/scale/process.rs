//! Processes, and what they use.

use std::{
    collections::BTreeMap,
    env, fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use netmon_tests::{netns::Netns, patience::until, processor, sh};
use serde_json::Value;

use crate::ask::Client;

/// The address of the node exporter, in a namespace where nothing else listens.
const ADDRESS: &str = "127.0.0.1:9100";

/// A running process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) const fn of(pid: u32) -> Self {
        Self(pid)
    }

    /// The CPU time that it has used, in nanoseconds. Ticks of 10 ms are too coarse for a page of 2 ms.
    pub(crate) fn cpu(self) -> anyhow::Result<Duration> {
        processor::clock(self.0)
    }

    pub(crate) fn memory_bytes(self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// The most memory that was resident at any time.
    pub(crate) fn peak_memory_bytes(self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    fn status(self, name: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes: f64 = line
            .and_then(|line| line.split_whitespace().next())
            .context("no resident memory")?
            .parse()?;
        Ok(kilobytes * 1024.0)
    }
}

/// The machine's BPF maps: their ids, and the kernel memory that each takes. netmon holds most of its maps by programs
/// and not by descriptors, so they are told from others by when they were made.
pub(crate) fn bpf_maps() -> anyhow::Result<BTreeMap<u64, f64>> {
    let shown: Value = serde_json::from_str(&sh::run("bpftool -j map show")?)?;
    let maps = shown.as_array().context("bpftool lists no maps")?;
    // A map may be gone before bpftool asks for it, and is then listed without a size.
    let sizes = maps
        .iter()
        .filter_map(|map| Some((map["id"].as_u64()?, map["bytes_memlock"].as_f64()?)));
    Ok(sizes.collect())
}

/// Prometheus' node exporter, as packaged, with its defaults.
pub(crate) struct Exporter {
    child: Child,
    netns: PathBuf,
}

impl Exporter {
    /// Starts it in that namespace. A new mount of `/sys` shows the namespace's devices.
    pub(crate) fn start(netns: &Netns) -> anyhow::Result<Self> {
        let binary = env::var("NETMON_TEST_NODE_EXPORTER").context("NETMON_TEST_NODE_EXPORTER is not set")?;
        let mut command = Command::new("nsenter");
        let script = format!("mount -t sysfs sys /sys && exec {binary} --web.listen-address={ADDRESS}");
        let child = command
            .arg(format!("--net={}", netns.path().display()))
            .args(["unshare", "--mount", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("the node exporter cannot be run")?;
        let exporter = Self {
            child,
            netns: netns.path().to_path_buf(),
        };
        until("the node exporter to answer", || exporter.client()?.ask().map(drop))?;
        Ok(exporter)
    }

    pub(crate) fn process(&self) -> Process {
        Process::of(self.child.id())
    }

    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let address: SocketAddr = ADDRESS.parse()?;
        Client::connect(Some(&self.netns), address, true)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
