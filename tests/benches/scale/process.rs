//! Processes, and what they use.

use std::{
    env, fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon_tests::{netmon::get_in, netns::Netns, patience::until, processor};

/// The address of the node exporter, in a namespace where nothing else listens.
const ADDRESS: &str = "127.0.0.1:9100";

/// A running process.
pub(crate) struct Process(u32);

impl Process {
    pub(crate) const fn of(pid: u32) -> Self {
        Self(pid)
    }

    /// The CPU time that it has used, in the kernel's ticks of 10 ms.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        processor::time(&fs::read_to_string(format!("/proc/{}/stat", self.0))?)
    }

    pub(crate) fn memory_bytes(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// The most memory that was resident at any time.
    pub(crate) fn peak_memory_bytes(&self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes: f64 = line
            .and_then(|line| line.split_whitespace().next())
            .context("no resident memory")?
            .parse()?;
        Ok(kilobytes * 1024.0)
    }
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
        until("the node exporter to answer", || exporter.page().map(drop))?;
        Ok(exporter)
    }

    pub(crate) fn process(&self) -> Process {
        Process::of(self.child.id())
    }

    pub(crate) fn page(&self) -> anyhow::Result<String> {
        let address: SocketAddr = ADDRESS.parse()?;
        let request = "GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
        let answer = get_in(Some(&self.netns), address, request)?;
        ensure!(answer.status == 200, "status {}", answer.status);
        Ok(answer.text())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
