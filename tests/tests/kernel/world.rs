//! Containers and networks made of namespaces, and a netmon that watches them.

mod cables;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon::datapath::host::Host;
use netmon_tests::{
    fake_engine::{Container, Endpoint, FakeEngine, Network, compose_labels, network_id},
    figures::Figures,
    netmon::{Netmon, binary},
    netns::Netns,
    page::Page,
    patience::until,
    scratch::Scratch,
};

pub(crate) use self::cables::Cable;

/// The name of every container's device.
pub(crate) const DEVICE: &str = "eth0";
/// The port of a world's first netmon.
const PORT: u16 = 10095;
/// Shorter waiting times for most worlds: how old a container has to be, and how quiet its node, before it gets
/// programs.
const SHORT_TIMES: &str = "attach-age=150ms,attach-quiet=100ms";

/// The labels of every container, unless a test gives it others. Compose lets a container have a short name.
fn labels() -> BTreeMap<String, String> {
    compose_labels("shop", "shop_web")
}

/// A container: a namespace with a device and addresses.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) netns: Netns,
    pub(crate) address: IpAddr,
    pub(crate) ipv6_address: IpAddr,
}

impl Member {
    /// The engine's description of it.
    pub(crate) fn container(&self, network: &str) -> anyhow::Result<Container> {
        Ok(Container {
            name: self.name.clone(),
            sandbox: self.netns.path().to_path_buf(),
            labels: labels(),
            network_mode: "default".to_owned(),
            endpoints: vec![Endpoint {
                network: network.to_owned(),
                mac: self.netns.mac(DEVICE)?,
                address: self.address.to_string(),
                ipv6_address: self.ipv6_address.to_string(),
            }],
        })
    }

    /// The counters of its device.
    pub(crate) fn figures(&self) -> anyhow::Result<Figures> {
        self.netns.figures(DEVICE)
    }
}

/// Everything a test needs. It is removed when this is dropped.
pub(crate) struct World {
    // Fields are dropped in this order: namespaces before the folder that they are mounted in.
    pub(crate) engine: FakeEngine,
    /// Namespaces of bridges and nodes, which are not containers.
    pub(crate) others: Vec<Netns>,
    /// netmon's own namespace. So nsids, ports and messages about devices are this world's own.
    pub(crate) home: Netns,
    /// The port of the next netmon.
    port: AtomicU16,
    /// netmon's waiting times that differ from the usual ones: `--debug.times`.
    pub(crate) times: String,
    /// Whether a page is shared by all who ask within the usual time. Otherwise each request gets a new one.
    pub(crate) shares_pages: bool,
    /// Whether netmon takes the bridge's namespace, or the first node's, for the node's.
    pub(crate) sees_node: bool,
    /// Whether the engine describes overlay networks as encrypted.
    pub(crate) encrypted: bool,
    /// The labels of the pair of containers.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) scratch: Scratch,
}

