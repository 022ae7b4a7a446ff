//! Network namespaces, mounted on files in a folder as the engine mounts them. They are removed when they are
//! dropped.

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
    /// Creates a namespace with loopback up. IPv6 sends nothing by itself in it, so that only a test's own packets
    /// are counted.
    ///
    /// # Errors
    /// The kernel refuses: the test is not root.
    pub fn new(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let path = folder.join(name);
        File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        sh::output(
            Command::new("unshare")
                .arg(format!("--net={}", path.display()))
                .arg("true"),
        )?;
        let netns = Self { path, is_own: true };
        netns.ip(&["link set lo up"])?;
        netns.within(|| {
            for (setting, value) in [
                ("accept_dad", "0"),
                ("router_solicitations", "0"),
                ("addr_gen_mode", "1"),
            ] {
                let path = format!("/proc/sys/net/ipv6/conf/default/{setting}");
                fs::write(&path, value).with_context(|| format!("{path} cannot be written"))?;
            }
            Ok(())
        })?;
        Ok(netns)
    }

    /// A namespace that something else creates and removes. It stays when this is dropped.
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

    /// A command that runs in the namespace.
    #[must_use]
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path.display()))
            .args(line.split_whitespace());
        command
    }

    /// Runs a command line in the namespace, and returns its output.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        // Without `nsenter`, one program less is started. Tests run thousands of commands, which is slow on an
        // emulated machine.
        self.within(|| sh::run(line))
    }

    /// Runs `ip` with each of these lines, as one process: to start one takes longer than what it does, and most tests
    /// need dozens.
    ///
    /// # Errors
    /// One of them fails. Those after it are not run.
    pub fn ip(&self, lines: &[impl AsRef<str> + Sync]) -> anyhow::Result<()> {
        let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
        let script = lines.join("\n");
        let done = self.within(|| sh::fed(Command::new("ip").args(["-batch", "-"]), &script));
        done.with_context(|| format!("ip, of {}\n{script}", self.path.display()))?;
        Ok(())
    }

    /// Runs a function in the namespace, on a thread of its own.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the function fails.
    pub fn within<T: Send>(&self, run: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        within(&self.path, run)
    }

    /// Moves the calling thread into the namespace permanently.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enter(&self) -> anyhow::Result<()> {
        enter(&self.path)
    }

    /// The device's own counters, from `/proc/net/dev`.
    ///
    /// # Errors
    /// There is no such device.
    pub fn figures(&self, device: &str) -> anyhow::Result<Figures> {
        let table = self.within(|| Ok(fs::read("/proc/thread-self/net/dev")?))?;
        // A device's name can be any bytes.
        Figures::of_table(&String::from_utf8_lossy(&table), device)
    }

    /// A counter of the namespace's protocols. Its name is the one that `nstat` shows: the group's name and the
    /// kernel's name.
    ///
    /// # Errors
    /// There is no such counter.
    pub fn nstat(&self, name: &str) -> anyhow::Result<u64> {
        let [tables, list] = self.within(|| {
            let read = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
            Ok([read("snmp")? + &read("netstat")?, read("snmp6")?])
        })?;
        // IPv6 counters have a line each, with the group in the name.
        let listed = list
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        counter(&tables, name)
            .or(listed)
            .with_context(|| format!("the kernel has no counter {name}"))
    }

    /// The same, once all packets that were sent have arrived.
    ///
    /// # Errors
    /// There is no such counter, or it does not stop rising.
    pub fn nstat_at_rest(&self, name: &str) -> anyhow::Result<u64> {
        at_rest(name, || self.nstat(name))
    }

    /// Waits until a new device passes packets: a work queue of the kernel turns it on. On Linux 6.1, packets that
    /// are sent earlier are sometimes lost.
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

    /// A device's ifindex.
    ///
    /// # Errors
    /// There is no such device.
    pub fn ifindex(&self, device: &str) -> anyhow::Result<u64> {
        let json: serde_json::Value = serde_json::from_str(&self.run(&format!("ip -j link show dev {device}"))?)?;
        json.pointer("/0/ifindex")
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("{device} has no ifindex"))
    }

    /// A device's hardware address.
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

/// A counter in the kernel's tables. Each table has a line of names and a line of numbers, both with the group's name
/// in front.
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

/// Runs a function in the namespace mounted on that file, on a thread of its own.
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
