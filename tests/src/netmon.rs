//! A running netmon: the binary, started with a test's flags, and ended with the test.

mod http;
mod programs;

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

pub use self::{
    http::{Answer, get, get_in},
    programs::Programs,
};
use crate::{
    netns,
    page::Page,
    patience::{until, within},
    processor, sh,
};

/// Numbers the log files of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The binary under test, built by `cargo xtask test`.
///
/// # Errors
/// The tests were not started by `cargo xtask test`.
pub fn binary() -> anyhow::Result<PathBuf> {
    let path = env::var_os("NETMON_TEST_BINARY").context("NETMON_TEST_BINARY is not set: run `cargo xtask test`")?;
    Ok(path.into())
}

/// Another build of netmon, to upgrade to: with other compiler settings and another C library.
///
/// # Errors
/// The tests were not started by `cargo xtask test`, or both builds are the same.
pub fn other_build() -> anyhow::Result<PathBuf> {
    let path = env::var_os("NETMON_TEST_OTHER_BUILD").context("NETMON_TEST_OTHER_BUILD is not set")?;
    let path = PathBuf::from(path);
    ensure!(
        fs::read(&path)? != fs::read(binary()?)?,
        "{} is not another build",
        path.display()
    );
    Ok(path)
}

/// A running netmon.
#[derive(Debug)]
pub struct Netmon {
    child: Child,
    /// netmon's own process. It may be a descendant of the child, if the child is a command such as `nsenter`.
    pid: u32,
    /// The namespace to send requests from, if it is not the test's.
    netns: Option<PathBuf>,
    /// The address that netmon listens on.
    pub address: SocketAddr,
    log: PathBuf,
}

impl Netmon {
    /// Starts netmon, and waits until it answers. Its log goes to a file of its own, and is shown if netmon fails.
    ///
    /// # Errors
    /// It does not run.
    pub fn start(flags: &[String]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(flags);
        Self::spawn(command, free_port()?)
    }

    /// Runs the command, and adds the flag for the address.
    ///
    /// # Errors
    /// It does not run.
    pub fn spawn(command: Command, address: SocketAddr) -> anyhow::Result<Self> {
        Self::spawn_in(None, command, address)
    }

