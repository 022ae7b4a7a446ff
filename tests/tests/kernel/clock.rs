//! Jumps of the machine's clock. They run only on an emulated machine: here they would affect everything else.

use std::{env, time::Duration};

use anyhow::{Context as _, ensure};
use netmon_tests::traffic;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use crate::world::{Cable, World, agree, exactly_or_a_goodbye_more, ready};

#[test]
fn a_clock_that_jumps_changes_no_count_no_name_and_no_linger() -> anyhow::Result<()> {
    ensure!(
        env::var_os("NETMON_TEST_EMULATED").is_some(),
        "the clock is only moved in an emulated machine: `cargo xtask test --kernel 6.1 --name clock::`"
    );
    for days in [1, -1] {
        let mut world = World::new()?;
        let netmon = world.netmon(&["--container.linger=8s"])?;
        netmon.wait_ready()?;
        jump(days)?;
        let (a, b) = world.pair(Cable::Bridge)?;
        ready(&netmon, 2)?;
        traffic::ping(&a.netns, b.address, 20)?;
        let (_, before) = agree(&netmon, &a, "net").with_context(|| format!("{days} days on"))?;
        jump(-2 * days)?;
        traffic::ping(&a.netns, b.address, 20)?;
        let (page, after) = agree(&netmon, &a, "net").with_context(|| format!("and {} days back", 2 * days))?;
        ensure!(after.since(before).transmit_packets >= 20, "{after:?} after {before:?}");
        ensure!(page.count("netmon_docker_up", &[])? == 1, "the engine is down");
        // netmon notices the container's end, and the last values linger for the usual time.
        let last = world.end(b)?;
        let shown = netmon.page()?.interface("b", "net")?;
        exactly_or_a_goodbye_more(shown, last)?;
        netmon.page_until("what is gone to end", |page| {
            let left = page.all("netmon_container_network_receive_packets_total", &[("container", "b")]);
            ensure!(left.is_empty(), "{} series are left", left.len());
            Ok(())
        })?;
        agree(&netmon, &a, "net")?;
        jump(days)?;
    }
    Ok(())
}

/// Moves the machine's clock by that many days.
fn jump(days: i64) -> anyhow::Result<()> {
    let now = clock_gettime(ClockId::Realtime);
    let seconds = i64::try_from(Duration::from_hours(24).as_secs())?;
    let then = Timespec {
        tv_sec: now.tv_sec + days * seconds,
        ..now
    };
    Ok(clock_settime(ClockId::Realtime, then)?)
}
