//! The state of netmon itself: the connection to the engine, the kernel programs, and the scrape.

use std::fmt;

use super::{
    catalog,
    family::Page,
    labels::{ByCollector, ByWorker, Event, Limit, Map, Program, ProgramInfo, Reason, Rows},
    wanted,
};
use crate::model::{
    collector::{Collector, Collectors},
    snapshot::{AttachHealth, CollectorRow, DockerHealth, Health, HttpHealth, LimitHealth, MapRow, ProgramRow},
};

/// Writes everything except the number of series.
pub(super) fn encode(page: &mut Page<'_>, health: &Health) -> fmt::Result {
    let Health {
        docker,
        attach,
        programs,
        maps,
        limits,
        http,
        collectors,
        workers,
        web_config,
        process: _,
    } = health;
    encode_docker(page, docker)?;
    encode_attach(page, attach)?;
    encode_programs(page, programs)?;
    encode_maps(page, maps)?;
    encode_limits(page, limits)?;
    encode_http(page, http)?;
    encode_collectors(page, collectors)?;
    let workers = workers.iter();
    let workers = Rows::new(workers.map(|(worker, age)| (ByWorker { worker }.block(), age.as_secs_f64())));
    catalog::WORKER_LAST_TURN_AGE.encode(page, workers.each(|age| *age))?;
    match web_config {
        Some(is_current) => catalog::WEB_CONFIG_SUCCESS.encode_value(page, *is_current),
        None => Ok(()),
    }
}

fn encode_docker(page: &mut Page<'_>, docker: &DockerHealth) -> fmt::Result {
    let DockerHealth {
        up,
        last_sync,
        events,
        reconnects,
        decode_errors,
    } = docker;
    catalog::DOCKER_UP.encode_value(page, *up)?;
    if let Some(last_sync) = *last_sync {
        catalog::DOCKER_LAST_SYNC.encode_value(page, last_sync)?;
    }
    let events = Rows::new(events.iter().map(|(r#type, count)| (Event { r#type }.block(), *count)));
    catalog::DOCKER_EVENTS.encode(page, events.each(|count| *count))?;
    catalog::DOCKER_RECONNECTS.encode_value(page, *reconnects)?;
    catalog::DOCKER_DECODE_ERRORS.encode_value(page, *decode_errors)
}

fn encode_attach(page: &mut Page<'_>, attach: &AttachHealth) -> fmt::Result {
    let AttachHealth {
        delay,
        waiting,
        failures,
    } = attach;
    catalog::ATTACH_DELAY.encode_value(page, delay)?;
    if let Some(waiting) = waiting {
        catalog::ATTACH_WAITING.encode_value(page, *waiting as u64)?;
    }
    let failures = Rows::new(failures.iter().map(|(reason, count)| {
        (
            Reason {
                reason: reason.as_str(),
            }
            .block(),
            *count,
        )
    }));
    catalog::ATTACH_FAILURES.encode(page, failures.each(|count| *count))
}

fn encode_programs(page: &mut Page<'_>, programs: &[ProgramRow]) -> fmt::Result {
    let missed = programs.iter().filter_map(|row| {
        let ProgramRow { program, .. } = *row;
        Some((Program { program }.block(), row.missed_runs?))
    });
    let missed = Rows::new(missed);
    let programs = Rows::new(programs.iter().map(|row| {
        let ProgramRow {
            program,
            kind,
            attach_point,
            mode,
            missed_runs: _,
        } = *row;
        let info = ProgramInfo {
            program,
            r#type: kind,
            attach_point,
            mode,
        };
        (info.block(), ())
    }));
    catalog::BPF_PROGRAM_INFO.encode(page, programs.each(|()| ()))?;
    catalog::BPF_PROGRAM_MISSED_RUNS.encode(page, missed.each(|count| *count))
}

fn encode_maps(page: &mut Page<'_>, maps: &[MapRow]) -> fmt::Result {
    let maps = Rows::new(maps.iter().map(|row| (Map { map: row.map }.block(), row)));
    catalog::BPF_MAP_ENTRIES.encode(page, maps.each(|row| row.entries))?;
    catalog::BPF_MAP_MAX_ENTRIES.encode(page, maps.each(|row| row.max_entries))?;
    catalog::BPF_MAP_UPDATE_FAILURES.encode(page, maps.each(|row| row.update_failures))
}

fn encode_limits(page: &mut Page<'_>, limits: &LimitHealth) -> fmt::Result {
    let over = limits.over.iter();
    let over = Rows::new(over.map(|(limit, over)| (Limit { limit }.block(), *over)));
    catalog::OVER_LIMIT.encode(page, over.each(|over| *over))
}

fn encode_http(page: &mut Page<'_>, http: &HttpHealth) -> fmt::Result {
    let HttpHealth {
        connections,
        turned_away,
    } = http;
    catalog::HTTP_CONNECTIONS.encode_value(page, *connections)?;
    let reasons = turned_away.iter();
    let reasons = Rows::new(reasons.map(|(reason, count)| (Reason { reason }.block(), *count)));
    catalog::HTTP_TURNED_AWAY.encode(page, reasons.each(|count| *count))
}

fn encode_collectors(page: &mut Page<'_>, collectors: &[CollectorRow]) -> fmt::Result {
    let collector = |row: &CollectorRow| {
        ByCollector {
            collector: row.collector,
        }
        .block()
    };
    let rows = Rows::new(collectors.iter().map(|row| (collector(row), row)));
    catalog::SCRAPE_COLLECTOR_DURATION.encode(page, rows.each(|row| row.duration.as_secs_f64()))?;
    catalog::SCRAPE_COLLECTOR_SUCCESS.encode(page, rows.each(|row| row.success))
}

/// Writes the number of series, and whether some were summed up or left out. Must come last, when that is known.
pub(super) fn encode_series(page: &mut Page<'_>, collectors: Collectors, limited: &[(Collector, bool)]) -> fmt::Result {
    let block = |collector: Collector| {
        ByCollector {
            collector: collector.as_str(),
        }
        .block()
    };
    let limited = Rows::new(limited.iter().map(|(collector, limited)| (block(*collector), *limited)));
    catalog::SERIES_LIMITED.encode(page, limited.each(|limited| *limited))?;
    let own = wanted(collectors).count();
    let exposed = Rows::new(wanted(collectors).map(|collector| {
        let own = if collector == Collector::Netmon { own } else { 0 };
        (block(collector), page.series_of(collector) + own)
    }));
    catalog::EXPOSED_SERIES.encode(page, exposed.each(|series| *series))
}

/// The maximum number of series that [`encode_series`] writes.
pub(super) fn series_of_series(collectors: Collectors) -> usize {
    // The count of every collector, and for eight of them whether they were limited.
    wanted(collectors).count() + 8
}
