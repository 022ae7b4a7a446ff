//! A real Swarm on one machine. Its nodes have engines of their own. It is removed when this is dropped.
//!
//! `tests/lab/swarm-lab` does the work, and documents what a node is.

mod faults;
mod node;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context as _;

pub use self::node::Node;
use crate::{netns::Netns, sh};

/// An image on every node: busybox, which sleeps unless it gets another command.
pub const IMAGE: &str = "lab/bb:1";

/// The address of the bridge between the nodes.
pub const UNDERLAY: &str = "10.94.0.1";

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

    /// The namespace of the bridge between the nodes, at [`UNDERLAY`]. It is outside of the Swarm.
    #[must_use]
    pub fn underlay(&self) -> Netns {
        Netns::of_others(&PathBuf::from(format!("/run/netns/{}-underlay", self.name)))
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
