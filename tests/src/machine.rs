//! A machine with systemd, on this machine. It has an overlay over this machine's files, namespaces of its own, and
//! Debian's systemd as its first process. When it is dropped, it is removed with everything that was changed on it.
//!
//! `tests/lab/machine-init` prepares it for systemd. Its engine runs only after [`Machine::engine`].

use std::{
    env, fs,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, ensure};

use crate::{
    netmon::{Answer, get_in, only_child},
    page::Page,
    patience::until,
    scratch::Scratch,
    sh,
};

/// The default address of netmon.
const ADDRESS: &str = "127.0.0.1:10095";
/// The beginning of the names of machines' control groups. The id of the process that created the machine follows.
/// The control groups of labs have other names.
const GROUP: &str = "netmon-machine-";
/// The image that [`Machine::engine`] makes.
pub const IMAGE: &str = "lab/bb:1";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The Debian package under test, made by `cargo xtask test`.
///
/// # Errors
/// The tests were not started by `cargo xtask test`.
pub fn package() -> anyhow::Result<PathBuf> {
    let path = env::var_os("NETMON_TEST_PACKAGE").context("NETMON_TEST_PACKAGE is not set: run `cargo xtask test`")?;
    Ok(path.into())
}

/// A machine that has booted.
#[derive(Debug)]
pub struct Machine {
    /// The parent of the first process, which is killed with it.
    front: Child,
    init: u32,
    cgroup: PathBuf,
    /// Mounts in this folder are visible only to the machine.
    _scratch: Scratch,
}

impl Machine {
    /// Boots a machine until services can be started.
    ///
    /// # Errors
    /// The test is not root, or systemd or control groups of version 2 are missing.
    pub fn boot() -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let groups = groups()?;
        sweep(&groups)?;
        let cgroup = groups.join(format!("{GROUP}{}-{number}", process::id()));
        fs::create_dir(&cgroup).with_context(|| format!("{}", cgroup.display()))?;
        let mut command = Command::new("sh");
        command
            // Processes stay in the group in which they were started. So the whole tree of processes will be in this
            // one.
            .args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""])
            .arg(&cgroup)
            // If the test is killed, its machine is killed too.
            .args(["setpriv", "--pdeathsig", "KILL"])
            .args(["unshare", "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup"])
            .args(["--fork", "--kill-child"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/lab/machine-init"))
            .arg(scratch.path());
        // A signal to the tests' process group must not reach the machine.
        command.process_group(0);
        let front = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("unshare cannot be run")?;
        let mut machine = Self {
            front,
            init: 0,
            cgroup,
            _scratch: scratch,
        };
        until("the machine to boot", || {
            if let Some(status) = machine.front.try_wait()? {
                anyhow::bail!("it ended with {status}");
            }
            machine.init = only_child(machine.front.id())?.context("it has no first process yet")?;
            let state = machine.run("systemctl is-active sysinit.target")?;
            ensure!(state == "active", "sysinit.target is {state}");
            Ok(())
        })?;
        Ok(machine)
    }

    /// Starts the machine's own engine, and makes [`IMAGE`] on it.
    ///
    /// # Errors
    /// It does not start.
    pub fn engine(&self) -> anyhow::Result<()> {
        self.run("systemctl start docker.service")?;
        self.script(&format!(
            "mkdir -p /tmp/bb/bin && cp $(command -v busybox) /tmp/bb/bin/busybox && for name in sh ping sleep; do ln -s \
             busybox /tmp/bb/bin/$name; done && tar -C /tmp/bb -c . | docker import - {IMAGE}"
        ))
        .map(drop)
    }

    /// Runs a command line on the machine, and returns its output.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        sh::output(self.enter().args(line.split_whitespace()))
    }

    /// Runs a shell script on the machine, and returns its output.
    ///
    /// # Errors
    /// It fails.
    pub fn script(&self, text: &str) -> anyhow::Result<String> {
        sh::output(self.enter().args(["sh", "-e", "-c", text]))
    }

    /// Copies a file to the machine's `/root`, and returns its path there.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn copy(&self, file: &Path) -> anyhow::Result<PathBuf> {
        let name = file.file_name().context("not a file")?;
        let there = Path::new("/root").join(name);
        let seen = format!("/proc/{}/root{}", self.init, there.display());
        fs::copy(file, &seen).with_context(|| format!("{} to {seen}", file.display()))?;
        Ok(there)
    }

    /// Sends a request to the netmon on the machine.
    ///
    /// # Errors
    /// It does not answer.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let netns = PathBuf::from(format!("/proc/{}/ns/net", self.init));
        let address: SocketAddr = ADDRESS.parse()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        get_in(Some(&netns), address, &request)
    }

    /// Fetches the page of the netmon on the machine until `look` accepts it.
    ///
    /// # Errors
    /// `look` never accepts it. The error has its last reason, and netmon's log.
    pub fn page_until<T>(&self, what: &str, mut look: impl FnMut(&Page) -> anyhow::Result<T>) -> anyhow::Result<T> {
        until(what, || {
            let answer = self.get("/metrics")?;
            ensure!(answer.status == 200, "status {}", answer.status);
            look(&Page::parse(&answer.text())?)
        })
        .with_context(|| format!("netmon's log:\n{}", self.log()))
    }

    /// netmon's log.
    #[must_use]
    pub fn log(&self) -> String {
        let log = self.run("journalctl --unit netmon --output cat --no-pager");
        log.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// A property of netmon's service, as systemd reports it.
    ///
    /// # Errors
    /// systemd does not answer.
    pub fn service(&self, property: &str) -> anyhow::Result<String> {
        self.run(&format!("systemctl show netmon.service --value --property {property}"))
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.init));
        command.args([
            "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--root", "--wd",
        ]);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // This kills the machine's first process too, and that one's end kills all others.
        drop(self.front.kill());
        drop(self.front.wait());
        // The groups can be removed once all processes have ended.
        drop(until("the machine to be gone", || remove(&self.cgroup)));
    }
}

/// The mount point of control groups of version 2, which may exist beside those of version 1.
fn groups() -> anyhow::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
    let place = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let place = words.nth(1)?;
        (words.next()? == "cgroup2").then_some(place)
    });
    Ok(place.context("no control groups of version 2 are mounted")?.into())
}

/// Removes the groups of machines whose tests were killed.
fn sweep(groups: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(groups).with_context(|| format!("{}", groups.display()))? {
        let path = entry?.path();
        let owner = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix(GROUP)?.split_once('-'))
            .map(|(process, _)| Path::new("/proc").join(process));
        if owner.is_some_and(|process| !process.exists()) {
            // Another test may remove it at the same time, or its processes may not have ended yet. Then the next
            // test removes it.
            drop(remove(&path));
        }
    }
    Ok(())
}

/// Removes a group and all groups below it.
fn remove(group: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    Ok(fs::remove_dir(group)?)
}
