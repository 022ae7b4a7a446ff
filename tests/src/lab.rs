//! A real Swarm on one machine. Its nodes have engines of their own. It is removed when this is dropped.
//!
//! `tests/lab/swarm-lab` does the work, and documents what a node is.

mod faults;

use std::{
    env,
    ffi::OsStr,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{
    figures::Figures,
    netmon::{Netmon, binary, free_port},
    netns::Netns,
    sh,
};

/// An image on every node: busybox, which sleeps unless it gets another command.
pub const IMAGE: &str = "lab/bb:1";

/// Labs keep their state in folders here, named after the labs.
const STATES: &str = "/var/lib/swarm-lab";
/// A lab's name consists of this, the id of the process that created it, and a number.
const PREFIX: &str = "netmon-test-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Which engine the nodes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The engine that is installed on this machine.
    Installed,
    /// A newer engine, fetched by `cargo xtask test`.
    New,
}

/// A Swarm. Its first node is the manager.
#[derive(Debug)]
pub struct Lab {
    name: String,
    engine: String,
    nodes: u8,
}

impl Lab {
    /// Starts a lab with that many nodes and with [`IMAGE`] on each.
    ///
    /// # Errors
    /// The test is not root, or something that the lab needs is missing.
    pub fn up(nodes: u8, engine: Engine) -> anyhow::Result<Self> {
        take_down_what_the_dead_left()?;
        let engine = match engine {
            Engine::Installed => String::new(),
            Engine::New => env::var("NETMON_TEST_NEW_ENGINE")
                .context("NETMON_TEST_NEW_ENGINE is not set: run `cargo xtask test`")?,
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", process::id());
        if Path::new(STATES).join(&name).exists() {
            // An earlier test with the same process id was killed.
            take_down(&name)?;
        }
        let lab = Self { name, engine, nodes };
        lab.run(["up", &nodes.to_string()])?;
        lab.run(["base-image", IMAGE])?;
        Ok(lab)
    }

    /// The node of that number. The first is 1.
    #[must_use]
    pub fn node(&self, number: u8) -> Node<'_> {
        Node { lab: self, number }
    }

    /// The numbers of its nodes.
    pub fn nodes(&self) -> impl Iterator<Item = u8> + use<> {
        1..=self.nodes
    }

    /// Loads an image's archive on every node.
    ///
    /// # Errors
    /// An engine refuses it.
    pub fn load(&self, archive: &Path) -> anyhow::Result<()> {
        sh::output(self.command().arg("load").arg(archive)).map(drop)
    }

    /// Makes an image from a folder on every node.
    ///
    /// # Errors
    /// An engine refuses it.
    pub fn import(&self, image: &str, folder: &Path, changes: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command();
        sh::output(command.args(["import", image]).arg(folder).args(changes)).map(drop)
    }

    /// Deploys a stack from these files on the manager, with these environment variables. Does not wait for its
    /// tasks.
    ///
    /// # Errors
    /// The manager refuses.
    pub fn deploy(&self, stack: &str, files: &[PathBuf], variables: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut command = self.node(1).command("docker");
        // The images are on the nodes, not in a registry.
        command.args(["stack", "deploy", "--resolve-image=never"]);
        for file in files {
            command.arg("--compose-file").arg(file);
        }
        command.arg(stack).envs(variables.iter().copied());
        sh::output(&mut command).map(drop)
    }

    /// Makes services' virtual addresses and published ports work on kernels without IPVS, for the tasks that run
    /// now.
    ///
    /// # Errors
    /// The script fails.
    pub fn publish(&self) -> anyhow::Result<()> {
        self.run(["vips"]).map(drop)
    }

    fn run<const N: usize>(&self, words: [&str; N]) -> anyhow::Result<String> {
        sh::output(self.command().args(words))
    }

    fn command(&self) -> Command {
        let mut command = script(&self.name);
        command.env("SWARM_LAB_ENGINE", &self.engine);
        // The engine itself builds images. BuildKit's client is not on every machine.
        command.env("DOCKER_BUILDKIT", "0");
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // If this fails, the next lab removes the rest once this process has ended.
        drop(take_down(&self.name));
    }
}

/// A node of a lab.
#[derive(Clone, Copy, Debug)]
pub struct Node<'lab> {
    lab: &'lab Lab,
    number: u8,
}

