//! netmon on every node of a lab, installed as the README says: the image is loaded on each node, and the project's
//! own stack is deployed on the manager.

use std::{
    env,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{
    lab::{Lab, Node},
    netmon::{Answer, get_in},
    page::Page,
    patience::within,
};

/// The name of the stack.
pub const STACK: &str = "netmon";
/// The port that netmon listens on.
const PORT: u16 = 10095;
/// How long it may take until a service runs on every node. Swarm first asks an image registry that does not exist.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// How old a page of netmon may be.
const PAGE_AGE: Duration = Duration::from_millis(500);

/// The image under test, made by `cargo xtask test`.
///
/// # Errors
/// The tests were not started by `cargo xtask test`.
pub fn image() -> anyhow::Result<PathBuf> {
    let path = env::var_os("NETMON_TEST_IMAGE").context("NETMON_TEST_IMAGE is not set: run `cargo xtask test`")?;
    Ok(path.into())
}

/// The path of a file in the project's `deploy` folder.
#[must_use]
pub fn deploy(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")).join(file)
}

/// netmon on every node. It ends with the lab.
#[derive(Debug)]
pub struct Fleet<'lab> {
    lab: &'lab Lab,
    /// Whether netmon listens in a namespace of its own.
    elsewhere: bool,
}

impl<'lab> Fleet<'lab> {
    /// Deploys `deploy/stack.yml`, and waits until every node reports that everything is counted.
    ///
    /// # Errors
    /// A node never reports that.
    pub fn deploy(lab: &'lab Lab) -> anyhow::Result<Self> {
        Self::deploy_files(lab, &["stack.yml"], &[])
    }

    /// Like [`Fleet::deploy`], with these files of the project's `deploy` folder as one stack, and with these
    /// environment variables.
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

    /// A netmon that was deployed otherwise, on the nodes' network.
    #[must_use]
    pub const fn of(lab: &'lab Lab) -> Self {
        Self { lab, elsewhere: false }
    }

    /// Sends a request to the netmon of that node, from within the node.
    ///
    /// # Errors
    /// It does not answer.
    pub fn get(&self, node: u8, path: &str) -> anyhow::Result<Answer> {
        if !self.elsewhere {
            return self.get_on_node(node, path);
        }
        let node = self.lab.node(node);
        // A node can reach each container of a network with a gateway at this address.
        let address = node.address_of(&self.container(node)?, "docker_gwbridge")?;
        Self::ask(node, address, path)
    }

    /// Sends a request to netmon's port at the address of that node.
    ///
    /// # Errors
    /// Nothing answers.
    pub fn get_on_node(&self, node: u8, path: &str) -> anyhow::Result<Answer> {
        let node = self.lab.node(node);
        Self::ask(node, node.address().parse()?, path)
    }

    fn ask(node: Node<'_>, address: IpAddr, path: &str) -> anyhow::Result<Answer> {
        let address = SocketAddr::new(address, PORT);
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        get_in(Some(&node.netns()), address, &request)
    }

    /// A page of that node that was made after this was called. netmon keeps its real times here, so clients share a
    /// page for a while.
    ///
    /// # Errors
    /// The page cannot be fetched or parsed.
    pub fn page(&self, node: u8) -> anyhow::Result<Page> {
        thread::sleep(PAGE_AGE);
        self.shared_page(node)
    }

    fn shared_page(&self, node: u8) -> anyhow::Result<Page> {
        let answer = self.get(node, "/metrics")?;
        ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
        Page::parse(&answer.text())
    }

    /// Fetches the page of that node until `look` accepts it.
    ///
    /// # Errors
    /// `look` never accepts it. The error has its last reason, and netmon's log.
    pub fn page_until<T>(
        &self,
        node: u8,
        what: &str,
        mut look: impl FnMut(&Page) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let looked = within(PATIENCE, what, || look(&self.shared_page(node)?));
        looked.with_context(|| format!("netmon's log on node {node}:\n{}", self.log(node)))
    }

    /// The log of the netmon on that node.
    #[must_use]
    pub fn log(&self, node: u8) -> String {
        let node = self.lab.node(node);
        let container = self.container(node);
        container
            .and_then(|id| node.logs(&id))
            .unwrap_or_else(|error| format!("{error:#}"))
    }

    /// The id of netmon's container on a node.
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
