//! What DNS costs: a query and its response on loopback, and packets that are neither.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use netmon::datapath::{Datapath, yardstick};

use crate::{REQUEST_BYTES, reference::Reference, report::Report, workload, world::World};

/// Queries, each with a response.
const QUERIES: u16 = 60_000;
/// Packets of a connection over loopback.
const PACKETS: usize = 200_000;
const RESOLVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), 53);

/// A query for `web`, type A.
const QUERY: [u8; 21] = *b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01";

/// All of it.
pub(crate) fn all(report: &mut Report, reference: &mut Reference, datapath: &mut Datapath) -> anyhow::Result<()> {
    for (program, count) in yardstick::verified(datapath)? {
        report.add(
            &format!("DNS: verified instructions, {program}"),
            count.into(),
            "",
            None,
        );
    }
    let world = World::new(1, 1)?;
    let mut measure = |work: fn() -> anyhow::Result<()>| -> anyhow::Result<[f64; 3]> {
        let mut done = Ok(());
        let runs = world.within(|| yardstick::per_loopback_packet(datapath, || done = work()))??;
        done?;
        Ok(["dns_loopback", "empty", "clock"].map(|name| {
            let runs = runs.iter().find(|runs| name.starts_with(&runs.program));
            runs.map_or(f64::NAN, |runs| runs.nanoseconds)
        }))
    };
    let [other, empty, _] = measure(|| Ok(workload::messages(PACKETS, REQUEST_BYTES)?))?;
    report.add(
        "DNS: another packet on loopback, over an empty program",
        other - empty,
        "ns",
        Some(15.0),
    );
    reference.add(report, "another packet on loopback over an empty program", other, empty);
    let [message, empty, clock] = measure(exchange)?;
    report.add(
        "DNS: a query or a response, over an empty program",
        message - empty,
        "ns",
        None,
    );
    // How long a look at the clock takes depends on the machine: 15 ns, or 70 where that is a virtual one.
    report.add(
        "DNS: a query or a response, over a program that looks at the clock",
        message - clock,
        "ns",
        Some(40.0),
    );
    reference.add(report, "a DNS message over a look at the clock", message, clock);
    Ok(())
}

/// Sends queries, one after the other, and answers each. One thread does both: what it costs to move a cache line to another
/// processor, or to wake it, depends on the machine.
fn exchange() -> anyhow::Result<()> {
    let resolver = UdpSocket::bind(RESOLVER)?;
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    client.connect(RESOLVER)?;
    for socket in [&resolver, &client] {
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    }
    let (mut query, mut buffer) = (QUERY, [0; 512]);
    for id in 0..QUERIES {
        query[..2].copy_from_slice(&id.to_be_bytes());
        client.send(&query)?;
        let (length, asker) = resolver.recv_from(&mut buffer)?;
        buffer[2] |= 0x80;
        resolver.send_to(&buffer[..length], asker)?;
        client.recv(&mut buffer)?;
    }
    Ok(())
}