impl Node<'_> {
    /// Its address in the network between the nodes.
    #[must_use]
    pub fn address(self) -> String {
        format!("10.94.0.{}", 10 + self.number)
    }

    /// Its hostname in the Swarm.
    #[must_use]
    pub fn name(self) -> String {
        format!("n{}", self.number)
    }

    /// A namespace by its file name in the engine's folder: a container's or an overlay's. It can be used while the
    /// engine is down.
    ///
    /// # Errors
    /// The node is off.
    pub fn namespace(self, file: &str) -> anyhow::Result<Netns> {
        let holder = format!("{STATES}/{}/nodes/{}/holder", self.lab.name, self.name());
        let text = fs::read_to_string(&holder).with_context(|| format!("{} is off", self.name()))?;
        let process = text.split(' ').next().unwrap_or_default();
        // Mounts in that folder are visible only to the node's processes.
        let path = format!("/proc/{process}/root/run/docker/netns/{file}");
        Ok(Netns::of_others(Path::new(&path)))
    }

    /// The file of its network namespace.
    #[must_use]
    pub fn netns(self) -> PathBuf {
        format!("/run/netns/{}-n{}", self.lab.name, self.number).into()
    }

    /// Runs `docker` with the words of `line`, and returns its output.
    ///
    /// # Errors
    /// It fails.
    pub fn docker(self, line: &str) -> anyhow::Result<String> {
        sh::output(self.command("docker").args(line.split_whitespace()))
    }

    /// Runs `docker` with `line`, such as `run --rm IMAGE` or `exec CONTAINER`, and a shell script as the container's
    /// command.
    ///
    /// # Errors
    /// It fails.
    pub fn docker_script(self, line: &str, text: &str) -> anyhow::Result<String> {
        let mut command = self.command("docker");
        sh::output(command.args(line.split_whitespace()).args(["sh", "-c", text]))
    }

    /// Starts a container of [`IMAGE`] with these flags. The container sleeps.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn start_container(self, name: &str, flags: &str) -> anyhow::Result<()> {
        self.docker(&format!("run -d --name {name} {flags} {IMAGE}")).map(drop)
    }

    /// The output of a container.
    ///
    /// # Errors
    /// There is no such container.
    pub fn logs(self, container: &str) -> anyhow::Result<String> {
        let mut command = sh::command("sh -c");
        let lab = self.command("docker");
        command
            .arg("exec \"$0\" \"$@\" 2>&1")
            .arg(lab.get_program())
            .args(lab.get_args());
        command.envs(lab.get_envs().filter_map(|(name, value)| Some((name, value?))));
        sh::output(command.args(["logs", container]))
    }

    /// Runs a command line on the node, and returns its output.
    ///
    /// # Errors
    /// It fails.
    pub fn exec(self, line: &str) -> anyhow::Result<String> {
        sh::output(self.command("exec").args(line.split_whitespace()))
    }

    /// Runs a command line in a network namespace of the node. `netns` is a container, or a file name in
    /// `/run/docker/netns`; a file needs no engine.
    ///
    /// # Errors
    /// It fails.
    pub fn exec_in(self, netns: &str, line: &str) -> anyhow::Result<String> {
        sh::output(self.command("netns").arg(netns).args(line.split_whitespace()))
    }

    /// A device's own counters, as `ip -s link` shows them.
    ///
    /// # Errors
    /// There is no such device.
    pub fn figures(self, netns: &str, device: &str) -> anyhow::Result<Figures> {
        Figures::of_ip(&self.exec_in(netns, &format!("ip -j -s link show dev {device}"))?)
    }

    /// The engine's description of a container.
    ///
    /// # Errors
    /// There is no container of that name.
    pub fn inspect(self, container: &str) -> anyhow::Result<Value> {
        let mut all: Value = serde_json::from_str(&self.docker(&format!("container inspect {container}"))?)?;
        all.get_mut(0).map(Value::take).context("nothing was said")
    }

    /// The file name of a container's network namespace.
    ///
    /// # Errors
    /// The container has none.
    pub fn sandbox(self, container: &str) -> anyhow::Result<String> {
        let described = self.inspect(container)?;
        let path = text(&described, "/NetworkSettings/SandboxKey")?;
        let name = Path::new(path).file_name().and_then(OsStr::to_str);
        Ok(name
            .with_context(|| format!("{container} has no namespace"))?
            .to_owned())
    }

    /// A container's address on a network, as reported by the engine.
    ///
    /// # Errors
    /// The container has none there.
    pub fn address_of(self, container: &str, network: &str) -> anyhow::Result<IpAddr> {
        let described = self.inspect(container)?;
        if let Ok(address) = text(&described, &format!("/NetworkSettings/Networks/{network}/IPAddress")) {
            return Ok(address.parse()?);
        }
        // The description of a container in a Swarm lacks its address on `docker_gwbridge`. The description of that
        // network has it.
        let id = text(&described, "/Id")?;
        let networks: Value = serde_json::from_str(&self.docker(&format!("network inspect {network}"))?)?;
        let address = text(&networks, &format!("/0/Containers/{id}/IPv4Address"))?;
        Ok(address.split('/').next().unwrap_or_default().parse()?)
    }

    /// The gateway's address on a container's network, which is the node's.
    ///
    /// # Errors
    /// The container has none there.
    pub fn gateway_of(self, container: &str, network: &str) -> anyhow::Result<IpAddr> {
        let described = self.inspect(container)?;
        Ok(text(&described, &format!("/NetworkSettings/Networks/{network}/Gateway"))?.parse()?)
    }

    /// The name of the device that has the container's address on a network.
    ///
    /// # Errors
    /// There is no such device.
    pub fn device(self, container: &str, network: &str) -> anyhow::Result<String> {
        let address = self.address_of(container, network)?;
        let devices: Value = serde_json::from_str(&self.exec_in(container, &format!("ip -j addr show to {address}"))?)?;
        // `ip` also lists the other devices, as empty objects.
        let mut names = devices
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|it| it.get("ifname"));
        match (names.next(), names.next()) {
            (Some(Value::String(name)), None) => Ok(name.clone()),
            _ => bail!("{container} does not have one device of {address}: {devices}"),
        }
    }

    /// Kills the engine. Its containers continue to run.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn crash_engine(self) -> anyhow::Result<()> {
        sh::output(&mut self.command("crash")).map(drop)
    }

    /// Starts the engine again.
    ///
    /// # Errors
    /// It does not answer.
    pub fn start_engine(self) -> anyhow::Result<()> {
        sh::output(&mut self.command("start")).map(drop)
    }

    /// The last 60 lines of the engine's log, for error messages.
    #[must_use]
    pub fn engine_log(self) -> String {
        let file = format!("{STATES}/{}/nodes/{}/dockerd.log", self.lab.name, self.name());
        let text = fs::read_to_string(file).unwrap_or_else(|why| why.to_string());
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Starts netmon on the node.
    ///
    /// # Errors
    /// It does not run.
    pub fn netmon(self, flags: &[&str]) -> anyhow::Result<Netmon> {
        self.netmon_of(&binary()?, flags)
    }

    /// Starts that build of netmon on the node.
    ///
    /// # Errors
    /// It does not run.
    pub fn netmon_of(self, build: &Path, flags: &[&str]) -> anyhow::Result<Netmon> {
        let mut command = self.command("exec");
        command.arg(build).args(flags);
        Netmon::spawn_in(Some(self.netns()), command, free_port()?)
    }

    fn command(self, what: &str) -> Command {
        let mut command = self.lab.command();
        command.arg(what).arg(self.name());
        command
    }
}

fn text<'a>(json: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    json.pointer(pointer)
        .and_then(Value::as_str)
        .filter(|it| !it.is_empty())
        .with_context(|| format!("{pointer} is missing"))
}

/// Removes the labs of tests that were killed.
fn take_down_what_the_dead_left() -> anyhow::Result<()> {
    let Ok(folders) = fs::read_dir(STATES) else {
        return Ok(());
    };
    for folder in folders {
        let name = folder?.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|it| it.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            take_down(&name)?;
        }
    }
    Ok(())
}

fn take_down(lab: &str) -> anyhow::Result<()> {
    sh::output(script(lab).arg("down"))?;
    // The script cannot remove the lock file that it holds.
    drop(fs::remove_file(format!("{STATES}/.{lab}.lock")));
    Ok(())
}

fn script(lab: &str) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/lab/swarm-lab"));
    // Settings in the environment for other labs must not affect this one.
    for setting in ["DIR", "SUBNET", "MTU", "OFFLOAD", "MANAGERS", "DOCKERD_ARGS"] {
        command.env_remove(format!("SWARM_LAB_{setting}"));
    }
    command.env("SWARM_LAB_NAME", lab);
    command
}
