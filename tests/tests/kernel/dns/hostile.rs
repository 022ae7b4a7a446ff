//! A container that asks too much, and one that forges answers: each spoils its own figures alone.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::ensure;
use netmon_tests::{
    netns::Netns,
    resolver::{ENGINES, PORT, Resolver, ask_all, query, shown},
};

use super::{counts_dns, shows};
use crate::world::{Cable, World};

/// Sends as many queries as it can in that time, to a resolver that reads none of them. Returns how many.
fn flood(netns: &Netns, resolver: IpAddr, time: Duration) -> anyhow::Result<u64> {
    netns.within(|| {
        let _silent = UdpSocket::bind((resolver, PORT));
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((resolver, PORT))?;
        let mut query = query(0, "noerror", 1, None);
        let (begin, mut sent) = (Instant::now(), 0);
        while begin.elapsed() < time {
            for id in 0..1_000_u16 {
                // Each id is used again long after a thousand others have taken its place.
                let id = u16::try_from(sent % 60_000)?.wrapping_add(id);
                query[..2].copy_from_slice(&id.to_be_bytes());
                socket.send(&query)?;
            }
            sent += 1_000;
        }
        Ok(sent)
    })
}

#[test]
fn a_flood_is_counted_query_by_query_and_its_neighbours_figures_are_right() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    counts_dns(&netmon)?;
    let server = Resolver::start(&b.netns, ENGINES.ip(), Duration::ZERO)?;
    let queries: Vec<_> = (0..500).map(|id| query(id, "noerror", 1, None)).collect();
    let (mut sent, mut asked) = (0, Ok(()));
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&a.netns, ENGINES.ip(), Duration::from_secs(2)));
        asked = ask_all(&b.netns, server.address, &queries);
        sent = flood.join().unwrap_or(Ok(0)).unwrap_or_default();
    });
    asked?;
    ensure!(sent >= 1_000, "{sent} were sent");
    netmon.page_until("all of it to be counted", |page| {
        let mut flooded = shown(page, "a", "docker")?;
        let mut take = |name: &str| flooded.remove(name).unwrap_or_default();
        let (counted, retries) = (take("query A"), take("retries"));
        ensure!(counted + retries == sent, "{counted} and {retries} again, of {sent}");
        let (unanswered, untracked) = (take("unanswered"), take("untracked"));
        ensure!(
            unanswered + untracked == counted,
            "{unanswered} are unanswered, and {untracked} untracked, of {counted}"
        );
        ensure!(flooded.is_empty(), "what is {flooded:?}?");
        let neighbour: Vec<_> = shown(page, "b", "docker")?.into_iter().collect();
        let expected = [("noerror", 500), ("observed", 500), ("query A", 500)];
        ensure!(
            neighbour == expected.map(|(name, count)| (name.to_owned(), count)),
            "{neighbour:?}"
        );
        Ok(())
    })
}

#[test]
fn forged_answers_are_no_answers() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    counts_dns(&netmon)?;
    // From the right port, to a port where a query with another id waits.
    let client = a.netns.within(|| {
        let socket = UdpSocket::bind((a.address, 0))?;
        socket.send_to(&query(7, "silent", 1, None), (b.address, PORT))?;
        Ok(socket.local_addr()?)
    })?;
    b.netns.within(|| {
        let socket = UdpSocket::bind((b.address, PORT))?;
        for id in 1_000..1_100 {
            let mut forged = query(id, "noerror", 1, None);
            forged[2] |= 0x80;
            socket.send_to(&forged, client)?;
        }
        // Something that is no DNS at all, of every length.
        for length in 0..100 {
            socket.send_to(&vec![0xff; length], client)?;
        }
        Ok(())
    })?;
    let nobody = SocketAddr::new(b.address, PORT);
    a.netns.within(|| {
        let socket = UdpSocket::bind((a.address, 0))?;
        for length in 0..100 {
            // Bytes that are no query: they say that they are a response.
            socket.send_to(&vec![0xff; length], nobody)?;
        }
        Ok(())
    })?;
    // What has all bits set is a response with the id 65,535, once it is as long as a header.
    shows(
        &netmon,
        "outside",
        &[("query A", 1), ("unmatched", 100 + 88), ("unanswered", 1)],
    )?;
    Ok(())
}