impl World {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        for folder in ["netns", "others"] {
            std::fs::create_dir(scratch.path().join(folder))?;
        }
        let engine = FakeEngine::start(scratch.path())?;
        let home = Netns::new(&scratch.path().join("others"), "home")?;
        Ok(Self {
            engine,
            others: Vec::new(),
            home,
            port: AtomicU16::new(PORT),
            times: SHORT_TIMES.to_owned(),
            shares_pages: false,
            sees_node: false,
            encrypted: false,
            labels: labels(),
            scratch,
        })
    }

    /// The same, with netmon's usual waiting times.
    pub(crate) fn with_real_times(mut self) -> Self {
        self.times.clear();
        self
    }

    /// The folder of namespaces that netmon watches.
    pub(crate) fn netns_dir(&self) -> PathBuf {
        self.scratch.path().join("netns")
    }

    /// netmon's flags.
    pub(crate) fn flags(&self, more: &[&str]) -> Vec<String> {
        let page_age = if self.shares_pages { "" } else { ",page-age=0ms" };
        [
            self.engine.flag(),
            format!("--docker.netns-dir={}", self.netns_dir().display()),
            format!("--debug.times={}{page_age}", self.times),
        ]
        .into_iter()
        .chain(more.iter().map(ToString::to_string))
        .collect()
    }

    /// Starts a netmon that watches this world.
    pub(crate) fn netmon(&self, more: &[&str]) -> anyhow::Result<Netmon> {
        let mut command = Command::new(binary()?);
        command.args(self.flags(more));
        self.spawn(&command)
    }

    /// Runs a command that starts netmon, in this world's own namespace.
    pub(crate) fn spawn(&self, command: &Command) -> anyhow::Result<Netmon> {
        let mut inside = self.home.command("");
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        let port = self.port.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Netmon::spawn_in(Some(self.home.path().to_path_buf()), inside, address)
    }

    /// A namespace where the engine mounts those of containers.
    pub(crate) fn sandbox(&self, name: &str) -> anyhow::Result<Netns> {
        Netns::new(&self.netns_dir(), name)
    }

    /// A namespace that netmon does not watch.
    pub(crate) fn other(&mut self, name: &str) -> anyhow::Result<&Netns> {
        let netns = if self.sees_node && matches!(name, "bridge" | "node1") {
            Netns::new(&self.netns_dir(), "default")?
        } else {
            Netns::new(&self.scratch.path().join("others"), name)?
        };
        self.others.push(netns);
        self.others.last().context("it was just made")
    }

    /// Two containers, `a` and `b`, on the network `net`. The engine reports them.
    pub(crate) fn pair(&mut self, cable: Cable) -> anyhow::Result<(Member, Member)> {
        let (a, b) = (self.sandbox("aaaaaaaaaaaa")?, self.sandbox("bbbbbbbbbbbb")?);
        match cable {
            Cable::Veth => {
                let b = b.path().display();
                a.run(&format!("ip link add {DEVICE} type veth peer name {DEVICE} netns {b}"))?;
            }
            Cable::Bridge => self.bridge("bridge", &[&a, &b])?,
            Cable::Macvlan => self.macvlan(&[&a, &b])?,
            Cable::Vxlan => self.overlay(&a, &b)?,
        }
        self.engine.network(Network {
            name: "net".to_owned(),
            driver: cable.driver().to_owned(),
            subnet: "10.77.0.0/24".to_owned(),
            vni: (cable == Cable::Vxlan).then_some(4097),
            encrypted: self.encrypted,
        });
        let mut members = Vec::new();
        for (number, (name, netns)) in [("a", a), ("b", b)].into_iter().enumerate() {
            let number = number + 1;
            netns.ip(&[
                format!("addr add 10.77.0.{number}/24 dev {DEVICE}"),
                format!("addr add fd77::{number}/64 dev {DEVICE} nodad"),
                format!("link set {DEVICE} up"),
            ])?;
            members.push(Member {
                name: name.to_owned(),
                netns,
                address: format!("10.77.0.{number}").parse()?,
                ipv6_address: format!("fd77::{number}").parse()?,
            });
        }
        let [a, b] = <[Member; 2]>::try_from(members).map_err(|_| anyhow::anyhow!("not two"))?;
        // Permanent neighbour entries avoid ARP requests: only a test's own packets are counted.
        for (one, other) in [(&a, &b), (&b, &a)] {
            let mac = other.netns.mac(DEVICE)?;
            let of = |address| format!("neigh replace {address} lladdr {mac} dev {DEVICE} nud permanent");
            one.netns.ip(&[other.address, other.ipv6_address].map(of))?;
        }
        for member in [&a, &b] {
            member.netns.passes(DEVICE)?;
        }
        if let (Cable::Bridge, Some(bridge)) = (cable, self.others.last()) {
            bridge.passes("veth0")?;
            bridge.passes("veth1")?;
        }
        for member in [&a, &b] {
            self.engine.start_container(Container {
                labels: self.labels.clone(),
                ..member.container("net")?
            });
        }
        Ok((a, b))
    }

    /// Ends a container as the engine does: the device is set down and deleted before the namespace is removed.
    /// Returns the device's counters before that.
    pub(crate) fn end(&self, member: Member) -> anyhow::Result<Figures> {
        let last = member.figures()?;
        self.engine.end_container(&member.name);
        let device = DEVICE;
        member
            .netns
            .ip(&[format!("link set {device} down"), format!("link del {device}")])?;
        drop(member);
        Ok(last)
    }

    /// The node's namespace, if netmon sees it.
    pub(crate) fn node(&self) -> anyhow::Result<&Netns> {
        self.others
            .iter()
            .find(|it| it.path().ends_with("default"))
            .context("netmon does not see the node")
    }

    /// The other node's namespace.
    pub(crate) fn far_node(&self) -> anyhow::Result<&Netns> {
        let mut others = self.others.iter();
        others
            .find(|it| it.path().ends_with("node2"))
            .context("there is no other node")
    }

    /// The namespace of the overlay that netmon sees.
    pub(crate) fn overlay_netns(&self) -> anyhow::Result<&Netns> {
        let name = format!("1-{}", &network_id("net")[..10]);
        self.others
            .iter()
            .find(|it| it.path().ends_with(&name))
            .context("there is no overlay")
    }
}

