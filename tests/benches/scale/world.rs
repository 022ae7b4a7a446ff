//! A node with many containers, each of which has an interface on two networks, and addresses to be reached by.

use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use netmon_tests::{
    fake_engine::{Container, Endpoint, FakeEngine, Network, task_labels},
    netns::Netns,
    scratch::Scratch,
    sh,
};

/// The networks, and the device that each container has on them.
pub(crate) const NETWORKS: [(&str, &str); 2] = [("front", "eth0"), ("back", "eth1")];

/// The node. It is removed when this is dropped.
pub(crate) struct World {
    // Namespaces are dropped before the folder that they are mounted in.
    containers: Vec<Netns>,
    hub: Netns,
    engine: FakeEngine,
    directory: PathBuf,
}

impl World {
    pub(crate) fn new(scratch: &Scratch, containers: usize) -> anyhow::Result<Self> {
        let (directory, others) = (scratch.path().join("netns"), scratch.path().join("others"));
        for folder in [&directory, &others] {
            fs::create_dir(folder)?;
        }
        let engine = FakeEngine::start(scratch.path())?;
        let hub = Netns::new(&others, "hub")?;
        for (at, (name, _)) in NETWORKS.into_iter().enumerate() {
            engine.network(Network {
                name: name.to_owned(),
                driver: "bridge".to_owned(),
                subnet: format!("10.{}.0.0/16", 80 + at),
                ..Network::default()
            });
        }
        let file = scratch.path().join("batch");
        let mut namespaces = Vec::new();
        for number in 0..containers {
            namespaces.push(Netns::new(&directory, &format!("{number:012x}"))?);
        }
        batch(&hub, &file, &ends_at_the_hub(&namespaces)?)?;
        for (number, netns) in namespaces.iter().enumerate() {
            batch(netns, &file, &ends_at_a_container(number)?)?;
            let endpoints = NETWORKS.into_iter().enumerate().map(|(at, (name, _))| {
                Some(Endpoint {
                    network: name.to_owned(),
                    mac: mac(number, at),
                    address: address(number, at)?.to_string(),
                    ipv6_address: String::new(),
                })
            });
            let name = format!("service{}.{}.{number:025}", number / 10, number % 10 + 1);
            engine.start_container(Container {
                labels: task_labels(&name),
                name,
                sandbox: netns.path().to_path_buf(),
                network_mode: "default".to_owned(),
                endpoints: endpoints.collect::<Option<_>>().context("too many containers")?,
            });
        }
        Ok(Self {
            containers: namespaces,
            hub,
            engine,
            directory,
        })
    }

    /// The containers' namespaces, by number.
    pub(crate) fn containers(&self) -> &[Netns] {
        &self.containers
    }

    /// The namespace with the peers of all containers' devices, like that of a node.
    pub(crate) const fn hub(&self) -> &Netns {
        &self.hub
    }

    /// netmon's flags.
    pub(crate) fn flags(&self) -> Vec<String> {
        vec![
            self.engine.flag(),
            format!("--docker.netns-dir={}", self.directory.display()),
            // A thousand containers have more series than the default limit.
            "--limit.series=1000000".to_owned(),
        ]
    }
}

/// The address of a container on a network.
pub(crate) fn address(number: usize, at: usize) -> Option<Ipv4Addr> {
    let third = u8::try_from(number / 250).ok()?;
    let fourth = u8::try_from(number % 250 + 1).ok()?;
    Some(Ipv4Addr::new(10, 80 + u8::try_from(at).ok()?, third, fourth))
}

/// The hub's address on a network.
pub(crate) fn gateway(at: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, if at == 0 { 80 } else { 81 }, 255, 254)
}

/// The devices, and the hub's ends of them. Neighbours are given: a thousand containers have more than the kernel
/// learns by itself (`net.ipv4.neigh.default.gc_thresh3`), and a bridge would flood every question to a thousand ports.
fn ends_at_the_hub(namespaces: &[Netns]) -> anyhow::Result<String> {
    let mut script = String::new();
    for at in 0..NETWORKS.len() {
        writeln!(script, "address add {}/32 dev lo", gateway(at))?;
    }
    for (number, netns) in namespaces.iter().enumerate() {
        for (at, (_, device)) in NETWORKS.into_iter().enumerate() {
            let (end, address) = (format!("h{number}x{at}"), address(number, at).context("too many")?);
            writeln!(
                script,
                "link add {end} address {} type veth peer name {device} address {} netns {}",
                hub_mac(number, at),
                mac(number, at),
                netns.path().display()
            )?;
            writeln!(script, "link set {end} up")?;
            writeln!(script, "route add {address}/32 dev {end} src {}", gateway(at))?;
            writeln!(
                script,
                "neighbour add {address} lladdr {} dev {end} nud permanent",
                mac(number, at)
            )?;
        }
    }
    Ok(script)
}

fn ends_at_a_container(number: usize) -> anyhow::Result<String> {
    let mut script = String::new();
    for (at, (_, device)) in NETWORKS.into_iter().enumerate() {
        writeln!(script, "link set {device} up")?;
        let address = address(number, at).context("too many containers")?;
        writeln!(script, "address add {address}/16 dev {device}")?;
        writeln!(
            script,
            "neighbour add {} lladdr {} dev {device} nud permanent",
            gateway(at),
            hub_mac(number, at)
        )?;
    }
    Ok(script)
}

/// Runs `ip` in the namespace, with these lines.
fn batch(netns: &Netns, file: &Path, script: &str) -> anyhow::Result<()> {
    fs::write(file, script)?;
    sh::output(&mut netns.command(&format!("ip -batch {}", file.display()))).map(drop)
}

fn mac(number: usize, at: usize) -> String {
    format!("02:42:{at:02x}:00:{:02x}:{:02x}", number / 256, number % 256)
}

fn hub_mac(number: usize, at: usize) -> String {
    format!("02:43:{at:02x}:00:{:02x}:{:02x}", number / 256, number % 256)
}
