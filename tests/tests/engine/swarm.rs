//! Two nodes: what one sends over an overlay network, the other receives, and both say so.

use anyhow::ensure;
use netmon_tests::{
    figures::Figures,
    lab::{Engine, Lab, Node},
    netmon::Netmon,
};

use crate::ground::{Interface, agrees, netmon_on, ping};

const PINGS: u64 = 200;
/// Addresses are asked for now and then.
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
    let netmons = [netmon_on(nodes[0])?, netmon_on(nodes[1])?];
    let address = nodes[1].address_of("there", "wide")?;
    // The first one makes everybody ask for addresses.
    ping(nodes[0], "here", address, 1)?;

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

/// Looks that the page says of the network's VXLAN device what the kernel says, and gives that.
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
