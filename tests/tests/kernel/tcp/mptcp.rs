//! Connections of MPTCP. Each consists of ordinary ones, which are counted.

use std::{net::SocketAddr, path::Path};

use anyhow::ensure;
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    PORT,
    counts::{agree, count},
};
use crate::world::{Cable, Member, World, ready};

fn socket(member: &Member, protocol: Protocol) -> anyhow::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(member.address, PORT));
    member
        .netns
        .within(|| Ok(Socket::new(domain, Type::STREAM, Some(protocol))?))
}

/// Also with an end that speaks only TCP.
#[test]
fn connections_of_several_ways_are_counted_as_their_ways() -> anyhow::Result<()> {
    if !Path::new("/proc/sys/net/mptcp").exists() {
        return Ok(());
    }
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let target = SocketAddr::new(b.address, PORT).into();
    let listener = socket(&b, Protocol::MPTCP)?;
    listener.bind(&target)?;
    listener.listen(8)?;
    let mut ends = Vec::new();
    for protocol in [Protocol::MPTCP, Protocol::TCP, Protocol::MPTCP] {
        let client = socket(&a, protocol)?;
        client.connect(&target)?;
        let (server, _) = listener.accept()?;
        for _ in 0..50 {
            ensure!(client.send(&[0x5a; 1000])? == 1000, "not all is sent");
            ensure!(server.send(&[0x5a; 10])? == 10, "not all is sent");
        }
        ends.push((client, server));
    }
    agree(&netmon, [&a, &b])?;
    ends.pop();
    agree(&netmon, [&a, &b])?;
    drop((ends, listener));
    agree(&netmon, [&a, &b])?;
    for member in [&a, &b] {
        netmon.page_until("the segments to be the kernel's", |page| {
            let of = |network: &str| count(page, "sent_segments", &member.name, network);
            let (sent, elsewhere) = (of("net")?, of("")?);
            let kernel = member.netns.nstat("TcpOutSegs")?;
            ensure!(
                (sent, elsewhere) == (kernel, 0),
                "{}: {sent} and {elsewhere}, not {kernel}",
                member.name
            );
            Ok(())
        })?;
    }
    Ok(())
}
