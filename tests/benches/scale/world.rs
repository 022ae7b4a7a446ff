//! A node with many containers, each of which has an interface on two networks.

use std::{fmt::Write as _, fs, path::PathBuf};

use netmon_tests::{
    fake_engine::{Container, Endpoint, FakeEngine, Network, task_labels},
    netns::Netns,
    scratch::Scratch,
    sh,
};

/// The networks, and the device that each container has on them.
const NETWORKS: [(&str, &str); 2] = [("front", "eth0"), ("back", "eth1")];

/// The node. It is removed when this is dropped.
pub(crate) struct World {
    // Namespaces are dropped before the folder that they are mounted in.
    _containers: Vec<Netns>,
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
        let mut namespaces = Vec::new();
        let mut script = String::new();
        for number in 0..containers {
            let netns = Netns::new(&directory, &format!("{number:012x}"))?;
            for (at, (_, device)) in NETWORKS.into_iter().enumerate() {
                writeln!(
                    script,
                    "link add h{number}x{at} type veth peer name {device} address {} netns {}",
                    mac(number, at),
                    netns.path().display()
                )?;
                writeln!(script, "link set h{number}x{at} up")?;
            }
            namespaces.push(netns);
        }
        let file = scratch.path().join("devices");
        fs::write(&file, script)?;
        sh::output(&mut hub.command(&format!("ip -batch {}", file.display())))?;
        for (number, netns) in namespaces.iter().enumerate() {
            let mut endpoints = Vec::new();
            for (at, (name, device)) in NETWORKS.into_iter().enumerate() {
                let address = format!("10.{}.{}.{}", 80 + at, number / 250, number % 250 + 1);
                netns.run(&format!("ip link set {device} up"))?;
                endpoints.push(Endpoint {
                    network: name.to_owned(),
                    mac: mac(number, at),
                    address,
                    ipv6_address: String::new(),
                });
            }
            let name = format!("service{}.{}.{number:025}", number / 10, number % 10 + 1);
            engine.start_container(Container {
                labels: task_labels(&name),
                name,
                sandbox: netns.path().to_path_buf(),
                network_mode: "default".to_owned(),
                endpoints,
            });
        }
        Ok(Self {
            _containers: namespaces,
            hub,
            engine,
            directory,
        })
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

fn mac(number: usize, at: usize) -> String {
    format!("02:42:{at:02x}:00:{:02x}:{:02x}", number / 256, number % 256)
}
