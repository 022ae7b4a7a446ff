//! The state of netmon for the golden page.

use std::{collections::BTreeMap, time::Duration};

use crate::model::{
    health::{
        AttachFailure, AttachHealth, CollectorRow, Health, HttpHealth, LimitHealth, MapRow, MissingNamespace,
        ProcessHealth, ProgramRow,
    },
    histogram::Histogram,
};

/// A bit of everything.
pub(in crate::collectors) fn health() -> Health {
    let mut delay = Histogram::new(&[0.001, 0.01, 0.1, 1.0]);
    for milliseconds in [0.5, 20.0, 30.0, 5000.0] {
        delay.observe(Duration::from_secs_f64(milliseconds / 1000.0));
    }
    let program = |program, attach_point| ProgramRow {
        program,
        kind: "sched_cls",
        attach_point,
        mode: "tcx",
        missed_runs: None,
    };
    let of_events = ProgramRow {
        program: "drops",
        kind: "tracing",
        attach_point: "kfree_skb",
        mode: "tp_btf",
        missed_runs: Some(2),
    };
    let collector = |collector, micros, success| CollectorRow {
        collector,
        duration: Duration::from_micros(micros),
        success,
        supported: collector != "vxlan",
    };
    Health {
        attach: AttachHealth {
            delay,
            waiting: Some(1),
            longest_wait: Some(Duration::from_millis(1500)),
            failures: BTreeMap::from([(AttachFailure::Full, 2), (AttachFailure::Load, 0)]),
        },
        programs: vec![
            program("traffic_ingress", "ingress"),
            program("traffic_egress", "egress"),
            of_events,
        ],
        maps: vec![MapRow {
            map: "TRAFFIC",
            entries: 3,
            max_entries: 4096,
            update_failures: vec![("full", 0), ("no_memory", 3)],
        }],
        limits: LimitHealth::default(),
        http: HttpHealth {
            connections: 1,
            turned_away: vec![("connections", 0), ("scrapes", 2)],
        },
        scrapes: 17,
        unread: 1,
        missing: BTreeMap::from([(MissingNamespace::NoFile, 3), (MissingNamespace::NotMounted, 0)]),
        overruns: 2,
        collectors: vec![collector("traffic", 1500, true), collector("vxlan", 20, false)],
        workers: vec![
            ("control", Duration::from_millis(1500)),
            ("reader", Duration::from_secs(15)),
        ],
        web_config: Some(true),
        shows_exporter: true,
        process: Some(ProcessHealth {
            cpu_seconds: 1.25,
            resident_memory_bytes: 12_582_912,
            virtual_memory_bytes: 400_000_000,
            open_fds: 23,
            max_fds: Some(1_048_576),
            start_time_seconds: 1_794_999_000.5,
            threads: 3,
            capabilities: vec!["CAP_NET_ADMIN".to_owned(), "CAP_SYS_ADMIN".to_owned()],
        }),
    }
}
