//! Names that arrive late, and counts from before.

use std::{
    fmt::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::ensure;
use netmon_tests::{page::Page, patience::slowness, traffic};

use crate::world::{Cable, Member, World, ready};

const PORT: u16 = 5310;
/// How long netmon waits for a name in these tests before counts become unattributed.
const HELD_BACK: Duration = Duration::from_secs(3);

#[test]
fn a_container_that_is_named_late_has_all_its_connections_and_what_it_loses_from_then_on() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let held_back = HELD_BACK * slowness();
    write!(world.times, ",name-patience={}s", held_back.as_secs())?;
    let netmon = world.netmon(&[])?;
    netmon.wait_ready()?;
    world.engine.hold("a");
    let (a, b) = world.pair(Cable::Bridge)?;
    let listener = b.netns.within(|| Ok(TcpListener::bind((b.address, PORT))?))?;
    let connect = |count: usize| -> anyhow::Result<()> {
        for _ in 0..count {
            drop(a.netns.within(|| Ok(TcpStream::connect((b.address, PORT))?))?);
            drop(listener.accept()?);
        }
        Ok(())
    };
    let drop_some = |count| traffic::datagrams(&b.netns, SocketAddr::new(a.address, 9), count, 100);
    connect(3)?;
    drop_some(20)?;
    // This page reads the drops for the first time. They are unattributed when they are read after the wait.
    netmon.page()?;
    thread::sleep(held_back + Duration::from_millis(200));
    let nobodys = netmon.page_until("what was lost to be nobody's", |page| {
        let nobodys = unnamed(page)?;
        ensure!(nobodys >= 20, "{nobodys} are");
        Ok(nobodys)
    })?;
    let counted = a.netns.nstat_at_rest("UdpNoPorts")?;
    ensure!(
        nobodys == counted,
        "{nobodys} are nobody's, the kernel counts {counted}"
    );

    world.engine.release("a");
    // The stream of events ends, so netmon reconnects and asks the engine for everything again.
    world.engine.hang_up();
    ready(&netmon, 2)?;
    connect(4)?;
    drop_some(30)?;
    let more = a.netns.nstat_at_rest("UdpNoPorts")? - counted;
    netmon.page_until("the rest to be the container's", |page| {
        let (lost, connects) = (lost(page, &a)?, connects(page, &a)?);
        ensure!(
            (lost, connects) == (more, 7) && unnamed(page)? == counted,
            "it lost {lost} of {more} and made {connects} connections of 7; {} are nobody's, {counted} were",
            unnamed(page)?
        );
        Ok(())
    })
}

fn unnamed(page: &Page) -> anyhow::Result<u64> {
    match &page.all("netmon_unattributed_drops_total", &[("cause", "unnamed")])[..] {
        [] => Ok(0),
        _ => page.count(
            "netmon_unattributed_drops_total",
            &[("cause", "unnamed"), ("reason", "NO_SOCKET")],
        ),
    }
}

fn lost(page: &Page, member: &Member) -> anyhow::Result<u64> {
    page.count(
        "netmon_container_packet_drops_total",
        &[("container", &member.name), ("network", "net"), ("reason", "NO_SOCKET")],
    )
}

fn connects(page: &Page, member: &Member) -> anyhow::Result<u64> {
    page.count(
        "netmon_container_tcp_connects_total",
        &[("container", &member.name), ("network", "net")],
    )
}
