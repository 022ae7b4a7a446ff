//! Packets that look as if they were another node's: anybody who can send one chooses its addresses and its network.

use std::net::Ipv4Addr;

use anyhow::ensure;
use netmon_tests::{
    frames::{self, Envelope, mac},
    netmon::Netmon,
    patience::until,
    traffic,
};

use super::{MEMORY, PAGE, entries, lost};
use crate::world::{Cable, World, agree, quiet, ready};

/// How many nodes that there are not send something.
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

    // Before anything real has passed: of this node's network and of another, in the clear and as if encrypted.
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
    ensure!(lost(&page, "OVERLAY")? > 0, "it is not said that something was lost");
    // What is shown of those that were made up is decided half a minute later: see the tests of limits.
    let size = netmon.get("/metrics")?.body.len();
    ensure!(size < PAGE, "the page has {size} bytes");
    let grown = netmon.memory()?.saturating_sub(memory);
    ensure!(grown < MEMORY, "netmon has grown by {grown} bytes");
    Ok(())
}

/// Packets sent to the other node and received from it, on the network.
fn shown(netmon: &Netmon) -> anyhow::Result<(u64, u64)> {
    let labels = [("network", "net"), ("peer", "node2")];
    let page = netmon.page()?;
    Ok((
        page.count("netmon_overlay_transmit_packets_total", &labels)?,
        page.count("netmon_overlay_receive_packets_total", &labels)?,
    ))
}
