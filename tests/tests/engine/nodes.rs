//! The basis of tests with several nodes: a Swarm with a netmon on each node, and the comparison of their pages with
//! the kernel.

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

/// Families of drops: of containers, and of the devices between them.
const DROPS: [&str; 3] = [
    "netmon_container_packet_drops_total",
    OVERLAY_DROPS,
    "netmon_load_balancer_packet_drops_total",
];

pub(crate) const OVERLAY_DROPS: &str = "netmon_overlay_packet_drops_total";

/// Families whose sum over networks is a counter of the namespace, and the counter's name.
const SUMS: [(&str, &str); 3] = [
    ("netmon_container_tcp_retransmitted_segments_total", "TcpRetransSegs"),
    ("netmon_container_tcp_sent_segments_total", "TcpOutSegs"),
    ("netmon_container_tcp_resets_sent_total", "TcpOutRsts"),
];

/// How long it may take until a task runs. The manager waits up to a minute for the end of the previous task if the
/// node does not report it (swarmkit's `defaultOldTaskTimeout`).
pub(crate) const TASKS: Duration = Duration::from_mins(2);

/// A Swarm, and a netmon on each of its nodes.
pub(crate) struct Nodes {
    // Dropped before the lab.
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

    /// The node of that number. The first is 1, the manager.
    pub(crate) fn node(&self, number: u8) -> Node<'_> {
        self.lab.node(number)
    }

    /// The numbers of all nodes.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u8> + use<> {
        (1..).take(self.netmons.len())
    }

    /// The netmon of that node.
    pub(crate) fn netmon(&self, number: u8) -> &Netmon {
        &self.netmons[usize::from(number) - 1]
    }

    /// Removes the netmon of a node from the list; the caller ends it.
    pub(crate) fn unwatch(&mut self, number: u8) -> Netmon {
        self.netmons.remove(usize::from(number) - 1)
    }

    /// Puts another netmon in that place.
    pub(crate) fn watch(&mut self, number: u8, netmon: Netmon) {
        self.netmons.insert(usize::from(number) - 1, netmon);
    }

    /// Starts a new netmon on a node whose netmon has ended.
    pub(crate) fn watch_again(&mut self, number: u8) -> anyhow::Result<()> {
        self.netmons[usize::from(number) - 1] = netmon_on(self.lab.node(number))?;
        Ok(())
    }

    /// Creates an overlay network, and a container on it on each node: `a1` on the first, and so on.
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

    /// The name of a service's only task on a node, once it runs.
    pub(crate) fn task(&self, number: u8, service: &str) -> anyhow::Result<String> {
        self.another_task(number, service, "")
    }

    /// The same, once the task is another than the one of that name.
    pub(crate) fn another_task(&self, number: u8, service: &str, than: &str) -> anyhow::Result<String> {
        within(TASKS, "the task to run", || {
            match &tasks(self.node(number), service)?[..] {
                [name] if name != than => Ok(name.clone()),
                others => anyhow::bail!("the tasks are {others:?}"),
            }
        })
        .with_context(|| self.of_service(number, service))
    }

    /// Waits until the manager calls a node `Ready` or `Down`.
    ///
    /// Before an engine that crashed is started again, the manager has to have missed it. If the node registers anew
    /// in the very moment in which its old session expires, the manager may take note of the expiry last. The node
    /// then stays down for the manager, although its engine runs, and gets no task.
    pub(crate) fn until_manager_says(&self, number: u8, status: &str) -> anyhow::Result<()> {
        within(TASKS, &format!("node {number} to be {status} for the manager"), || {
            let said = self
                .node(1)
                .docker(&format!("node inspect -f {{{{.Status.State}}}} n{number}"))?;
            ensure!(said.trim().eq_ignore_ascii_case(status), "it is {said}");
            Ok(())
        })
    }

    /// For error messages: the manager's report of a service, and the logs of the manager's engine and of the node's.
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

    /// The page's counts of the traffic between two nodes.
    pub(crate) fn tunnel(&self, from: u8, to: u8, network: &str) -> anyhow::Result<Figures> {
        tunnel(&self.netmon(from).page()?, self.node(to), network)
    }

    /// The drops on the pages of all nodes.
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

    /// Checks that every netmon has programs for the interfaces that exist, and for no others.
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

    /// Checks that there are no drops that were not in `before`.
    pub(crate) fn dropped_nothing_since(&self, before: &Drops) -> anyhow::Result<()> {
        let more = self.drops_since(before)?;
        ensure!(more.is_empty(), "these are called drops: {more:#?}");
        Ok(())
    }

    /// Checks that all new drops are packets without a target: the network's forwarding table lacked the container
    /// for a while. Those packets are really lost, because the VXLAN device knows no node to send them to.
    pub(crate) fn dropped_only_without_target_since(
        &self,
        before: &Drops,
        network: &str,
        most: u64,
    ) -> anyhow::Result<()> {
        self.dropped_only_since(before, &[(&[OVERLAY_DROPS, network, "NO_TX_TARGET"], most)])
    }

    /// Checks that all new drops are of these kinds. A kind is what the description of such a drop contains, and how
    /// many packets there may be.
    pub(crate) fn dropped_only_since(&self, before: &Drops, kinds: &[(&[&str], u64)]) -> anyhow::Result<()> {
        let more = self.drops_since(before)?;
        let mut left: Vec<u64> = kinds.iter().map(|(_, most)| *most).collect();
        for (what, count) in &more {
            let kind = kinds
                .iter()
                .position(|(parts, _)| parts.iter().all(|part| what.contains(part)));
            let rest = kind.and_then(|kind| left[kind].checked_sub(*count).map(|rest| (kind, rest)));
            let (kind, rest) = rest.with_context(|| format!("these are called drops: {more:#?}"))?;
            left[kind] = rest;
        }
        Ok(())
    }

    /// The drops that were not in `before`.
    pub(crate) fn drops_since(&self, before: &Drops) -> anyhow::Result<Drops> {
        let mut more = self.drops()?;
        more.retain(|what, count| {
            *count = count.saturating_sub(before.get(what).copied().unwrap_or(0));
            *count > 0
        });
        Ok(more)
    }
}

