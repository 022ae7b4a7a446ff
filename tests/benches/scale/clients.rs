//! Clients that do not behave: they do not read their pages, send no request, or never finish one. Must not know how
//! costs grow.

use std::{
    io::{self, Read as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::ensure;
use netmon_tests::{netmon::Netmon, patience::until, scratch::Scratch};

use crate::{END_BOUND, process::Process, report::Report, world::World};

/// The number of containers beside these clients.
const CONTAINERS: usize = 10;
/// How many clients take a page each, in plain text, and read only its beginning. No more may take one at a time.
pub(crate) const SLOW_READERS: usize = 8;
/// The most memory that netmon may have used beside them, in megabytes: the limit in the stack's file.
pub(crate) const SLOW_READERS_BOUND: f64 = 256.0;

/// How many clients connect and send no request, and how many send a request that never ends.
const CLIENTS: (usize, usize) = (1000, 50);
/// How many times each of the slow clients sends another byte.
const TRICKLES: usize = 20;
/// How long a page may take beside these clients, in milliseconds. A request that is too long must be refused as
/// soon.
const CLIENTS_BOUND: f64 = 2000.0;
/// How long a page may take beside clients that do not read their answers, in milliseconds.
const LAZY_BOUND: f64 = 4000.0;

/// The most memory that netmon used, in megabytes, with clients that do not read their pages. Each has a page of its
/// own, because tests and benchmarks share none.
pub(crate) fn slow_readers(netmon: &Netmon) -> anyhow::Result<f64> {
    let mut readers = Vec::with_capacity(SLOW_READERS);
    for _ in 0..SLOW_READERS {
        let mut stream = netmon.connect()?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut begin = [0; 12];
        stream.read_exact(&mut begin)?;
        ensure!(begin.ends_with(b"200"), "the answer begins with {begin:?}");
        readers.push(stream);
    }
    Ok(Process::of(netmon.pid()).peak_memory_bytes()? / 1e6)
}

/// How long a page takes, in milliseconds.
fn page(netmon: &Netmon) -> anyhow::Result<f64> {
    let begin = Instant::now();
    netmon.page()?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// A page, and netmon's end, beside clients that keep their connections. They send no request, never finish one, or
/// do not read the answer.
pub(crate) fn clients(report: &mut Report) -> anyhow::Result<()> {
    let (idle, slow) = CLIENTS;
    let scratch = Scratch::new()?;
    let world = World::new(&scratch, CONTAINERS)?;
    let netmon = Netmon::start(&world.flags())?;
    let alone = page(&netmon)?;
    let mut streams = Vec::new();
    let mut longest: f64 = 0.0;
    for number in 0..idle + slow {
        let mut stream = netmon.connect()?;
        if number % (idle / slow) == 0 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")?;
        }
        streams.push(stream);
        if number % 100 == 0 {
            longest = longest.max(page(&netmon)?);
        }
    }
    // One byte at a time, so that none of the slow clients is ever silent.
    for _ in 0..TRICKLES {
        for stream in streams.iter_mut().step_by(idle / slow) {
            // A client notices only later that netmon has closed its connection.
            drop(stream.write(b"x"));
        }
        longest = longest.max(page(&netmon)?);
    }
    let refused = refuse(&netmon)?;
    let (status, ended) = netmon.terminate()?;
    ensure!(status.success(), "netmon ended with {status}");
    report.add(
        "netmon: a request of 1 MiB, refused after",
        refused,
        "ms",
        Some(CLIENTS_BOUND),
    );
    report.add("netmon: a page, alone", alone, "ms", None);
    let what = format!(
        "netmon: a page beside {} idle and slow clients, the longest",
        idle + slow
    );
    report.add(&what, longest, "ms", Some(CLIENTS_BOUND));
    let what = "netmon: asked to end beside them, ended after";
    report.add(what, ended.as_secs_f64(), "s", Some(END_BOUND));

    let mut flags = world.flags();
    flags.push("--web.max-requests=2".to_owned());
    let netmon = Netmon::start(&flags)?;
    let mut lazy = Vec::new();
    for _ in 0..10 {
        let mut stream = netmon.connect()?;
        // More answers than the kernel's buffers hold.
        stream.write_all("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200).as_bytes())?;
        lazy.push(stream);
    }
    // Until a page is served: netmon takes the places back.
    let longest = until("a page to be had", || page(&netmon))?;
    let what = "netmon: a page beside ten clients that take none, two places";
    report.add(what, longest, "ms", Some(LAZY_BOUND));
    Ok(())
}

/// How long netmon takes to answer a request that is too long, or to close its connection, in milliseconds.
fn refuse(netmon: &Netmon) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let mut stream = netmon.connect()?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let long = "x".repeat(1 << 20);
    // netmon refuses the request before its end, and the rest cannot be sent.
    drop(stream.write_all(format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()));
    let timed_out = |error: &io::Error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    let answer = stream.read(&mut [0; 12]);
    ensure!(
        !answer.as_ref().is_err_and(timed_out),
        "netmon waits for the rest of it"
    );
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}
