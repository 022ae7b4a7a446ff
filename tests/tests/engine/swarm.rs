//! Several nodes: what one node sends over an overlay network, the other receives. Both count it, and each knows the
//! network's endpoints.

use std::time::Duration;

use anyhow::ensure;
use netmon_tests::{
    figures::Figures,
    lab::{Engine, IMAGE, Lab, Node},
    netmon::Netmon,
    patience::{until, within},
};

use crate::{
    ground::{Interface, agrees, netmon_on, ping, reach},
    nodes::TASKS,
};

const PINGS: u64 = 200;
/// The maximum age of what the page shows of a network's gossip.
const SYNC: Duration = Duration::from_mins(1);
/// Room for ARP packets.
const OTHERS: u64 = 10;

#[test]
fn what_crosses_between_nodes_is_counted_on_both() -> anyhow::Result<()> {
    let lab = Lab::up(2, Engine::Installed)?;
    let nodes = [lab.node(1), lab.node(2)];
    let id = nodes[0].docker("network create -d overlay --attachable wide")?;
    let containers = ["here", "there"];
    for (node, container) in nodes.iter().zip(containers) {
        node.start_container(container, "--network wide")?;
    }
    let address = nodes[1].address_of("there", "wide")?;
    reach(nodes[0], "here", address)?;
    let netmons = [netmon_on(nodes[0])?, netmon_on(nodes[1])?];

    let look = || -> anyhow::Result<Vec<(Figures, Figures)>> {
        (0..2)
            .map(|at| {
                let interface = Interface::of(nodes[at], containers[at], "wide")?;
                Ok((
                    interface.agrees(nodes[at], &netmons[at])?,
                    vxlan(nodes[at], &netmons[at], &id)?,
                ))
            })
            .collect()
    };
    let before = look()?;
    ping(nodes[0], "here", address, PINGS)?;
    let after = look()?;
    for ((container, before), after) in containers.iter().zip(before).zip(after) {
        for (what, more) in [
            ("interface", after.0.since(before.0)),
            ("VXLAN device", after.1.since(before.1)),
        ] {
            for packets in [more.receive_packets, more.transmit_packets] {
                ensure!(
                    (PINGS..PINGS + OTHERS).contains(&packets),
                    "{PINGS} pings went from here to there, and the {what} of {container} is charged with {more:?}"
                );
            }
        }
    }
    for (netmon, role) in netmons.iter().zip(["manager", "worker"]) {
        let page = netmon.page()?;
        page.one("netmon_node_info", &[("role", role)])?;
        page.one(
            "netmon_network_info",
            &[("network", "wide"), ("network_id", &id), ("scope", "swarm")],
        )?;
    }
    Ok(())
}

/// Checks that the page has the kernel's counts of the network's VXLAN device, and returns them.
fn vxlan(node: Node<'_>, netmon: &Netmon, id: &str) -> anyhow::Result<Figures> {
    let file = format!("1-{}", &id[..10]);
    agrees(
        || node.figures(&file, "vxlan0"),
        || {
            netmon
                .page()?
                .figures("netmon_vxlan", &[("network", "wide"), ("interface", "vxlan0")])
        },
    )
}

/// Waits until all tasks of a service run.
fn run_everywhere(manager: Node<'_>, service: &str, tasks: usize) -> anyhow::Result<()> {
    within(TASKS, "every node to have its task", || {
        let states = manager.docker(&format!("service ps {service} --format {{{{.CurrentState}}}}"))?;
        let running = states.lines().filter(|it| it.starts_with("Running")).count();
        ensure!(running == tasks, "{states}");
        Ok(())
    })
}