/// The number of drops, by node, family and labels.
pub(crate) type Drops = BTreeMap<String, u64>;

/// A page's counts of the traffic between its node and another one. The peer is shown by name or by address.
pub(crate) fn tunnel(page: &Page, to: Node<'_>, network: &str) -> anyhow::Result<Figures> {
    let of = |peer: &str| page.figures("netmon_overlay", &[("network", network), ("peer", peer)]);
    of(&to.name()).or_else(|_| of(&to.address()))
}

/// A node's container on a network.
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

    /// Checks that netmon has the kernel's counts of its interface, and returns them.
    pub(crate) fn agrees(&self, nodes: &Nodes) -> anyhow::Result<Figures> {
        self.interface
            .agrees(nodes.node(self.number), nodes.netmon(self.number))
    }

    /// Checks netmon's sums over all networks against the kernel's counts for the namespace: segments sent,
    /// retransmits, and resets. Traffic may pass meanwhile.
    ///
    /// A retransmit for which the kernel ran no program may have been shown as a first transmission, if it passed during
    /// a reading. Nothing that was shown falls. So it stays until as many segments have been sent.
    pub(crate) fn sums_agree(&self, nodes: &Nodes) -> anyhow::Result<()> {
        let netmon = nodes.netmon(self.number);
        for (family, counter) in SUMS {
            let unheard = if counter == "TcpOutSegs" {
                self.tcp(nodes, "retransmitted_segments", "")?
            } else {
                0
            };
            within_bracket(netmon, family, self.name(), unheard, || self.netns.nstat(counter))
                .with_context(|| format!("{counter} of {}", self.name()))?;
        }
        Ok(())
    }

    /// One of netmon's TCP counters of the container on a network.
    pub(crate) fn tcp(&self, nodes: &Nodes, what: &str, network: &str) -> anyhow::Result<u64> {
        nodes.netmon(self.number).page()?.count(
            &format!("netmon_container_tcp_{what}_total"),
            &[("container", self.name()), ("network", network)],
        )
    }

    /// The number of its retransmits, which netmon and the kernel must agree on. All but a few must have its network.
    /// Some kernels count a few without running any program on the tracepoint, and netmon cannot know their network.
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
    surplus: u64,
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
        let after = kernel()? + surplus;
        ensure!(
            (before as f64..=after as f64).contains(&shown),
            "netmon shows {shown}, the kernel {before} to {after}"
        );
        Ok(())
    })
}

/// Checks that all series of that name and these labels end, within `patience` times the usual time.
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
