//! The demo's topology: two nodes with an overlay between them, and containers on it, wired as the engine wires them.
//! Owns every namespace, device and rule, and what the fake engine reports about them.
//!
//! Must not know netmon or the traffic. Nothing is ever created in the host's namespace.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use netmon_tests::{
    fake_engine::{Container, Elsewhere, Endpoint, FakeEngine, network_id},
    netns::Netns,
    scratch::Scratch,
};

use super::{
    containers,
    network::{API, BACKEND, CACHE, DB, FRONTEND, JOB, NOWHERE, UNREACHABLE, WEB, bridge, forward, neighbour, plug},
};

/// The overlay's VNI.
const VNI: u32 = 4097;
/// An MTU below the frontend's. With it on one end of a veth pair only, longer packets are dropped and counted.
const TOO_SMALL: u32 = 1400;

/// The nodes' addresses on the veth pair between them.
const NODES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];

/// The whole topology. The namespaces are dropped before the folder that they are mounted in.
#[derive(Debug)]
pub(super) struct Topology {
    pub(super) engine: FakeEngine,
    pub(super) web: [Netns; 2],
    pub(super) api: Netns,
    pub(super) cache: Netns,
    pub(super) db: Netns,
    /// The overlay's namespace on this node and on the other.
    overlays: [Netns; 2],
    /// The nodes' own namespaces. The frontend's bridge is in the first.
    nodes: [Netns; 2],
    /// A container that has only a loopback device.
    isolated: Netns,
    folder: PathBuf,
    _scratch: Scratch,
}

