//! Connections that are made, refused, reset, timed out or open, and their round-trip times.

mod counts;
mod failures;
mod healing;
mod load;
mod mptcp;
mod raw;
pub(crate) mod server;
mod wire;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    filter::Filter,
    patience::{slowness, until},
    relay::Relay,
};
use rustix::net::sockopt::set_socket_linger;

use self::{
    counts::{agree, connections, count, failures, listed, lose_all, smoothed},
    server::Server,
    wire::delayed,
};
use crate::world::{Cable, DEVICE, Member, World, ready};

const PORT: u16 = 5300;

#[test]
fn connections_made_refused_and_given_up_are_counted_on_both_ends() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    for address in [b.address, b.ipv6_address] {
        let before = netmon.page()?;
        let kernel = (a.netns.nstat("TcpActiveOpens")?, b.netns.nstat("TcpPassiveOpens")?);
        let server = Server::start(&b.netns, address)?;
        a.netns.within(|| {
            for _ in 0..30 {
                let mut stream = TcpStream::connect(server.address)?;
                stream.write_all(b"hello")?;
            }
            for _ in 0..20 {
                ensure!(TcpStream::connect((address, PORT + 1)).is_err(), "somebody listens");
            }
            Ok(())
        })?;
        // The server does not answer, and the application does not wait until the kernel gives up.
        let silence = Filter::new(&b.netns, "prerouting", &format!("tcp dport {} drop", PORT + 2))?;
        a.netns.within(|| {
            let target = SocketAddr::new(address, PORT + 2);
            ensure!(
                TcpStream::connect_timeout(&target, Duration::from_millis(300)).is_err(),
                "somebody answers"
            );
            Ok(())
        })?;
        drop(silence);
        // A server that closes connections with unread data resets them.
        until("the server to be done with all of them", || {
            let done = server.served();
            ensure!(done == 30, "{done} connections are done");
            Ok(())
        })?;
        drop(server);
        until("everything to be counted", || {
            let page = netmon.page()?;
            for (what, shown, wanted) in [
                (
                    "connects",
                    count(&page, "connects", "a", "net")? - count(&before, "connects", "a", "net")?,
                    30,
                ),
                (
                    "accepts",
                    count(&page, "accepts", "b", "net")? - count(&before, "accepts", "b", "net")?,
                    b.netns.nstat("TcpPassiveOpens")? - kernel.1,
                ),
                (
                    "refused",
                    failures(&page, "a", "refused")? - failures(&before, "a", "refused")?,
                    20,
                ),
                (
                    "aborted",
                    failures(&page, "a", "aborted")? - failures(&before, "a", "aborted")?,
                    1,
                ),
                (
                    "resets received",
                    count(&page, "resets_received", "a", "net")? - count(&before, "resets_received", "a", "net")?,
                    20,
                ),
            ] {
                ensure!(shown == wanted, "{what}: {shown}, not {wanted}");
            }
            let attempts = a.netns.nstat("TcpActiveOpens")? - kernel.0;
            ensure!(attempts == 51, "{attempts} attempts by the kernel's count");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn resets_are_counted_both_ways_as_the_kernel_does() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let server = Server::start(&b.netns, b.address)?;
    a.netns.within(|| {
        for _ in 0..25 {
            let stream = TcpStream::connect(server.address)?;
            set_socket_linger(&stream, Some(Duration::ZERO))?;
        }
        Ok(())
    })?;
    let sent = a.netns.nstat("TcpOutRsts")?;
    ensure!(sent == 25, "the kernel sent {sent} resets");
    netmon.page_until("the resets to be counted", |page| {
        let (sent, received) = (
            count(page, "resets_sent", "a", "net")?,
            count(page, "resets_received", "b", "net")?,
        );
        ensure!((sent, received) == (25, 25), "{sent} sent, {received} received");
        Ok(())
    })
}

/// The kernel ends such a connection as if it had received a reset, and sends one.
#[test]
fn what_ends_a_closed_connection_that_still_gets_data_is_no_reset_received() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    // Longer than TCP_TIMEWAIT_LEN. Otherwise a closed connection whose end the other side has acknowledged becomes a
    // time-wait socket. Before Linux 6.10, data for those is answered without the tracepoint. That happens on a slow
    // machine, where the acknowledgement, delayed by 40 ms, comes before the data.
    a.netns.run("sysctl -qw net.ipv4.tcp_fin_timeout=120")?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    for (turn, address) in [b.address, b.ipv6_address].into_iter().enumerate() {
        let listener = b.netns.within(|| Ok(TcpListener::bind((address, PORT))?))?;
        for _ in 0..15 {
            drop(a.netns.within(|| Ok(TcpStream::connect((address, PORT))?))?);
            let (mut stream, _) = listener.accept()?;
            ensure!(stream.read(&mut [0; 1])? == 0, "it is not closed");
            stream.write_all(b"too late")?;
            // Otherwise the stream may be closed first, and its last segment would be answered with another reset.
            until("the reset to come in", || {
                ensure!(stream.take_error()?.is_some(), "the connection stands");
                Ok(())
            })?;
        }
        let wanted = 15 * (turn as u64 + 1);
        // A slow machine may retransmit the data before the reset arrives, and then receives another reset.
        let sent = a.netns.nstat_at_rest("TcpOutRsts")?;
        ensure!(sent >= wanted, "the kernel sent {sent} resets");
        netmon.page_until("the resets to be counted", |page| {
            // On any network: before Linux 6.10, resets that are sent without a socket have no network.
            let of = |family: &str, container: &str| -> anyhow::Result<u64> {
                let name = format!("netmon_container_tcp_{family}_total");
                let networks = page.all(&name, &[("container", container)]);
                let networks = networks.iter().map(|sample| &sample.labels["network"]);
                networks.map(|network| count(page, family, container, network)).sum()
            };
            let shown = (
                of("resets_sent", "a")?,
                of("resets_received", "b")?,
                of("resets_received", "a")?,
            );
            ensure!(
                shown == (sent, wanted, 0) && count(page, "resets_sent", "a", "net")? >= wanted,
                "sent, received, and received by the sender: {shown:?}"
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// This includes connections that are older than netmon and that end while it runs.
#[test]
fn open_connections_are_those_that_the_kernel_lists() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let server = Server::start(&b.netns, b.address)?;
    let connect = |count: usize| {
        a.netns.within(|| {
            let streams = (0..count).map(|_| TcpStream::connect(server.address));
            Ok(streams.collect::<Result<Vec<_>, _>>()?)
        })
    };
    let mut old = connect(12)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    agree(&netmon, [&a, &b])?;
    let new = connect(7)?;
    agree(&netmon, [&a, &b])?;
    old.truncate(5);
    agree(&netmon, [&a, &b])?;
    for stream in &new {
        stream.shutdown(std::net::Shutdown::Write)?;
    }
    agree(&netmon, [&a, &b])?;
    drop((old, new));
    agree(&netmon, [&a, &b])?;
    drop(server);
    agree(&netmon, [&a, &b])
}

/// Five connections from a container.
fn connected(member: &Member, server: &Server) -> anyhow::Result<Vec<TcpStream>> {
    let connect = |_| Ok(TcpStream::connect(server.address)?);
    member.netns.within(|| (0..5).map(connect).collect())
}

/// What the kernel programs have no room for, or what somebody deletes, is missing from then on in a sum of changes.
#[test]
fn changes_of_state_that_were_lost_are_made_good() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.times += ",round=500ms";
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let server = Server::start(&b.netns, b.address)?;
    let mut streams = connected(&a, &server)?;
    agree(&netmon, [&a, &b])?;
    for at in [4, 2] {
        lose_all(&netmon)?;
        streams.truncate(at);
        agree(&netmon, [&a, &b])?;
    }
    ensure!(
        connections(&netmon.page()?, "a").get("established") == Some(&2),
        "two are open"
    );
    Ok(())
}

/// If a socket has no route any more, the kernel moves its route to a device of the node.
#[test]
fn connections_whose_way_is_gone_stay_the_containers() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let server = Server::start(&b.netns, b.address)?;
    let mut streams = connected(&a, &server)?;
    for stream in &mut streams {
        stream.write_all(&[0x5a; 200])?;
        stream.read_exact(&mut [0; 200])?;
    }
    let agree = || {
        until("connections by state to be those that the kernel lists", || {
            let shown = connections(&netmon.page()?, "a");
            let listed = listed(&a.netns)?;
            ensure!(shown == listed, "netmon shows {shown:?}, the kernel lists {listed:?}");
            Ok(shown)
        })
    };
    ensure!(agree()?.get("established") == Some(&5), "they are not open");
    a.netns.run(&format!("ip link set {DEVICE} down"))?;
    // The kernel releases the route only when no reader can use it any more.
    thread::sleep(Duration::from_millis(500));
    // They are closed, and cannot send a FIN.
    drop(streams);
    ensure!(!agree()?.contains_key("established"), "they are open");
    a.netns.run(&format!("ip link set {DEVICE} up"))?;
    agree().map(drop)
}

#[test]
fn round_trip_times_are_those_of_the_kernel() -> anyhow::Result<()> {
    const CONNECTIONS: usize = 100;
    const DELAY: Duration = Duration::from_millis(15);
    let mut world = World::new()?;
    let (a, b) = delayed(&mut world)?;
    let wire = world.others.last().context("there is no wire")?;
    // The delay grows with the slowness of the machine. The time that the machine itself adds varies.
    let _relay = Relay::start(wire, ["left", "right"], DELAY * slowness())?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let server = Server::start(&b.netns, b.address)?;
    // With each acknowledgement, the program sees the kernel's estimate from before that acknowledgement.
    let mut kernel = Vec::new();
    let streams = a.netns.within(|| {
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            streams.push(TcpStream::connect(server.address)?);
        }
        // Requests and answers, on all connections in turn. Every answer acknowledges data.
        for _ in 0..12 {
            kernel.extend(smoothed(&a.netns)?);
            for stream in &mut streams {
                stream.write_all(&[0x5a; 200])?;
            }
            for stream in &mut streams {
                stream.read_exact(&mut [0; 200])?;
            }
        }
        Ok(streams)
    })?;
    ensure!(
        kernel.len() >= 12 * CONNECTIONS,
        "the kernel listed {} connections in all",
        kernel.len()
    );
    let kernel = kernel.iter().sum::<f64>() / kernel.len() as f64 / 1000.0;
    drop(streams);
    let page = netmon.page()?;
    let labels = [("container", "a"), ("network", "net")];
    let of = |part: &str| page.value(&format!("netmon_container_tcp_round_trip_time_seconds_{part}"), &labels);
    let (sum, samples) = (of("sum")?, of("count")?);
    ensure!(samples >= CONNECTIONS as f64 / 2.0, "only {samples} samples");
    let shown = sum / samples;
    ensure!(
        (shown / kernel - 1.0).abs() <= 0.1,
        "netmon's mean is {shown} s of {samples} samples, the kernel's {kernel} s"
    );
    let mut bucket = labels.to_vec();
    bucket.push(("le", "0.025"));
    let short = page.value("netmon_container_tcp_round_trip_time_seconds_bucket", &bucket)?;
    ensure!(
        short <= samples * 0.1,
        "{short} of {samples} samples are shorter than the way"
    );
    Ok(())
}