/// The page and the device's counters, which must be equal. Reads the device before and after the page, until no
/// packet passed in between.
pub(crate) fn agree(netmon: &Netmon, member: &Member, network: &str) -> anyhow::Result<(Page, Figures)> {
    until("page and device to show the same", || {
        let before = member.figures()?;
        let page = netmon.page()?;
        let after = member.figures()?;
        ensure!(before == after, "the device of {} is not quiet", member.name);
        let shown = page.interface(&member.name, network)?;
        ensure!(shown == after, "netmon shows {shown:?}, the kernel {after:?}");
        Ok((page, after))
    })
    .with_context(|| format!("netmon's log:\n{}", netmon.log()))
}

/// Waits until the kernel's own packets on new devices (multicast reports) have been sent.
pub(crate) fn quiet(members: &[&Member]) -> anyhow::Result<()> {
    let all = || {
        members
            .iter()
            .map(|it| it.figures())
            .collect::<anyhow::Result<Vec<_>>>()
    };
    until("devices to be quiet", || {
        let before = all()?;
        std::thread::sleep(Duration::from_millis(1200));
        ensure!(before == all()?, "they still send");
        Ok(())
    })
}

/// Waits until that many interfaces have their programs.
pub(crate) fn ready(netmon: &Netmon, interfaces: u64) -> anyhow::Result<()> {
    netmon.wait_ready()?;
    netmon.page_until("every interface to have programs", |page| {
        let used = page.count("netmon_bpf_map_entries", &[("map", "TRAFFIC")])?;
        ensure!(used == interfaces, "{used} of {interfaces} have programs");
        // The slot in the map is taken before the programs are attached.
        let waiting = page.count("netmon_attach_waiting_interfaces", &[])?;
        ensure!(waiting == 0, "{waiting} wait for them");
        Ok(())
    })
}

/// The number of netmons' filters on a device.
pub(crate) fn filters(netns: &Netns, device: &str) -> anyhow::Result<usize> {
    let mut count = 0;
    for side in ["ingress", "egress"] {
        let text = netns.run(&format!("tc filter show dev {device} {side}"))?;
        let is_netmons = |line: &&str| line.contains("traffic_") || line.contains("overlay_");
        count += text.lines().filter(is_netmons).count();
    }
    Ok(count)
}

/// Turns segmentation and receive offloads on or off.
pub(crate) fn offloads(member: &Member, state: &str) -> anyhow::Result<()> {
    member
        .netns
        .run(&format!("ethtool -K {DEVICE} tso {state} gso {state} gro {state}"))?;
    Ok(())
}

/// The ways to attach programs on this kernel, the best first. tcx exists from Linux 6.6 on.
pub(crate) fn modes() -> anyhow::Result<Vec<&'static str>> {
    let best = best_mode()?;
    Ok(if best == "clsact" {
        vec![best]
    } else {
        vec![best, "clsact"]
    })
}

/// The best of these ways.
pub(crate) fn best_mode() -> anyhow::Result<&'static str> {
    Ok(Host::detect()?.mode().as_str())
}

/// Checks that the counts are those of the device. A device that is set down may still send a few packets to leave
/// its multicast groups.
///
/// # Errors
/// `shown` is less than the kernel's last figures, or far more.
pub(crate) fn exactly_or_a_goodbye_more(shown: Figures, last: Figures) -> anyhow::Result<()> {
    const GOODBYES: u64 = 4;
    let more = shown
        .transmit_packets
        .checked_sub(last.transmit_packets)
        .zip(shown.receive_packets.checked_sub(last.receive_packets))
        .with_context(|| format!("netmon shows less ({shown:?}) than the kernel's last figures ({last:?})"))?;
    ensure!(
        more.0 <= GOODBYES && more.1 <= GOODBYES,
        "netmon shows {shown:?}, far more than the kernel's last figures {last:?}"
    );
    Ok(())
}
