//! Network namespaces: files in a folder, mounted as the engine mounts them, gone when they go out of scope.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, anyhow, ensure};
use rustix::{
    mount::{UnmountFlags, unmount},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{
    figures::Figures,
    patience::{at_rest, until},
    sh,
};

/// A network namespace mounted on a file.
#[derive(Debug)]
pub struct Netns {
    path: PathBuf,
    is_own: bool,
}

impl Netns {
    /// Makes one, with loopback up and IPv6's own chatter off, so that only what a test sends is counted.
    ///
    /// # Errors
    /// The kernel refuses: not root.
    pub fn new(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let path = folder.join(name);
        File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        sh::output(
            Command::new("unshare")
                .arg(format!("--net={}", path.display()))
                .arg("true"),
        )?;
        let netns = Self { path, is_own: true };
        netns.run("ip link set lo up")?;
        netns.run("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.router_solicitations=0 net.ipv6.conf.default.addr_gen_mode=1")?;
        Ok(netns)
    }

    /// One that others made and that others end: it stays when this goes out of scope.
    #[must_use]
    pub fn of_others(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            is_own: false,
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The command, to be run in the namespace.
    #[must_use]
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path.display()))
            .args(line.split_whitespace());
        command
    }

    /// Runs a command line in the namespace, and gives what it printed.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        // From a thread that is there already: one program less to start, of which an emulated machine has thousands.
        self.within(|| sh::run(line))
    }

    /// Runs a function on a thread of its own in the namespace.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the function fails.
    pub fn within<T: Send>(&self, run: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        within(&self.path, run)
    }

    /// Takes the calling thread into the namespace, for good.
    ///
    /// # Errors
    /// It cannot.
    pub fn enter(&self) -> anyhow::Result<()> {
        enter(&self.path)
    }

    /// The device's own counters, as the kernel's table of devices has them.
    ///
    /// # Errors
    /// There is no such device.
    pub fn figures(&self, device: &str) -> anyhow::Result<Figures> {
        let table = self.within(|| Ok(fs::read("/proc/thread-self/net/dev")?))?;
        // Devices may be called anything.
        Figures::of_table(&String::from_utf8_lossy(&table), device)
    }

    /// A counter of the namespace's protocols, by the name that `nstat` gives it: the group's, and the kernel's own.
    ///
    /// # Errors
    /// There is no such counter.
    pub fn nstat(&self, name: &str) -> anyhow::Result<u64> {
        let [tables, list] = self.within(|| {
            let read = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
            Ok([read("snmp")? + &read("netstat")?, read("snmp6")?])
        })?;
        // IPv6 has a line for each, with the group in the name.
        let listed = list
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        counter(&tables, name)
            .or(listed)
            .with_context(|| format!("the kernel has no counter {name}"))
    }

    /// The same, when what was sent has arrived.
    ///
    /// # Errors
    /// There is no such counter, or it rises all the time.
    pub fn nstat_at_rest(&self, name: &str) -> anyhow::Result<u64> {
        at_rest(name, || self.nstat(name))
    }

    /// Waits until a device that has just been set up passes packets: a work queue of the kernel's turns it on. On 6.1 what is
    /// sent before is lost now and then.
    ///
    /// # Errors
    /// There is no such device, or it stays down.
    pub fn passes(&self, device: &str) -> anyhow::Result<()> {
        until(&format!("{device} to be up"), || {
            let shown = self.run(&format!("ip -br link show dev {device}"))?;
            ensure!(shown.split_whitespace().nth(1) == Some("UP"), "{shown}");
            Ok(())
        })
    }

    /// The number of a device.
    ///
    /// # Errors
    /// There is no such device.
    pub fn ifindex(&self, device: &str) -> anyhow::Result<u64> {
        let json: serde_json::Value = serde_json::from_str(&self.run(&format!("ip -j link show dev {device}"))?)?;
        json.pointer("/0/ifindex")
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("{device} has no ifindex"))
    }

    /// A hardware address.
    ///
    /// # Errors
    /// There is no such device.
    pub fn mac(&self, device: &str) -> anyhow::Result<String> {
        let json: serde_json::Value = serde_json::from_str(&self.run(&format!("ip -j link show dev {device}"))?)?;
        json.pointer("/0/address")
            .and_then(serde_json::Value::as_str)
            .map(ToOwned::to_owned)
            .with_context(|| format!("{device} has no address"))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if !self.is_own {
            return;
        }
        let _unmounted = unmount(&self.path, UnmountFlags::DETACH);
        drop(fs::remove_file(&self.path));
    }
}

/// A counter in the kernel's tables, of which each has a line of names and one of numbers, both with the group's name in front.
fn counter(tables: &str, name: &str) -> Option<u64> {
    let lines: Vec<&str> = tables.lines().collect();
    lines.chunks_exact(2).find_map(|pair| {
        let (group, names) = pair[0].split_once(": ")?;
        let (_, numbers) = pair[1].split_once(": ")?;
        let its_name = name.strip_prefix(group)?;
        let (_, number) = names
            .split_whitespace()
            .zip(numbers.split_whitespace())
            .find(|(name, _)| *name == its_name)?;
        number.parse().ok()
    })
}

/// Runs a function on a thread of its own in the namespace mounted on that file.
///
/// # Errors
/// The namespace cannot be entered, or the function fails.
pub fn within<T: Send>(path: &Path, run: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                enter(path)?;
                run()
            })
            .join()
            .map_err(|_| anyhow!("a thread in {} panicked", path.display()))?
    })
}

fn enter(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("{} cannot be entered", path.display()))
}
