//! What tests of several nodes stand on: a Swarm with a netmon on each node, and what they say together, beside what the
//! kernel says.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    figures::{Figures, UNHEARD},
    lab::{Engine, Lab, Node},
    netmon::Netmon,
    netns::Netns,
    page::Page,
    patience::{until, within},
};

use crate::ground::{CONTAINER, Interface, netmon_on};

/// Families of drops: of containers, and of what lies between them.
const DROPS: [&str; 3] = [
    "netmon_container_packet_drops_total",
    OVERLAY_DROPS,
    "netmon_load_balancer_packet_drops_total",
];

const OVERLAY_DROPS: &str = "netmon_overlay_packet_drops_total";

/// Families whose sum over networks is a counter of the namespace's, and which.
const SUMS: [(&str, &str); 3] = [
    ("netmon_container_tcp_retransmitted_segments_total", "TcpRetransSegs"),
    ("netmon_container_tcp_sent_segments_total", "TcpOutSegs"),
    ("netmon_container_tcp_resets_sent_total", "TcpOutRsts"),
];

/// How long a task may take to run. The manager waits for up to a minute for the end of the one that was there before, if
/// it does not hear of it (swarmkit's `defaultOldTaskTimeout`).
pub(crate) const TASKS: Duration = Duration::from_mins(2);

/// A Swarm, and the netmons that watch it.
pub(crate) struct Nodes {
    // They end before the lab does.
    netmons: Vec<Netmon>,
    pub(crate) lab: Lab,
}

