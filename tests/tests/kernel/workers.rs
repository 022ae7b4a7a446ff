//! netmon's workers. If one ends, netmon ends; if one hangs, netmon is unhealthy.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    netmon::Netmon,
    patience::{slowness, until},
};

use crate::world::{Cable, World, ready};

const WORKERS: [&str; 4] = ["control", "watch", "reader", "engine"];

/// Starts one netmon for each worker, with that fault in that worker.
fn faulty(world: &World, fault: &str) -> anyhow::Result<Vec<(&'static str, Netmon)>> {
    WORKERS
        .into_iter()
        .map(|worker| Ok((worker, world.netmon(&[&format!("--debug.fault={worker}={fault}")])?)))
        .collect()
}

#[test]
fn when_a_worker_panics_netmon_says_which_and_why_and_ends_with_1() -> anyhow::Result<()> {
    let world = World::new()?;
    for (worker, mut netmon) in faulty(&world, "panic")? {
        let status = until("netmon to end", || {
            // The reader only works when a page is requested.
            drop(netmon.page());
            netmon.has_ended()?.context("it still runs")
        })
        .with_context(|| worker)?;
        let log = netmon.log();
        ensure!(status.code() == Some(1), "{worker}: {status}: {log}");
        let said = format!("netmon: worker `{worker}` panicked (it was asked to panic)");
        ensure!(log.contains(&said), "it does not say {said:?}: {log}");
    }
    Ok(())
}

#[test]
fn a_worker_that_hangs_makes_netmon_unhealthy_and_keeps_neither_its_answers_nor_its_end_waiting() -> anyhow::Result<()>
{
    let mut world = World::new()?;
    world.times = format!("{},worker-patience={}s", world.times, slowness());
    let all = faulty(&world, "hang")?;
    for (worker, netmon) in &all {
        if *worker == "reader" {
            // The test does not read the answer.
            let asked = "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n";
            let mut stream = netmon.connect()?;
            until("it to be asked while it hangs", || {
                stream.write_all(asked.as_bytes())?;
                let answer = netmon.get("/-/healthy")?;
                ensure!(answer.status == 503, "{}", answer.text());
                Ok(())
            })?;
        }
        let text = until("netmon to be unhealthy", || {
            let answer = netmon.get("/-/healthy")?;
            ensure!(answer.status == 503, "status {}: {}", answer.status, answer.text());
            Ok(answer.text())
        })
        .with_context(|| *worker)?;
        ensure!(
            text.starts_with(&format!(
                "netmon is not healthy: worker `{worker}` has been in one turn for "
            )),
            "{text}"
        );
        ensure!(netmon.get("/")?.status == 200, "{worker}: other pages are not served");
    }
    for (worker, netmon) in all {
        let (status, _) = netmon.terminate().with_context(|| worker)?;
        ensure!(status.success(), "{worker}: {status}");
    }
    Ok(())
}

#[test]
fn while_the_reader_hangs_devices_are_heard_of_and_named_and_netmon_is_healthy() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let netmon = world.netmon(&["--debug.fault=reader=hang"])?;
    netmon.wait_ready()?;
    let mut unanswered = netmon.connect()?;
    unanswered.set_read_timeout(Some(slowness() * Duration::from_secs(1)))?;
    let mut answer = vec![0; 1 << 20];
    until("the reader to hang", || {
        unanswered.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")?;
        ensure!(unanswered.read(&mut answer).is_err(), "it answers");
        Ok(())
    })?;
    // Programs are attached to interfaces that were heard of and that the engine has named.
    let _pair = world.pair(Cable::Bridge)?;
    until("both interfaces to get programs", || {
        let attached = netmon.log().matches("programs attached").count();
        ensure!(attached == 2, "{attached} have them:\n{}", netmon.log());
        Ok(())
    })?;
    ensure!(netmon.get("/-/healthy")?.status == 200, "it is not healthy");
    ensure!(netmon.get("/-/ready")?.status == 200, "it is not ready");
    let late = unanswered.read(&mut [0]);
    ensure!(late.is_err(), "the reader did not hang");
    Ok(())
}

#[test]
fn how_long_ago_each_worker_was_at_work_is_on_the_page() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let _pair = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    for worker in WORKERS {
        let age = netmon
            .page()?
            .value("netmon_worker_last_turn_age_seconds", &[("worker", worker)])?;
        // Every worker takes a turn at least every ten seconds, even if it has nothing to do.
        ensure!((0.0..20.0).contains(&age), "{worker} was at work {age} s ago");
    }
    ensure!(netmon.get("/-/healthy")?.status == 200, "it is not healthy");
    Ok(())
}
