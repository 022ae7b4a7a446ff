//! A node of a lab: its engine, its containers, its namespaces, and a netmon on it. Must not know what the other nodes
//! do.

use std::{
    ffi::OsStr,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{IMAGE, Lab, STATES};
use crate::{
    figures::Figures,
    netmon::{Netmon, binary, free_port},
    netns::Netns,
    sh,
};

/// A node of a lab.
#[derive(Clone, Copy, Debug)]
pub struct Node<'lab> {
    pub(super) lab: &'lab Lab,
    pub(super) number: u8,
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

    /// Runs a shell script on the node, and returns its output.
    ///
    /// # Errors
    /// It fails.
    pub fn script(self, text: &str) -> anyhow::Result<String> {
        sh::output(self.command("exec").args(["sh", "-c", text]))
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

    pub(super) fn command(self, what: &str) -> Command {
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
