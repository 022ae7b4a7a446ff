//! The families of netmon itself: kernel programs, scrapes, limits, clients, and the process.

use crate::{
    collectors::labels::Reason,
    model::{
        collector::Collector,
        health::{AttachHealth, CollectorRow, Health, HttpHealth, MapRow, ProcessHealth, ProgramRow},
    },
    page::{
        key::{Key, Word},
        labels::{Block, Unlabelled, key_labels, label_sets},
        limits::SHOWN,
        rows::{Rows, schemas},
    },
    version,
};

key_labels! {
    /// A kernel program.
    pub Program { program = what }
    /// A kernel map.
    pub Map { map = what }
    /// Why a kernel map has no entry.
    pub MapRefusal { map = what, reason = detail }
    /// A collector.
    pub ByCollector { collector = what }
    /// One of netmon's workers.
    pub ByWorker { worker = what }
    /// A limit.
    pub Limit { limit = what }
    /// A capability of the process.
    pub Capability { capability = what }
}

label_sets! {
    /// A kernel program, and how it is attached.
    pub ProgramInfo { program, r#type, attach_point, mode }
    /// This build of netmon.
    pub BuildInfo { version, revision, rustc }
}

schemas! {
    pub families of super::NAME;
    "The kernel programs" {
        /// How attaching goes.
        ATTACH(it in AttachHealth) by Unlabelled, SHOWN {
            ATTACH_DELAY: Histogram, "netmon_attach_delay" in Seconds,
                Some(it.delay.clone()),
                "Time from the discovery of an interface until its kernel programs count.";
            ATTACH_WAITING: Gauge, "netmon_attach_waiting_interfaces",
                it.waiting,
                "Interfaces that wait for kernel programs. Their own counters are exposed meanwhile.";
            ATTACH_LONGEST_WAIT: Gauge, "netmon_attach_longest_wait" in Seconds,
                it.longest_wait.map(|wait| wait.as_secs_f64()),
                "How long the interface has waited that has waited longest for kernel programs; 0 if none waits. Container starts have priority over attaching, and the newest and the oldest interface get programs by turns.";
        }
        /// Interfaces without programs.
        FAILURES(it in u64) by Reason, SHOWN {
            ATTACH_FAILURES: Counter, "netmon_attach_failures",
                *it,
                "Interfaces without kernel programs, by reason. full: no slot is left. gone: the interface was removed meanwhile. load: the kernel rejected the programs. attach: the kernel did not attach them. detached: somebody detached them; they are attached again. name: the interface's name is not UTF-8. too_many_devices: their container has more devices than are watched. Their own counters are exposed all the same.";
        }
        /// Facts about a program.
        PROGRAM_FACTS(() in ()) by ProgramInfo, SHOWN {
            BPF_PROGRAM_INFO: Info, "netmon_bpf_program",
                (),
                "A kernel program in use, and how it is attached.";
        }
        /// A program.
        PROGRAMS(it in ProgramRow) by Program, SHOWN {
            BPF_PROGRAM_MISSED_RUNS: Counter, "netmon_bpf_program_missed_runs",
                it.missed_runs,
                "Events that the kernel program missed because it was already running on that CPU. They are not counted.";
        }
        /// A map.
        MAPS(it in MapRow) by Map, SHOWN {
            BPF_MAP_ENTRIES: Gauge, "netmon_bpf_map_entries",
                it.entries,
                "Entries in use in the kernel map.";
            BPF_MAP_MAX_ENTRIES: Gauge, "netmon_bpf_map_max_entries",
                it.max_entries,
                "Maximum number of entries of the kernel map.";
        }
        /// Entries that a map has not.
        MAP_FAILURES(it in u64) by MapRefusal, SHOWN {
            BPF_MAP_UPDATE_FAILURES: Counter, "netmon_bpf_map_update_failures",
                *it,
                "How often the kernel map has no entry for what was to be counted. full: it has no room. no_memory: the kernel had no memory for a new entry at that moment, as in a burst of them. share: whoever causes these entries has used up his share of the map. other: anything else.";
        }
    }
    "netmon itself" {
        /// This build.
        BUILD(() in ()) by BuildInfo, SHOWN {
            BUILD_INFO: Info, "netmon_build",
                (),
                "This build of netmon.";
        }
        /// Scrapes.
        SCRAPES(it in u64) by Unlabelled, SHOWN {
            SCRAPE_COUNT: Counter, "netmon_scrapes",
                *it,
                "How often netmon read everything for a page. Clients that ask within half a second share a page.";
        }
        /// What could not be read.
        UNREAD(it in usize) by Unlabelled, SHOWN {
            UNREAD_NAMESPACES: Gauge, "netmon_unread_namespaces",
                *it,
                "Namespaces that exist and that this scrape could not read, at least in part. Their figures are estimates or from an earlier scrape.";
        }
        /// Namespaces that are not where netmon looks.
        MISSING(it in usize) by Reason, SHOWN {
            MISSING_NAMESPACES: Gauge, "netmon_missing_namespaces",
                *it,
                "Running containers whose network namespace netmon has not found for 30 s, by reason. Nothing of them is counted. no_directory: there is no directory --docker.netns-dir. no_file: it has no file of that name; the engine may use another directory. not_mounted: the file is no namespace, because the host's mounts do not reach netmon (rslave).";
        }
        /// Messages that the kernel dropped.
        OVERRUNS(it in u64) by Unlabelled, SHOWN {
            NETLINK_OVERRUNS: Counter, "netmon_netlink_overruns",
                *it,
                "How often the kernel dropped messages about devices, because netmon did not read them fast enough. All namespaces are read again then. A container that ended in that moment may lack its last packets.";
        }
        /// A collector's part of a scrape.
        COLLECTORS(it in CollectorRow) by ByCollector, SHOWN {
            SCRAPE_COLLECTOR_DURATION: Gauge, "netmon_scrape_collector_duration" in Seconds,
                it.duration.as_secs_f64(),
                "How long the collector took in this scrape.";
            SCRAPE_COLLECTOR_SUCCESS: Gauge, "netmon_scrape_collector_success",
                it.success,
                "Whether the collector was complete in this scrape.";
            SCRAPE_COLLECTOR_SUPPORTED: Gauge, "netmon_scrape_collector_supported",
                it.supported,
                "Whether this kernel has what the collector reads. If not, the collector is never complete, and nothing is broken.";
        }
        /// A collector's series.
        SERIES(it in usize) by ByCollector, SHOWN {
            EXPOSED_SERIES: Gauge, "netmon_exposed_series",
                *it,
                "Series of the collector on this page.";
        }
        /// Whether a limit applied to a collector.
        LIMITED(it in bool) by ByCollector, SHOWN {
            SERIES_LIMITED: Gauge, "netmon_series_limited",
                *it,
                "Whether a limit made netmon sum up series of the collector, or leave out some (endpoints, round-trip times). The sum has (over the limit) in place of the name. Sums by service, by network and of the node are not affected.";
        }
        /// What is over a limit.
        OVER(it in usize) by Limit, SHOWN {
            OVER_LIMIT: Gauge, "netmon_over_limit",
                *it,
                "How many are over a limit and summed up. series: containers, by --limit.series. container_series: a container's own interfaces, and drop reasons of a container or service, by --limit.container-series. services: services, a tenth of --limit.series. peers: addresses that send to this node and get nothing from it, 64. edges: the kernel's edges that are in those to (other), by --limit.edges.";
        }
        /// A worker.
        WORKERS(it in f64) by ByWorker, SHOWN {
            WORKER_LAST_TURN_AGE: Gauge, "netmon_worker_last_turn_age" in Seconds,
                *it,
                "How long ago the worker last ended a turn. control keeps the registry and attaches programs. watch listens to the kernel. reader reads for scrapes. engine follows the Docker engine. All but reader take a turn at least every 10 s. A turn of more than 30 s makes /-/healthy fail.";
        }
        /// The HTTP server.
        HTTP(it in HttpHealth) by Unlabelled, SHOWN {
            HTTP_CONNECTIONS: Gauge, "netmon_http_connections",
                it.connections,
                "Open client connections. The maximum is 256.";
        }
        /// Clients turned away.
        TURNED_AWAY(it in u64) by Reason, SHOWN {
            HTTP_TURNED_AWAY: Counter, "netmon_http_turned_away",
                *it,
                "Clients turned away, by reason. connections: there were too many, and the longest idle one was closed. scrapes: too many at once (--web.max-requests). slow: a request took too long to arrive, or an answer to be read. malformed: the request was invalid or too long.";
        }
        /// The web configuration.
        WEB_CONFIG(it in bool) by Unlabelled, SHOWN {
            WEB_CONFIG_SUCCESS: Gauge, "netmon_web_config_last_reload_success",
                *it,
                "Whether the web configuration in force is what its file says now. Absent without --web.config.file.";
        }
    }
    "The process" {
        /// A capability.
        CAPABILITIES(() in ()) by Capability, SHOWN {
            PROCESS_CAPABILITY_INFO: Info, "netmon_process_capability",
                (),
                "A capability that a thread of netmon holds. The threads that serve clients and follow the engine hold none.";
        }
        /// The process, with the family names that every exporter uses.
        PROCESS(it in ProcessHealth) by Unlabelled, SHOWN {
            PROCESS_CPU: Counter, "process_cpu" in Seconds,
                it.cpu_seconds,
                "User and system CPU time that netmon used.";
            PROCESS_RESIDENT_MEMORY: Gauge, "process_resident_memory" in Bytes,
                it.resident_memory_bytes,
                "Resident memory of netmon.";
            PROCESS_VIRTUAL_MEMORY: Gauge, "process_virtual_memory" in Bytes,
                it.virtual_memory_bytes,
                "Virtual memory of netmon.";
            PROCESS_OPEN_FDS: Gauge, "process_open_fds",
                it.open_fds,
                "Open file descriptors of netmon.";
            PROCESS_MAX_FDS: Gauge, "process_max_fds",
                it.max_fds,
                "Maximum number of file descriptors of netmon.";
            PROCESS_START_TIME: Gauge, "process_start_time" in Seconds,
                it.start_time_seconds,
                "When netmon started, in seconds since the epoch.";
            PROCESS_THREADS: Gauge, "process_threads",
                it.threads,
                "Threads of netmon.";
        }
    }
}

/// The rows of a scrape, except the numbers of series.
pub(crate) fn rows(health: &Health) -> Vec<Rows> {
    let Health {
        attach,
        programs,
        maps,
        limits,
        http,
        scrapes,
        collectors,
        unread,
        missing,
        overruns,
        workers,
        web_config,
        shows_exporter,
        process,
    } = health;
    let named = |name: &'static str| Key::default().what(name);
    let told = |name: &str| Key::default().what(Word::told(name));
    let failures = attach.failures.iter();
    let turned_away = http.turned_away.iter();
    let limited = limits.limited.iter();
    let refusals = maps.iter().flat_map(|row| {
        let of = |(reason, count): &(&'static str, u64)| (named(row.map).detail(*reason), *count);
        row.update_failures.iter().map(of)
    });
    let mut rows = vec![
        ATTACH.row(attach),
        FAILURES.rows(failures.map(|(reason, count)| (named(reason.as_str()), *count))),
        PROGRAM_FACTS.labelled(programs.iter().map(|row| (program_info(row), ()))),
        PROGRAMS.rows(programs.iter().map(|row| (named(row.program), row))),
        MAPS.rows(maps.iter().map(|row| (named(row.map), row))),
        MAP_FAILURES.rows(refusals),
        SCRAPES.row(scrapes),
        UNREAD.row(unread),
        MISSING.rows(missing.iter().map(|(reason, count)| (named(reason.as_str()), *count))),
        OVERRUNS.row(overruns),
        COLLECTORS.rows(collectors.iter().map(|row| (named(row.collector), row))),
        LIMITED.rows(limited.map(|(collector, is_limited)| (named(collector.as_str()), *is_limited))),
        OVER.rows(limits.over.iter().map(|(limit, over)| (named(limit), *over))),
        WORKERS.rows(workers.iter().map(|(worker, age)| (named(worker), age.as_secs_f64()))),
        HTTP.row(http),
        TURNED_AWAY.rows(turned_away.map(|(reason, count)| (named(reason), *count))),
    ];
    rows.extend(web_config.as_ref().map(|is_current| WEB_CONFIG.row(is_current)));
    if *shows_exporter {
        rows.push(BUILD.labelled([(build_info(), ())]));
    }
    if let Some(process) = process {
        let capabilities = process.capabilities.iter();
        rows.push(CAPABILITIES.rows(capabilities.map(|capability| (told(capability), ()))));
        rows.push(PROCESS.row(process));
    }
    rows
}

/// The row of each collector's number of series.
pub(crate) fn series(counts: impl IntoIterator<Item = (Collector, usize)>) -> Rows {
    let counts = counts.into_iter();
    SERIES.rows(counts.map(|(collector, series)| (Key::default().what(collector.as_str()), series)))
}

fn program_info(row: &ProgramRow) -> Block<ProgramInfo<'static>> {
    let ProgramRow {
        program,
        kind,
        attach_point,
        mode,
        missed_runs: _,
    } = *row;
    ProgramInfo {
        program,
        r#type: kind,
        attach_point,
        mode,
    }
    .block()
}

fn build_info() -> Block<BuildInfo<'static>> {
    BuildInfo {
        version: version::VERSION,
        revision: version::REVISION,
        rustc: version::RUSTC,
    }
    .block()
}