/// The manager knows the names of nodes. A worker knows a network's endpoints, and their nodes.
#[test]
fn every_node_says_who_is_on_a_network_on_the_others() -> anyhow::Result<()> {
    let lab = Lab::up(3, Engine::Installed)?;
    let [manager, worker, third] = [1, 2, 3].map(|number| lab.node(number));
    manager.docker("network create -d overlay --attachable wide")?;
    manager.docker(&format!(
        "service create -d --name every --mode global --network wide --no-resolve-image {IMAGE}"
    ))?;
    for (node, container) in [(manager, "here"), (worker, "there"), (third, "yonder")] {
        node.start_container(container, "--network wide")?;
    }
    run_everywhere(manager, "every", 3)?;
    let yonder = third.address_of("yonder", "wide")?;
    let others = [worker.address_of("there", "wide")?, yonder];
    for address in others {
        reach(manager, "here", address)?;
    }
    let netmons = [netmon_on(manager)?, netmon_on(worker)?];
    for address in others {
        ping(manager, "here", address, PINGS)?;
    }
    let sent_to = |netmon: &Netmon, peer: &str| {
        netmon.page()?.count(
            "netmon_overlay_transmit_packets_total",
            &[("network", "wide"), ("peer", peer)],
        )
    };
    until("what was sent to be counted", || {
        for peer in ["n2", "n3"] {
            let sent = sent_to(&netmons[0], peer)?;
            ensure!((PINGS..PINGS + OTHERS).contains(&sent), "{sent} packets went to {peer}");
        }
        let answers = sent_to(&netmons[1], &manager.address())?;
        ensure!((PINGS..PINGS + OTHERS).contains(&answers), "{answers} answers");
        Ok(())
    })?;
    // The node of each container, as shown by another node. A worker shows the other nodes by address.
    let here = manager.address_of("here", "wide")?;
    let there = worker.address_of("there", "wide")?;
    for (netmon, peers) in [
        (&netmons[0], ["n1", "n2", "n3"].map(ToOwned::to_owned)),
        (&netmons[1], [manager.address(), "n2".to_owned(), third.address()]),
    ] {
        netmon.page_until("everybody on the network", |page| {
            for ((address, container), peer) in [(here, "here"), (there, "there"), (yonder, "yonder")]
                .iter()
                .zip(&peers)
            {
                let address = address.to_string();
                page.one(
                    "netmon_overlay_endpoint_info",
                    &[
                        ("network", "wide"),
                        ("ip_address", &address),
                        ("container", container),
                        ("service", ""),
                        ("peer", peer),
                    ],
                )?;
            }
            let of_service = page.all("netmon_overlay_endpoint_info", &[("service", "every")]);
            ensure!(of_service.len() == 3, "{of_service:?}");
            let mut service = page
                .all("netmon_overlay_service_info", &[("service", "every")])
                .into_iter();
            let shown = service.next().and_then(|it| it.labels.get("virtual_ip"));
            ensure!(shown.is_some_and(|it| !it.is_empty()), "it has no virtual address");
            page.count("netmon_scrape_collector_success", &[("collector", "members")])
                .and_then(|success| {
                    ensure!(success == 1, "not everybody is known");
                    Ok(())
                })
        })?;
    }
    // A worker does not know hostnames. A task of a global service reveals the ids of nodes.
    let node_id = manager.docker("info --format {{.Swarm.NodeID}}")?;
    netmons[1].page()?.one(
        "netmon_overlay_peer_info",
        &[
            ("address", &manager.address()),
            ("peer", &manager.address()),
            ("hostname", ""),
            ("node_id", node_id.trim()),
        ],
    )?;

    third.docker("rm -f yonder")?;
    third.docker("swarm leave")?;
    // A change on a node itself makes it ask earlier than after a minute.
    worker.start_container("another", "--network wide")?;
    for (netmon, peer) in netmons.iter().zip(["n3".to_owned(), third.address()]) {
        within(SYNC * 2, "the series of a node that left to end", || {
            let page = netmon.page()?;
            for family in [
                "netmon_overlay_transmit_packets_total",
                "netmon_overlay_endpoint_info",
                "netmon_overlay_peer_info",
            ] {
                let left = page.all(family, &[("peer", &peer)]);
                ensure!(left.is_empty(), "{left:?}");
            }
            Ok(())
        })?;
    }
    Ok(())
}
