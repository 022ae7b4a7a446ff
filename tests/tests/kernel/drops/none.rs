//! Traffic without losses: a drop that is reported wrongly would be a false alarm.

use std::{
    env,
    net::{SocketAddr, UdpSocket},
};

use anyhow::Context as _;
use netmon_tests::traffic;

use super::Drops;
use crate::world::{Cable, Member, World, ready};

/// How many bytes a transfer without losses sends. An environment variable sets less for an emulated machine.
const TRANSFER: usize = 10_000_000_000;
const TRANSFER_VARIABLE: &str = "NETMON_TEST_TRANSFER";

/// Runs something between two containers. Nothing may be dropped, on the node either.
pub(super) fn quietly(cable: Cable, run: impl FnOnce(&Member, &Member) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.sees_node = true;
    let (a, b) = world.pair(cable)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, if cable == Cable::Vxlan { 3 } else { 2 })?;
    let drops = Drops::with_node(&netmon)?;
    run(&a, &b)?;
    drops.are_none().with_context(|| format!("over {cable:?}"))
}

#[test]
fn a_healthy_transfer_loses_nothing() -> anyhow::Result<()> {
    let bytes = match env::var(TRANSFER_VARIABLE) {
        Ok(bytes) => bytes.parse().with_context(|| format!("{TRANSFER_VARIABLE}={bytes}"))?,
        Err(_) => TRANSFER,
    };
    quietly(Cable::Bridge, |a, b| traffic::tcp(&a.netns, &b.netns, b.address, bytes))?;
    quietly(Cable::Vxlan, |a, b| {
        traffic::tcp(&a.netns, &b.netns, b.ipv6_address, bytes / 10)
    })
}

#[test]
fn pings_and_fragments_lose_nothing() -> anyhow::Result<()> {
    for cable in [Cable::Bridge, Cable::Vxlan] {
        quietly(cable, |a, b| {
            for (from, to) in [(a, b), (b, a)] {
                for address in [to.address, to.ipv6_address] {
                    traffic::ping(&from.netns, address, 20)?;
                    traffic::udp(&from.netns, &to.netns, address, 50, 4000)?;
                    traffic::udp(&from.netns, &to.netns, address, 50, 60_000)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Like [`traffic::ping`], but with a raw socket. The kernel gives the socket copies of the answers, and drops the
/// originals.
#[test]
fn pings_by_a_raw_socket_lose_nothing() -> anyhow::Result<()> {
    quietly(Cable::Bridge, |a, b| {
        a.netns.run("sysctl -qw net.ipv4.ping_group_range=1\t0").ok();
        traffic::ping(&a.netns, b.address, 20)?;
        traffic::ping(&a.netns, b.ipv6_address, 20)
    })
}

#[test]
fn a_socket_that_is_closed_with_datagrams_unread_loses_nothing() -> anyhow::Result<()> {
    quietly(Cable::Bridge, |a, b| {
        for address in [b.address, b.ipv6_address] {
            let unread = b.netns.within(|| Ok(UdpSocket::bind((address, 7004))?))?;
            traffic::datagrams(&a.netns, SocketAddr::new(address, 7004), 20, 200)?;
            // A datagram that arrives after the socket was closed would be dropped, because it has no socket.
            b.netns.nstat_at_rest(if address.is_ipv6() {
                "Ip6InDelivers"
            } else {
                "IpInDelivers"
            })?;
            drop(unread);
        }
        Ok(())
    })
}