impl Nodes {
    pub(crate) fn up(count: u8, engine: Engine) -> anyhow::Result<Self> {
        let lab = Lab::up(count, engine)?;
        let netmons = (1..=count)
            .map(|number| netmon_on(lab.node(number)))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { netmons, lab })
    }

    /// The node of that number, from 1, which is the manager.
    pub(crate) fn node(&self, number: u8) -> Node<'_> {
        self.lab.node(number)
    }

    /// All of them, by number.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u8> + use<> {
        (1..).take(self.netmons.len())
    }

    /// The netmon of that node.
    pub(crate) fn netmon(&self, number: u8) -> &Netmon {
        &self.netmons[usize::from(number) - 1]
    }

    /// Takes the netmon of a node away, to be ended by the caller.
    pub(crate) fn unwatch(&mut self, number: u8) -> Netmon {
        self.netmons.remove(usize::from(number) - 1)
    }

    /// Puts another in its place.
    pub(crate) fn watch(&mut self, number: u8, netmon: Netmon) {
        self.netmons.insert(usize::from(number) - 1, netmon);
    }

    /// Starts another on a node whose netmon has ended.
    pub(crate) fn watch_again(&mut self, number: u8) -> anyhow::Result<()> {
        self.netmons[usize::from(number) - 1] = netmon_on(self.lab.node(number))?;
        Ok(())
    }

    /// Makes an overlay network, and a container on each node that is on it: `a1` on the first, and so on.
    pub(crate) fn overlay(&self, name: &str) -> anyhow::Result<Vec<Member>> {
        self.node(1)
            .docker(&format!("network create -d overlay --attachable {name}"))?;
        let containers: Vec<_> = self.numbers().map(|number| (number, format!("a{number}"))).collect();
        for (number, container) in &containers {
            self.node(*number)
                .start_container(container, &format!("--network {name}"))?;
        }
        let members: Vec<_> = containers
            .iter()
            .map(|(number, container)| self.member(*number, container, name))
            .collect::<anyhow::Result<_>>()?;
        for member in &members {
            member.agrees(self)?;
        }
        Ok(members)
    }

    /// A container on a network.
    pub(crate) fn member(&self, number: u8, container: &str, network: &str) -> anyhow::Result<Member> {
        let node = self.node(number);
        let interface = Interface::of(node, container, network)?;
        Ok(Member {
            number,
            netns: node.namespace(&interface.sandbox)?,
            address: node.address_of(container, network)?,
            interface,
        })
    }

    /// The name of a service's one task on a node, once it runs.
    pub(crate) fn task(&self, number: u8, service: &str) -> anyhow::Result<String> {
        self.task_but(number, service, "")
    }

    /// The same, if it is not the one of that name.
    ///
    /// A node's old engine was seen to crash and come back, and its Swarm to prepare a task in the place of the one that
    /// was killed, and never to start it. When that is overdue the manager is told to make another.
    pub(crate) fn another_task(&self, number: u8, service: &str, than: &str) -> anyhow::Result<String> {
        self.task_but(number, service, than).or_else(|overdue| {
            self.node(1)
                .docker(&format!("service update --detach --force --no-resolve-image {service}"))?;
            self.task_but(number, service, than)
                .with_context(|| format!("before another was asked for: {overdue:#}"))
        })
    }

    fn task_but(&self, number: u8, service: &str, than: &str) -> anyhow::Result<String> {
        within(TASKS, "the task to run", || {
            match &tasks(self.node(number), service)?[..] {
                [name] if name != than => Ok(name.clone()),
                others => anyhow::bail!("the tasks are {others:?}"),
            }
        })
        .with_context(|| self.of_service(number, service))
    }

    /// What the manager says of a service, and what the engines said that place its tasks and run them.
    fn of_service(&self, number: u8, service: &str) -> String {
        let said = |line: &str| self.node(1).docker(line).unwrap_or_else(|why| format!("{why:#}"));
        format!(
            "{}\n{}\nThe manager's engine:\n{}\nThe node's:\n{}",
            said(&format!("service ps --no-trunc {service}")),
            said("node ls"),
            self.node(1).engine_log(),
            self.node(number).engine_log()
        )
    }

    /// An overlay network's own namespace on a node.
    pub(crate) fn overlay_netns(&self, number: u8, network: &str) -> anyhow::Result<Netns> {
        let node = self.node(number);
        let id = node.docker(&format!("network inspect -f {{{{.Id}}}} {network}"))?;
        node.namespace(&format!("1-{}", &id[..10]))
    }

    /// What netmon shows of what passes between two nodes.
    pub(crate) fn tunnel(&self, from: u8, to: u8, network: &str) -> anyhow::Result<Figures> {
        tunnel(&self.netmon(from).page()?, self.node(to), network)
    }

    /// What all of them call drops.
    pub(crate) fn drops(&self) -> anyhow::Result<Drops> {
        let mut drops = Drops::new();
        for number in self.numbers() {
            let page = self.netmon(number).page()?;
            for sample in page.samples.iter().filter(|it| DROPS.contains(&it.name.as_str())) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "drops in tests are whole and few"
                )]
                let count = sample.value as u64;
                drops.insert(format!("n{number} {} {:?}", sample.name, sample.labels), count);
            }
        }
        Ok(drops)
    }

    /// Looks that every netmon holds programs for what is there, and for nothing else.
    pub(crate) fn nothing_is_left(&self) -> anyhow::Result<()> {
        for number in self.numbers() {
            self.netmon(number)
                .page_until("programs only on what is there", |page| {
                    let containers = page.all(&format!("{CONTAINER}_receive_packets_total"), &[]);
                    let named = containers
                        .iter()
                        .filter(|it| it.labels.get("network").is_some_and(|network| !network.is_empty()));
                    let there = named.count() + page.all("netmon_vxlan_receive_packets_total", &[]).len();
                    let slots = page.count("netmon_bpf_map_entries", &[("map", "TRAFFIC")])?;
                    ensure!(
                        slots == there as u64,
                        "n{number}: {slots} slots are in use, and {there} interfaces are there"
                    );
                    let ended = page.count("netmon_containers", &[("state", "ended")])?;
                    ensure!(ended == 0, "n{number}: {ended} containers linger");
                    Ok(())
                })?;
        }
        Ok(())
    }

    /// Looks that nothing is called a drop that was not when that was read.
    pub(crate) fn dropped_nothing_since(&self, before: &Drops) -> anyhow::Result<()> {
        let more = self.drops_since(before)?;
        ensure!(more.is_empty(), "these are called drops: {more:#?}");
        Ok(())
    }

    /// Looks that nothing is called a drop but what was sent to a container that a network's forwarding table did not know
    /// any more, or not yet again: that is lost indeed, for the VXLAN device knows no node to send it to.
    pub(crate) fn dropped_only_without_target_since(
        &self,
        before: &Drops,
        network: &str,
        most: u64,
    ) -> anyhow::Result<()> {
        let more = self.drops_since(before)?;
        let is_one = |what: &str| {
            [OVERLAY_DROPS, network, "NO_TX_TARGET"]
                .iter()
                .all(|part| what.contains(part))
        };
        ensure!(
            more.keys().all(|what| is_one(what)) && more.values().sum::<u64>() <= most,
            "these are called drops: {more:#?}"
        );
        Ok(())
    }

    /// What is called a drop that was not when that was read.
    pub(crate) fn drops_since(&self, before: &Drops) -> anyhow::Result<Drops> {
        let mut more = self.drops()?;
        more.retain(|what, count| {
            *count = count.saturating_sub(before.get(what).copied().unwrap_or(0));
            *count > 0
        });
        Ok(more)
    }
}

