//! Creates many network namespaces with interfaces, and an inventory that has them as containers.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use anyhow::Context as _;
use netmon::{
    model::{
        interface::{Device, DeviceKind, MacAddress},
        inventory::{Container, Endpoint, Identity, Inventory, Network, Sandbox},
        netns::{NetnsFile, Role},
    },
    netns::{
        enter::{inside, on_netns_thread},
        rtnetlink::Client,
    },
    observe::Shared,
};

const HUB: &str = "netmon-bench-hub";

/// The namespaces, which are deleted when this is dropped.
#[derive(Debug)]
pub(crate) struct World {
    names: Vec<String>,
    devices: Vec<Vec<Device>>,
    files: Vec<NetnsFile>,
    interfaces: usize,
}

impl World {
    /// Creates this number of namespaces, with this number of veths in each.
    pub(crate) fn new(containers: usize, interfaces: usize) -> anyhow::Result<Self> {
        let names: Vec<String> = (0..containers).map(|at| format!("netmon-bench-{at:012x}")).collect();
        let mut world = Self {
            names,
            devices: Vec::new(),
            files: Vec::new(),
            interfaces,
        };
        let mut script = format!("netns add {HUB}\n");
        for name in &world.names {
            writeln!(script, "netns add {name}")?;
        }
        ip(&[], &script)?;
        let mut script = String::new();
        for (at, name) in world.names.iter().enumerate() {
            for interface in 0..interfaces {
                let mac = mac(at, interface);
                writeln!(
                    script,
                    "link add h{at}x{interface} type veth peer name eth{interface} address {mac} netns {name}"
                )?;
            }
        }
        ip(&["-n", HUB], &script)?;
        for name in &world.names {
            let up: String = (0..interfaces).fold(String::new(), |mut script, interface| {
                let _infallible = writeln!(script, "link set eth{interface} up");
                script
            });
            let up = format!("link set lo up\n{up}");
            ip(&["-n", name], &up)?;
        }
        world.look()?;
        Ok(world)
    }

    fn look(&mut self) -> anyhow::Result<()> {
        let paths: Vec<PathBuf> = self
            .names
            .iter()
            .map(|name| PathBuf::from("/run/netns").join(name))
            .collect();
        self.devices = on_netns_thread(|thread| -> anyhow::Result<_> {
            paths
                .iter()
                .map(|path| {
                    thread.enter(path)?;
                    Ok(Client::open()?.devices()?.devices)
                })
                .collect()
        })??;
        let file = |path: PathBuf| NetnsFile {
            path,
            inode: 0,
            role: Role::Sandbox,
        };
        self.files = paths.into_iter().map(file).collect();
        Ok(())
    }

    /// Runs `work` in the first namespace.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let file = self.files.first().context("there is no namespace")?;
        Ok(inside(&file.path, work)?)
    }

    /// Enters all namespaces, devices and names into a registry.
    pub(crate) fn observe(&self, shared: &Shared) -> anyhow::Result<()> {
        for (file, devices) in self.files.iter().zip(&self.devices) {
            let path = &file.path;
            let netns = on_netns_thread(|thread| -> anyhow::Result<_> {
                thread.enter(path)?;
                Ok(Client::open()?.netns()?)
            })??;
            shared.lock().looked(file, netns, devices.clone(), Instant::now());
        }
        shared.lock().set_inventory(Arc::new(self.inventory()));
        Ok(())
    }

    fn inventory(&self) -> Inventory {
        let network = |at: usize| {
            let (id, name) = (Arc::from(format!("n{at}")), format!("shop_network{at}"));
            let network = Network {
                id: Arc::clone(&id),
                name,
                driver: "bridge".to_owned(),
                ..Network::default()
            };
            (id, Arc::new(network))
        };
        let container = |(at, file): (usize, &NetnsFile)| {
            let endpoint = |interface: usize| Endpoint {
                network: Arc::from(format!("n{interface}")),
                network_name: format!("shop_network{interface}"),
                mac: mac(at, interface).parse::<MacAddress>().ok(),
                addresses: Vec::new(),
                ..Endpoint::default()
            };
            let service = format!("shop_service{}", at / 10);
            let identity = Identity {
                container: format!("{service}.{at}.x3kq8v5n1c7d"),
                service,
                stack: "shop".to_owned(),
            };
            let id: Arc<str> = Arc::from(format!("{at:064x}"));
            let container = Container {
                id: Arc::clone(&id),
                identity: Arc::new(identity),
                image: "registry.example.com/shop/service:1.42.7".to_owned(),
                task_id: format!("{at:025x}"),
                task_slot: at.to_string(),
                network_mode: "default".to_owned(),
                sandbox: Sandbox::Own(file.path.clone()),
                endpoints: (0..self.interfaces).map(endpoint).collect(),
                started: None,
                running: true,
            };
            (id, Arc::new(container))
        };
        Inventory {
            node: None,
            containers: self.files.iter().enumerate().map(container).collect(),
            networks: (0..self.interfaces).map(network).collect(),
            ..Inventory::default()
        }
    }

    /// The minimum work of a reading: enters every namespace, and requests the counters of its devices.
    pub(crate) fn least(&self) -> anyhow::Result<usize> {
        on_netns_thread(|thread| -> anyhow::Result<_> {
            let mut devices = 0;
            for file in &self.files {
                thread.enter(&file.path)?;
                devices += Client::open()?.statistics()?.len();
            }
            Ok(devices)
        })?
    }

    /// The file of each namespace, with the name and the ifindex of each of its interfaces.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = (PathBuf, Vec<(String, u32)>)> {
        self.files.iter().zip(&self.devices).map(|(file, devices)| {
            let veths = devices.iter().filter(|device| device.kind == DeviceKind::Veth);
            (
                file.path.clone(),
                veths.map(|device| (device.name.clone(), device.ifindex)).collect(),
            )
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let script: String =
            self.names
                .iter()
                .map(String::as_str)
                .chain([HUB])
                .fold(String::new(), |mut script, name| {
                    let _infallible = writeln!(script, "netns del {name}");
                    script
                });
        if let Err(error) = ip(&["-force"], &script) {
            println!("namespaces named netmon-bench-* are left over: {error}");
        }
    }
}

fn mac(container: usize, interface: usize) -> String {
    format!(
        "02:42:{:02x}:{:02x}:{:02x}:01",
        interface & 0xff,
        (container >> 8) & 0xff,
        container & 0xff
    )
}

pub(crate) fn ip(arguments: &[&str], script: &str) -> anyhow::Result<()> {
    let mut ip = Command::new("ip")
        .args(arguments)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot run ip; is iproute2 installed?")?;
    ip.stdin
        .take()
        .context("ip takes no input")?
        .write_all(script.as_bytes())?;
    let status = ip.wait()?;
    anyhow::ensure!(status.success(), "ip failed: {status}");
    Ok(())
}
