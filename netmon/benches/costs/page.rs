//! What each part of a page costs, after everything was read: the collectors' rows, the limits, the text, the older
//! format, and what is sent.

use std::{
    collections::HashMap,
    io::Write as _,
    sync::PoisonError,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use netmon::{
    collectors::{self, visit::Visit},
    model::format::Format,
    model::health::{DockerHealth, Health},
    page::{
        limits::{Caps, Limits},
        rows::Rows,
    },
    scrape::Sources,
};
use rustix::time::{ClockId, clock_gettime};

use crate::{SCRAPES, milliseconds, report::Report};

/// The longest that gzip may take for the page of 1,000 containers, in milliseconds.
const MOST_FOR_GZIP: f64 = 15.0;

/// The cost of each part of a page of these sources, which were read a moment ago.
pub(crate) fn parts(report: &mut Report, containers: usize, sources: &Sources, health: &Health) -> anyhow::Result<()> {
    let mut add = |what: &str, time: Duration| {
        report.add(
            &format!("{what}, {containers} containers"),
            milliseconds(time),
            "ms",
            None,
        );
    };
    let made = rows(sources);
    add("page: rows", least(|| rows(sources)));

    // No limit is reached, as on nearly every node.
    let mut limits = Limits::new(Caps {
        series: 0,
        container_series: 0,
    });
    let mut copy = made.clone();
    let mut apply = || limits.apply(&mut copy, &HashMap::new(), false, Instant::now());
    add("page: limits", least(&mut apply));

    let sort = || made.iter().map(|rows| rows.sorted().of(0).count()).sum::<usize>();
    add("page: labels and their order", least(sort));
    let page = collectors::page(made.clone(), health, &sources.wanted);
    add("page: text, with those", least(|| page.text(Format::OpenMetrics)));

    let page = page.text(Format::OpenMetrics);
    let compress = || -> std::io::Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 16), Compression::fast());
        encoder.write_all(page.as_bytes())?;
        encoder.finish()
    };
    let most = (containers == 1000).then_some(MOST_FOR_GZIP);
    let gzip = milliseconds(least(compress));
    report.add(&format!("page: gzip, {containers} containers"), gzip, "ms", most);
    let ratio = page.len() as f64 / compress()?.len() as f64;
    report.add(
        &format!("page: bytes over those of gzip, {containers} containers"),
        ratio,
        "times",
        None,
    );
    Ok(())
}

/// The rows of all collectors.
fn rows(sources: &Sources) -> Vec<Rows> {
    let mut running = sources.running.lock().unwrap_or_else(PoisonError::into_inner);
    running.read(&sources.shared, &sources.tools);
    let mut state = sources.shared.lock();
    running.collect(&mut Visit {
        state: &mut state,
        tools: &sources.tools,
        engine: &DockerHealth::default(),
        now: Instant::now(),
        programs: Vec::new(),
        maps: Vec::new(),
        over: Vec::new(),
    })
}

/// The least processor time that the work takes.
pub(crate) fn least<T>(mut work: impl FnMut() -> T) -> Duration {
    let times = (0..SCRAPES).map(|_| {
        let begin = processor_time();
        std::hint::black_box(work());
        processor_time().saturating_sub(begin)
    });
    times.min().unwrap_or_default()
}

/// The processor time of this thread. What else runs on the machine disturbs it less than the clock's.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.try_into().unwrap_or(0))
}