/// What is called a drop, on which node, whose, and why.
pub(crate) type Drops = BTreeMap<String, u64>;

/// What a page shows of what passes between its node and another, which is called by its name or by its address.
pub(crate) fn tunnel(page: &Page, to: Node<'_>, network: &str) -> anyhow::Result<Figures> {
    let of = |peer: &str| page.figures("netmon_overlay", &[("network", network), ("peer", peer)]);
    of(&to.name()).or_else(|_| of(&to.address()))
}

/// A container of a node's on a network.
pub(crate) struct Member {
    pub(crate) number: u8,
    pub(crate) netns: Netns,
    pub(crate) address: std::net::IpAddr,
    pub(crate) interface: Interface,
}

impl Member {
    pub(crate) fn name(&self) -> &str {
        &self.interface.container
    }

    /// Looks that netmon says of its interface what the kernel says, and gives that.
    pub(crate) fn agrees(&self, nodes: &Nodes) -> anyhow::Result<Figures> {
        self.interface
            .agrees(nodes.node(self.number), nodes.netmon(self.number))
    }

    /// Looks that what netmon shows for all of its networks together is what the kernel counts for its namespace, of
    /// segments sent, sent again, and resets; whatever passes meanwhile.
    pub(crate) fn sums_agree(&self, nodes: &Nodes) -> anyhow::Result<()> {
        let netmon = nodes.netmon(self.number);
        for (family, counter) in SUMS {
            within_bracket(netmon, family, self.name(), || self.netns.nstat(counter))
                .with_context(|| format!("{counter} of {}", self.name()))?;
        }
        Ok(())
    }

    /// What netmon shows of its connections on a network.
    pub(crate) fn tcp(&self, nodes: &Nodes, what: &str, network: &str) -> anyhow::Result<u64> {
        nodes.netmon(self.number).page()?.count(
            &format!("netmon_container_tcp_{what}_total"),
            &[("container", self.name()), ("network", network)],
        )
    }

    /// What it sent again, by netmon and by the kernel, and on its network but for a few: some kernels count some without
    /// running any program on the tracepoint, and netmon cannot know their network.
    pub(crate) fn sent_again(&self, nodes: &Nodes) -> anyhow::Result<u64> {
        until("what was sent again to be the network's", || {
            let named = self.tcp(nodes, "retransmitted_segments", &self.interface.network)?;
            let strays = self.tcp(nodes, "retransmitted_segments", "")?;
            let counted = self.netns.nstat("TcpRetransSegs")?;
            ensure!(
                named + strays == counted && strays <= 1 + named / UNHEARD,
                "netmon shows {named} on {}, and {strays} on none, the kernel counts {counted} in all",
                self.interface.network
            );
            Ok(counted)
        })
    }
}

fn within_bracket(
    netmon: &Netmon,
    family: &str,
    container: &str,
    kernel: impl Fn() -> anyhow::Result<u64>,
) -> anyhow::Result<()> {
    until("the sum to be the kernel's", || {
        let before = kernel()?;
        let page = netmon.page()?;
        let shown: f64 = page
            .all(family, &[("container", container)])
            .iter()
            .map(|sample| sample.value)
            .sum();
        let after = kernel()?;
        ensure!(
            (before as f64..=after as f64).contains(&shown),
            "netmon shows {shown}, the kernel {before} to {after}"
        );
        Ok(())
    })
}

/// Looks that nothing of this is on the page any more, before that many times the usual patience is over.
pub(crate) fn ends(netmon: &Netmon, patience: u32, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<()> {
    within(
        patience * netmon_tests::patience::PATIENCE,
        &format!("{name}{labels:?} to end"),
        || {
            let page = netmon.page()?;
            let left = page
                .samples
                .iter()
                .filter(|sample| sample.name.starts_with(name) && sample.has(labels))
                .collect::<Vec<_>>();
            ensure!(left.is_empty(), "{} are there, such as {:?}", left.len(), left[0]);
            Ok(())
        },
    )
}

/// The names of a service's tasks that run on a node.
pub(crate) fn tasks(node: Node<'_>, service: &str) -> anyhow::Result<Vec<String>> {
    let names = node.docker(&format!(
        "ps --filter label=com.docker.swarm.service.name={service} --format {{{{.Names}}}}"
    ))?;
    Ok(names.lines().map(ToOwned::to_owned).collect())
}
