//! A machine on which systemd runs, on this machine: its files under a layer of their own, namespaces of its own, and
//! Debian's systemd as the first process. Gone when it goes out of scope, with everything that was changed on it.
//!
//! `tests/lab/machine-init` is what it does before systemd. No engine runs until it is told to.

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
    netmon::{Answer, get_in},
    page::Page,
    patience::until,
    scratch::Scratch,
    sh,
};

/// Where netmon listens if it is not told otherwise.
const ADDRESS: &str = "127.0.0.1:10095";
/// How the names of machines' control groups begin; the number of the process that made them follows. Labs have groups,
/// too, by other names.
const GROUP: &str = "netmon-machine-";
/// The image on it that [`Machine::engine`] makes.
pub const IMAGE: &str = "lab/bb:1";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The Debian package under test: what `cargo xtask test` made.
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
    /// Stays in front of the first process, and takes it along when it ends.
    front: Child,
    init: u32,
    cgroup: PathBuf,
    /// What is mounted there is mounted for the machine only.
    _scratch: Scratch,
}

impl Machine {
    /// Boots one, as far as services can be started.
    ///
    /// # Errors
    /// Not root, no systemd, or no control groups of version 2.
    pub fn boot() -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let groups = groups()?;
        sweep(&groups)?;
        let cgroup = groups.join(format!("{GROUP}{}-{number}", process::id()));
        fs::create_dir(&cgroup).with_context(|| format!("{}", cgroup.display()))?;
        let mut command = Command::new("sh");
        command
            // What is begun in a group stays there, and takes it for the whole tree.
            .args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""])
            .arg(&cgroup)
            // A test that is killed takes its machine along.
            .args(["setpriv", "--pdeathsig", "KILL"])
            .args(["unshare", "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup"])
            .args(["--fork", "--kill-child"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/lab/machine-init"))
            .arg(scratch.path());
        // A signal for the tests is not for it.
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
            machine.init = sh::run(&format!("pgrep -P {}", machine.front.id()))?.parse()?;
            let state = machine.run("systemctl is-active sysinit.target")?;
            ensure!(state == "active", "sysinit.target is {state}");
            Ok(())
        })?;
        Ok(machine)
    }

    /// Starts the machine's own engine, with an image on it.
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

    /// Runs a command line on it, and gives what it printed.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        sh::output(self.enter().args(line.split_whitespace()))
    }

    /// Runs a shell's script on it, and gives what it printed.
    ///
    /// # Errors
    /// It fails.
    pub fn script(&self, text: &str) -> anyhow::Result<String> {
        sh::output(self.enter().args(["sh", "-e", "-c", text]))
    }

    /// Copies a file onto it, into `/root`, and gives its path there.
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

    /// Asks the netmon on it.
    ///
    /// # Errors
    /// It does not answer.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let netns = PathBuf::from(format!("/proc/{}/ns/net", self.init));
        let address: SocketAddr = ADDRESS.parse()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        get_in(Some(&netns), address, &request)
    }

    /// Looks at the page of the netmon on it until it shows what is waited for.
    ///
    /// # Errors
    /// It never does: the error has the last reason, and what netmon has logged.
    pub fn page_until<T>(&self, what: &str, mut look: impl FnMut(&Page) -> anyhow::Result<T>) -> anyhow::Result<T> {
        until(what, || {
            let answer = self.get("/metrics")?;
            ensure!(answer.status == 200, "status {}", answer.status);
            look(&Page::parse(&answer.text())?)
        })
        .with_context(|| format!("netmon's log:\n{}", self.log()))
    }

    /// What netmon has logged.
    #[must_use]
    pub fn log(&self) -> String {
        let log = self.run("journalctl --unit netmon --output cat --no-pager");
        log.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// What systemd says of netmon's service under that name.
    ///
    /// # Errors
    /// It says nothing.
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
        // Its first process goes with it, and with that one all others.
        drop(self.front.kill());
        drop(self.front.wait());
        // The groups can go when the last of them has.
        drop(until("the machine to be gone", || remove(&self.cgroup)));
    }
}

/// Where control groups of version 2 are, beside those of version 1 or alone.
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
            // Another test may remove it at the same time, or its processes have not all ended yet: the next one does.
            drop(remove(&path));
        }
    }
    Ok(())
}

/// Removes a group and those below it.
fn remove(group: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    Ok(fs::remove_dir(group)?)
}