impl Topology {
    /// Creates it.
    pub(super) fn new() -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let folder = scratch.path().join("netns");
        // The other node's namespaces, which this node's engine does not see.
        let elsewhere = scratch.path().join("elsewhere");
        for folder in [&folder, &elsewhere] {
            fs::create_dir(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        let container = |name: &str| sandbox(&folder, name);
        let overlay = format!("1-{:.10}", network_id(BACKEND.name));
        let topology = Self {
            engine: FakeEngine::start(scratch.path())?,
            web: [container(containers::WEB[0])?, container(containers::WEB[1])?],
            api: container(containers::API)?,
            cache: container(containers::CACHE)?,
            isolated: container(containers::ISOLATED)?,
            db: Netns::new(&elsewhere, "db")?,
            overlays: [Netns::new(&folder, &overlay)?, Netns::new(&elsewhere, &overlay)?],
            // The engine mounts the namespace of its node under this name. netmon therefore takes it for the node's,
            // and counts the traffic between the nodes there.
            nodes: [Netns::new(&folder, "default")?, Netns::new(&elsewhere, "node2")?],
            folder,
            _scratch: scratch,
        };
        topology.wire()?;
        topology.populate()?;
        topology.trouble()?;
        Ok(topology)
    }

    /// The folder in which the engine would mount namespaces.
    pub(super) fn netns_dir(&self) -> &Path {
        &self.folder
    }

    /// Starts a short-lived container on the overlay.
    pub(super) fn start_job(&self, run: u32) -> anyhow::Result<(Container, Netns)> {
        let mut container = containers::job(run);
        let netns = sandbox(&self.folder, &container.name)?;
        let port = format!("vethjob{run}");
        let endpoint = plug(&netns, "eth0", &self.overlays[0], &port, &BACKEND, JOB)?;
        netns.path().clone_into(&mut container.sandbox);
        container.endpoints.push(endpoint);
        self.engine.start_container(container.clone());
        Ok((container, netns))
    }

    /// Creates the bridge, the veth pair between the nodes, and the overlay on top of it.
    fn wire(&self) -> anyhow::Result<()> {
        let [node, other] = &self.nodes;
        bridge(node, &FRONTEND)?;
        node.run(&format!(
            "ip link add eth0 type veth peer name eth0 netns {}",
            other.path().display()
        ))?;
        for (at, node) in self.nodes.iter().enumerate() {
            // As the engine does when it starts.
            node.run("sysctl -qw net.ipv4.ip_forward=1")?;
            node.run(&format!("ip address add {}/24 dev eth0", NODES[at]))?;
            node.run("ip link set eth0 up")?;
            let overlay = &self.overlays[at];
            bridge(overlay, &BACKEND)?;
            // As the engine does: the device is created in the node's namespace, where its socket stays, and then
            // moved.
            node.run(&format!(
                "ip link add vxlan0 mtu {} type vxlan id {VNI} dstport 4789 local {} proxy l2miss l3miss",
                BACKEND.mtu, NODES[at]
            ))?;
            node.run(&format!("ip link set vxlan0 netns {}", overlay.path().display()))?;
            overlay.run(&format!("ip link set vxlan0 master {} up", BACKEND.bridge))?;
        }
        Ok(())
    }

    /// Creates the containers, with their interfaces.
    fn populate(&self) -> anyhow::Result<()> {
        let [node, _] = &self.nodes;
        let [overlay, remote] = &self.overlays;
        self.engine.network(FRONTEND.described("bridge", None));
        self.engine.network(BACKEND.described("overlay", Some(VNI)));
        for ((task, netns), last) in containers::WEB.iter().zip(&self.web).zip(WEB) {
            let frontend = plug(netns, "eth0", node, &format!("vethweb{last}"), &FRONTEND, last)?;
            let backend = plug(netns, "eth1", overlay, &format!("vethweb{last}"), &BACKEND, last)?;
            self.start(containers::task(task), netns, vec![frontend, backend]);
            self.know(1, last, NODES[0])?;
        }
        let endpoint = plug(&self.api, "eth0", overlay, "vethapi", &BACKEND, API)?;
        self.start(containers::task(containers::API), &self.api, vec![endpoint]);
        self.know(1, API, NODES[0])?;
        let endpoint = plug(&self.cache, "eth0", node, "vethcache", &FRONTEND, CACHE)?;
        self.start(containers::cache(), &self.cache, vec![endpoint]);
        plug(&self.db, "eth0", remote, "vethdb", &BACKEND, DB)?;
        self.know(0, DB, NODES[1])?;
        self.engine.elsewhere(Elsewhere {
            network: BACKEND.name.to_owned(),
            service: "shop_db".to_owned(),
            address: BACKEND.ip(DB).into(),
        });

        self.start(containers::isolated(), &self.isolated, Vec::new());
        self.engine.start_container(containers::shared());
        let mut host = containers::host();
        host.sandbox = self.folder.join("default");
        self.engine.start_container(host);
        Ok(())
    }

    /// Sets up what makes the counters of errors and drops move.
    fn trouble(&self) -> anyhow::Result<()> {
        let [node, _] = &self.nodes;
        let [overlay, _] = &self.overlays;
        self.cache.run(&format!("ip link set eth0 mtu {TOO_SMALL}"))?;
        node.run(&format!("ip link set vethweb{} mtu {TOO_SMALL}", WEB[1]))?;

        self.api.run("nft add table inet demo")?;
        self.api
            .run("nft add chain inet demo lossy { type filter hook prerouting priority raw ; }")?;
        self.api.run(&format!(
            "nft add rule inet demo lossy ip saddr {} numgen random mod 100 < 2 counter drop",
            BACKEND.ip(WEB[1])
        ))?;
        // Simulates a congested router between the nodes. It marks packets with congestion (ECN) although their
        // sender does not support it, so VXLAN must drop them. The rate is low because the kernel logs each of them.
        node.run("nft add table inet demo")?;
        node.run("nft add chain inet demo congested { type filter hook prerouting priority mangle ; }")?;
        node.run("nft add rule inet demo congested udp dport 4789 limit rate 6/minute burst 1 packets ip ecn set ce")?;

        for last in [NOWHERE, UNREACHABLE] {
            neighbour(overlay, last)?;
        }
        // No route leads to this node.
        forward(overlay, UNREACHABLE, Ipv4Addr::new(198, 51, 100, 1))
    }

    fn start(&self, mut container: Container, netns: &Netns, endpoints: Vec<Endpoint>) {
        netns.path().clone_into(&mut container.sandbox);
        container.endpoints = endpoints;
        self.engine.start_container(container);
    }

    /// Makes the overlay on one node know where a container is. In a Swarm this comes by gossip.
    fn know(&self, at: usize, last: u8, node: Ipv4Addr) -> anyhow::Result<()> {
        neighbour(&self.overlays[at], last)?;
        forward(&self.overlays[at], last, node)
    }
}

/// Creates a container's namespace.
fn sandbox(folder: &Path, container: &str) -> anyhow::Result<Netns> {
    Netns::new(folder, &containers::sandbox(container))
}
