//! netmon on every node of a lab, as the README says: the image loaded on each, the project's own stack deployed on the
//! manager.

use std::{
    env,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{
    lab::{Lab, Node},
    netmon::{Answer, get_in},
    page::Page,
    patience::within,
};

/// What the stack is called.
pub const STACK: &str = "netmon";
/// Where netmon listens.
const PORT: u16 = 10095;
/// How long a service may take until it runs on every node: Swarm looks in a registry first, which is not there.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The image under test: what `cargo xtask test` made.
///
/// # Errors
/// The tests were not started by `cargo xtask test`.
pub fn image() -> anyhow::Result<PathBuf> {
    let path = env::var_os("NETMON_TEST_IMAGE").context("NETMON_TEST_IMAGE is not set: run `cargo xtask test`")?;
    Ok(path.into())
}

/// A file of the project's `deploy` folder.
#[must_use]
pub fn deploy(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")).join(file)
}

/// A netmon on every node. Ends with the lab.
#[derive(Debug)]
pub struct Fleet<'lab> {
    lab: &'lab Lab,
    /// It listens in a namespace of its own.
    elsewhere: bool,
}

impl<'lab> Fleet<'lab> {
    /// Deploys `deploy/stack.yml`, and waits until everything on every node is counted.
    ///
    /// # Errors
    /// It never is.
    pub fn deploy(lab: &'lab Lab) -> anyhow::Result<Self> {
        Self::deploy_files(lab, &["stack.yml"], &[])
    }

    /// As [`Fleet::deploy`], from these files of the project's `deploy` folder as one stack, with these variables.
    ///
    /// # Errors
    /// As [`Fleet::deploy`].
    pub fn deploy_files(lab: &'lab Lab, files: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        lab.load(&image()?)?;
        let paths: Vec<PathBuf> = files.iter().map(|file| deploy(file)).collect();
        lab.deploy(STACK, &paths, variables)?;
        let elsewhere = files.contains(&"stack-overlay.yml");
        let fleet = Self { lab, elsewhere };
        for node in lab.nodes() {
            let ready = within(PATIENCE, "netmon to be ready on every node", || {
                let answer = fleet.get(node, "/-/ready")?;
                ensure!(answer.status == 200, "{}", answer.text());
                Ok(())
            });
            ready.with_context(|| format!("node {node}: {}", fleet.tasks()))?;
        }
        Ok(fleet)
    }

    /// Asks the netmon of that node, from within the node.
    ///
    /// # Errors
    /// It does not answer.
    pub fn get(&self, node: u8, path: &str) -> anyhow::Result<Answer> {
        if !self.elsewhere {
            return self.get_on_node(node, path);
        }
        let node = self.lab.node(node);
        // Every container of a network that leads out can be reached that way from its node.
        let address = node.address_of(&self.container(node)?, "docker_gwbridge")?;
        Self::ask(node, address, path)
    }

    /// Asks whoever listens where netmon does, at the address of that node.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn get_on_node(&self, node: u8, path: &str) -> anyhow::Result<Answer> {
        let node = self.lab.node(node);
        Self::ask(node, node.address().parse()?, path)
    }

    fn ask(node: Node<'_>, address: IpAddr, path: &str) -> anyhow::Result<Answer> {
        let address = SocketAddr::new(address, PORT);
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        get_in(Some(&node.netns()), address, &request)
    }

    /// The page of that node.
    ///
    /// # Errors
    /// It cannot be had or read.
    pub fn page(&self, node: u8) -> anyhow::Result<Page> {
        let answer = self.get(node, "/metrics")?;
        ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
        Page::parse(&answer.text())
    }

    /// Looks at the page of that node until it shows what is waited for.
    ///
    /// # Errors
    /// It never does: the error has the last reason, and what netmon has logged.
    pub fn page_until<T>(
        &self,
        node: u8,
        what: &str,
        mut look: impl FnMut(&Page) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let looked = within(PATIENCE, what, || look(&self.page(node)?));
        looked.with_context(|| format!("netmon's log on node {node}:\n{}", self.log(node)))
    }

    /// What the netmon of that node has logged.
    #[must_use]
    pub fn log(&self, node: u8) -> String {
        let node = self.lab.node(node);
        let container = self.container(node);
        container
            .and_then(|id| node.logs(&id))
            .unwrap_or_else(|error| format!("{error:#}"))
    }

    /// The container that netmon runs in on a node.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn container(&self, node: Node<'_>) -> anyhow::Result<String> {
        let all = node.docker(&format!(
            "ps -q --no-trunc --filter label=com.docker.swarm.service.name={STACK}_netmon"
        ))?;
        ensure!(all.split_whitespace().count() == 1, "netmon's containers here: {all:?}");
        Ok(all)
    }

    fn tasks(&self) -> String {
        let tasks = self.lab.node(1).docker(&format!("stack ps --no-trunc {STACK}"));
        tasks.unwrap_or_else(|error| format!("{error:#}"))
    }
}
