//! Packets that look like another node's. Anybody who can send such a packet chooses its addresses and its VNI.

use std::net::Ipv4Addr;

use anyhow::ensure;
use netmon_tests::{
    frames::{self, Envelope, mac},
    netmon::Netmon,
    patience::until,
    traffic,
};

use super::{MEMORY, PAGE, entries, refused};
use crate::world::{Cable, World, agree, quiet, ready};

/// How many nodes that do not exist send something.
const FAKES: u32 = 6000;

#[test]
fn tunnels_that_somebody_made_up_take_no_room_from_those_that_there_are() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.sees_node = true;
    let (a, b) = world.pair(Cable::Vxlan)?;
    quiet(&[&a, &b])?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 3)?;
    until("the programs to be on the device", || {
        ensure!(
            netmon.log().contains("counting traffic between nodes on this device"),
            "they are not"
        );
        Ok(())
    })?;
    netmon.page()?;
    let memory = netmon.memory()?;

    // Before any real packet has passed. Some are of this node's network and some of others, in the clear and as ESP.
    let (node, far) = (world.node()?, world.far_node()?);
    let macs = (mac(&far.mac("under0")?)?, mac(&node.mac("under0")?)?);
    let fakes = (0..FAKES)
        .map(|number| {
            let [_, high, middle, low] = number.to_be_bytes();
            let envelope = Envelope {
                macs,
                addresses: (Ipv4Addr::new(172, 20 + high, middle, low), Ipv4Addr::new(10, 88, 0, 1)),
            };
            match number % 4 {
                0 | 1 => envelope.vxlan(4097),
                2 => envelope.vxlan(number),
                _ => envelope.esp(),
            }
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    frames::send_each(far, &["under0".to_owned()], &fakes)?;

    let before = shown(&netmon)?;
    traffic::ping(&a.netns, b.address, 50)?;
    until("the real tunnel to be counted", || {
        let (sent, received) = shown(&netmon)?;
        ensure!(
            (sent - before.0, received - before.1) == (50, 50),
            "{sent} sent and {received} received, {before:?} before"
        );
        Ok(())
    })?;
    let (page, _) = agree(&netmon, &a, "net")?;
    let most = page.count("netmon_bpf_map_max_entries", &[("map", "OVERLAY")])?;
    ensure!(
        entries(&page, "OVERLAY")? <= most / 4 + 16,
        "{} of {most} keys are taken",
        entries(&page, "OVERLAY")?
    );
    ensure!(
        refused(&page, "OVERLAY", "share")? > 0,
        "it is not said that something was lost"
    );
    // netmon decides only half a minute later which of the fakes it shows: see the tests of limits.
    let size = netmon.get("/metrics")?.body.len();
    ensure!(size < PAGE, "the page has {size} bytes");
    let grown = netmon.memory()?.saturating_sub(memory);
    ensure!(grown < MEMORY, "netmon has grown by {grown} bytes");
    Ok(())
}

/// Packets sent to the other node and received from it, on the network `net`.
fn shown(netmon: &Netmon) -> anyhow::Result<(u64, u64)> {
    let labels = [("network", "net"), ("peer", "node2")];
    let page = netmon.page()?;
    Ok((
        page.count("netmon_overlay_transmit_packets_total", &labels)?,
        page.count("netmon_overlay_receive_packets_total", &labels)?,
    ))
}
