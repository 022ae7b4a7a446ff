//! No loss: copies of packets, for sockets that watch all packets and for sockets that want some of them.

use std::thread;

use anyhow::{anyhow, ensure};
use netmon_tests::{frames::Sniffer, traffic};

use super::none::quietly;
use crate::world::{Cable, DEVICE};

#[test]
fn an_onlooker_loses_nothing() -> anyhow::Result<()> {
    for cable in [Cable::Bridge, Cable::Vxlan] {
        quietly(cable, |a, b| {
            let onlookers = [Sniffer::on(&a.netns, DEVICE)?, Sniffer::on(&b.netns, DEVICE)?];
            traffic::ping(&a.netns, b.address, 50)?;
            traffic::ping(&a.netns, b.ipv6_address, 50)?;
            traffic::udp(&a.netns, &b.netns, b.address, 100, 1000)?;
            for onlooker in &onlookers {
                ensure!(onlooker.seen() >= 100, "an onlooker saw too little");
            }
            // The sniffers are closed with packets unread.
            traffic::ping(&a.netns, b.address, 50)
        })?;
    }
    Ok(())
}

#[test]
fn an_onlooker_who_does_not_keep_up_misses_copies_and_loses_nothing() -> anyhow::Result<()> {
    quietly(Cable::Bridge, |a, b| {
        let onlooker = Sniffer::on(&b.netns, DEVICE)?;
        let before = b.figures()?;
        traffic::tcp(&a.netns, &b.netns, b.address, 50_000_000)?;
        let passed = b.figures()?.since(before);
        let seen = onlooker.seen();
        ensure!(
            seen < passed.receive_packets + passed.transmit_packets,
            "{seen} were seen of {passed:?}: it did keep up"
        );
        Ok(())
    })
}

/// Every raw socket gets a copy of every answer. Its filter drops the copies that are for the others.
#[test]
fn several_who_ping_at_once_lose_nothing() -> anyhow::Result<()> {
    quietly(Cable::Bridge, |a, b| {
        for address in [b.address, b.ipv6_address] {
            thread::scope(|scope| {
                let pings = [(); 4].map(|()| scope.spawn(|| traffic::ping(&a.netns, address, 50)));
                pings
                    .into_iter()
                    .try_for_each(|ping| ping.join().map_err(|_| anyhow!("a ping panicked"))?)
            })?;
        }
        Ok(())
    })
}