    /// Runs the command, and adds the flag for the address. The command runs netmon in the network namespace of that
    /// file, and may remain as netmon's parent, as `nsenter` does.
    ///
    /// # Errors
    /// It does not run.
    pub fn spawn_in(netns: Option<PathBuf>, mut command: Command, address: SocketAddr) -> anyhow::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let log = env::temp_dir().join(format!("netmon-test-{}-{number}.log", std::process::id()));
        let file = File::create(&log).with_context(|| format!("{}", log.display()))?;
        // A test compares a page with what the kernel counts now, so it needs a page of its own.
        let has_times = |argument: &OsStr| argument.as_encoded_bytes().starts_with(b"--debug.times");
        if !command.get_args().any(has_times) {
            command.arg("--debug.times=page-age=0ms");
        }
        let child = command
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=debug")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{} cannot be run", command.get_program().display()))?;
        let pid = child.id();
        let mut netmon = Self {
            child,
            pid,
            netns,
            address,
            log,
        };
        until("netmon to answer", || {
            if let Some(status) = netmon.child.try_wait()? {
                bail!("it ended with {status}: {}", netmon.log());
            }
            let answer = netmon.get("/-/healthy")?;
            ensure!(answer.status == 200, "{}", answer.text());
            Ok(())
        })?;
        if netmon.netns.is_some() {
            netmon.pid = innermost(pid)?;
        }
        Ok(netmon)
    }

    /// Waits until everything on the node is counted.
    ///
    /// # Errors
    /// netmon is never ready.
    pub fn wait_ready(&self) -> anyhow::Result<()> {
        until("netmon to be ready", || {
            let answer = self.get("/-/ready")?;
            ensure!(answer.status == 200, "{}", answer.text());
            Ok(())
        })
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// netmon does not answer.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.request(&format!(
            "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        ))
    }

    /// Sends the request, and reads the answer to its end.
    ///
    /// # Errors
    /// netmon does not answer.
    pub fn request(&self, request: &str) -> anyhow::Result<Answer> {
        get_in(self.netns.as_deref(), self.address, request)
    }

    /// Connects to netmon from its own namespace, and sends no request.
    ///
    /// # Errors
    /// netmon cannot be reached.
    pub fn connect(&self) -> anyhow::Result<TcpStream> {
        let connect = || Ok(TcpStream::connect(self.address)?);
        match &self.netns {
            Some(path) => netns::within(path, connect),
            None => connect(),
        }
    }

    /// The page of metrics.
    ///
    /// # Errors
    /// The page cannot be fetched or parsed.
    pub fn page(&self) -> anyhow::Result<Page> {
        let answer = self.get("/metrics")?;
        ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
        Page::parse(&answer.text())
    }

    /// Fetches the page until `look` accepts it.
    ///
    /// # Errors
    /// `look` never accepts it. The error has its last reason, and netmon's log.
    pub fn page_until<T>(&self, what: &str, mut look: impl FnMut(&Page) -> anyhow::Result<T>) -> anyhow::Result<T> {
        until(what, || look(&self.page()?)).with_context(|| format!("netmon's log:\n{}", self.log()))
    }

    /// Kills netmon, which cannot clean up.
    ///
    /// # Errors
    /// It does not exist.
    pub fn kill(mut self) -> anyhow::Result<()> {
        kill_process(self.os_pid()?, Signal::KILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends netmon SIGTERM. Returns its exit status and how long it took to end.
    ///
    /// # Errors
    /// It does not end.
    pub fn terminate(mut self) -> anyhow::Result<(ExitStatus, Duration)> {
        let begin = Instant::now();
        kill_process(self.os_pid()?, Signal::TERM)?;
        let status = within(Duration::from_secs(10), "netmon to end", || {
            self.child.try_wait()?.context("it still runs")
        })?;
        Ok((status, begin.elapsed()))
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// The kernel does not report it.
    pub fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The number of its file descriptors.
    ///
    /// # Errors
    /// The process does not exist.
    pub fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid))?.count())
    }

    /// Its resident memory, in bytes.
    ///
    /// # Errors
    /// The process does not exist.
    pub fn memory(&self) -> anyhow::Result<u64> {
        processor::resident(&fs::read_to_string(format!("/proc/{}/status", self.pid))?)
    }

    /// The processor time that it has used.
    ///
    /// # Errors
    /// The process does not exist.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        processor::time(&fs::read_to_string(format!("/proc/{}/stat", self.pid))?)
    }

    /// Its packet programs. They differ from those of any other netmon, even after this one has ended.
    ///
    /// # Errors
    /// The process does not exist, or has loaded no programs.
    pub fn programs(&self) -> anyhow::Result<Programs> {
        // The map is pinned in a BPF file system that is mounted nowhere. netmon has a descriptor of it.
        for entry in fs::read_dir(format!("/proc/{}/fd", self.pid))? {
            let pin = entry?.path().join("TRAFFIC");
            if pin.exists() {
                let mut bpftool = sh::command("bpftool -j map show pinned");
                let shown: serde_json::Value = serde_json::from_str(&sh::output(bpftool.arg(&pin))?)?;
                let map = shown["id"].as_u64().with_context(|| format!("no number: {shown}"))?;
                return Ok(Programs { map });
            }
        }
        bail!("process {} has no map of packets", self.pid)
    }

    /// The id of its map with this name.
    ///
    /// # Errors
    /// The process does not exist, or has no such map.
    pub fn map(&self, name: &str) -> anyhow::Result<u64> {
        Ok(self.map_info(name)?.0)
    }

    /// The kernel memory of its map with this name, in bytes, as the kernel computes it. Before 6.4, that is what the map
    /// may take once it is full (`bpf_map_show_fdinfo`).
    ///
    /// # Errors
    /// The process does not exist, or has no such map.
    pub fn map_memory(&self, name: &str) -> anyhow::Result<u64> {
        let (_, info) = self.map_info(name)?;
        let bytes = info.lines().find_map(|line| line.strip_prefix("memlock:"));
        Ok(bytes.context("a map without a size")?.trim().parse()?)
    }

    /// The id of its map with this name, and what the kernel says of it.
    fn map_info(&self, name: &str) -> anyhow::Result<(u64, String)> {
        for entry in fs::read_dir(format!("/proc/{}/fdinfo", self.pid))? {
            let info = fs::read_to_string(entry?.path())?;
            let Some(id) = info.lines().find_map(|line| line.strip_prefix("map_id:")) else {
                continue;
            };
            let id: u64 = id.trim().parse()?;
            let shown: serde_json::Value = serde_json::from_str(&sh::run(&format!("bpftool -j map show id {id}"))?)?;
            if shown["name"] == name {
                return Ok((id, info));
            }
        }
        bail!("process {} has no map {name}", self.pid)
    }

    /// The ids of the links of programs that it holds by descriptors, which are those on the node's devices.
    ///
    /// # Errors
    /// The process does not exist, or holds none.
    pub fn held_links(&self) -> anyhow::Result<Vec<u64>> {
        let mut links = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/fdinfo", self.pid))? {
            let info = fs::read_to_string(entry?.path())?;
            let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if value("link_type:") == Some("tcx") {
                links.push(value("link_id:").context("a link without an id")?.parse()?);
            }
        }
        ensure!(!links.is_empty(), "process {} holds no links", self.pid);
        Ok(links)
    }

    /// Its log, line by line, without the details that only the tests enable.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        let log = self.log();
        let is_detail = |line: &&str| matches!(line.split_whitespace().nth(1), Some("DEBUG" | "TRACE"));
        log.lines()
            .filter(|line| !is_detail(line))
            .map(ToOwned::to_owned)
            .collect()
    }

    fn os_pid(&self) -> anyhow::Result<Pid> {
        i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .context("the process has no number")
    }
}

impl Drop for Netmon {
    fn drop(&mut self) {
        // SIGTERM comes first: after SIGKILL, filters that netmon attached by clsact would remain. netmon may have
        // ended already.
        if let Ok(pid) = self.os_pid()
            && matches!(self.child.try_wait(), Ok(None))
        {
            let _told = kill_process(pid, Signal::TERM);
            let ended = within(Duration::from_secs(5), "netmon to end", || {
                self.child.try_wait()?.context("it still runs")
            });
            if ended.is_err() {
                let _killed = kill_process(pid, Signal::KILL);
                drop(self.child.wait());
            }
        }
        drop(fs::remove_file(&self.log));
    }
}

/// The last process in a chain of parents and only children.
///
/// # Errors
/// One of them has several children.
pub fn innermost(mut pid: u32) -> anyhow::Result<u32> {
    while let Some(child) = only_child(pid)? {
        pid = child;
    }
    Ok(pid)
}

/// The child of a process, if it has one.
///
/// # Errors
/// There is no such process, or it has several children.
pub fn only_child(pid: u32) -> anyhow::Result<Option<u32>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    let mut children = children.split_whitespace();
    let first = children.next().map(str::parse).transpose()?;
    ensure!(children.next().is_none(), "process {pid} has many children");
    Ok(first)
}

/// An address of this machine with a free port.
///
/// # Errors
/// There is none.
pub fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
