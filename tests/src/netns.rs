//! Network namespaces: files in a folder, mounted as the engine mounts them, gone when they go out of scope.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, anyhow};
use rustix::{
    mount::{UnmountFlags, unmount},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{figures::Figures, patience::at_rest, sh};

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
        sh::output(&mut self.command(line))
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

    /// The device's own counters, as `ip -s link` shows them.
    ///
    /// # Errors
    /// There is no such device.
    pub fn figures(&self, device: &str) -> anyhow::Result<Figures> {
        Figures::of_ip(&self.run(&format!("ip -j -s link show dev {device}"))?)
    }

    /// A counter of the namespace's protocols, as `nstat` names it; 0 if it never counted.
    ///
    /// # Errors
    /// `nstat` fails.
    pub fn nstat(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.run(&format!("nstat -asz {name}"))?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|line| line.split_whitespace().next())
            .with_context(|| format!("nstat shows no {name}: {text}"))?;
        value.parse().with_context(|| format!("{name} {value}"))
    }

    /// The same, when what was sent has arrived.
    ///
    /// # Errors
    /// `nstat` fails, or the counter rises all the time.
    pub fn nstat_at_rest(&self, name: &str) -> anyhow::Result<u64> {
        at_rest(name, || self.nstat(name))
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
