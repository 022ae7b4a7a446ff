//! The state of netmon itself, as a page shows it.

use std::{collections::BTreeMap, time::Duration};

use super::{collector::Collector, histogram::Histogram};

/// The state of netmon itself.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// How attaching goes.
    pub attach: AttachHealth,
    /// The programs in use.
    pub programs: Vec<ProgramRow>,
    /// The kernel maps in use.
    pub maps: Vec<MapRow>,
    /// What is over a limit, and summed up.
    pub limits: LimitHealth,
    /// The HTTP server's clients.
    pub http: HttpHealth,
    /// How often netmon read everything for a page.
    pub scrapes: u64,
    /// Each collector's duration and success.
    pub collectors: Vec<CollectorRow>,
    /// Namespaces that exist and could not be read.
    pub unread: usize,
    /// Running containers whose namespaces are not where netmon looks, by reason.
    pub missing: BTreeMap<MissingNamespace, usize>,
    /// How often the kernel dropped messages about devices.
    pub overruns: u64,
    /// netmon's workers, and how long ago each one's last turn ended.
    pub workers: Vec<(&'static str, Duration)>,
    /// Whether the web configuration in force is the one in the file; `None` without a file.
    pub web_config: Option<bool>,
    /// The operator wants the build and the process on the page.
    pub shows_exporter: bool,
    /// The process, as the kernel reports it; `None` if it is not wanted or could not be read.
    pub process: Option<ProcessHealth>,
}

/// The connection to the engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DockerHealth {
    /// The engine answers and its event stream is open.
    pub up: bool,
    /// When the last complete listing was received, in seconds since the epoch; `None` before the first.
    pub last_sync: Option<f64>,
    /// Events received, by type (`container`, `network`, ...).
    pub events: BTreeMap<String, u64>,
    /// How often the event stream was reopened after it broke.
    pub reconnects: u64,
    /// Answers and events that were skipped because they could not be decoded.
    pub decode_errors: u64,
}

/// How attaching goes.
#[derive(Clone, Debug, Default)]
pub struct AttachHealth {
    /// The time from an interface's first sight until its programs are attached.
    pub delay: Histogram,
    /// Interfaces that wait for programs and have had no failed attach. `None` if no programs are attached at all.
    pub waiting: Option<usize>,
    /// How long the one of these waits that waits longest.
    pub longest_wait: Option<Duration>,
    /// Interfaces that remained without programs, by reason.
    pub failures: BTreeMap<AttachFailure, u64>,
}

/// Why an interface remained without programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttachFailure {
    /// The kernel refused to attach them.
    Attach,
    /// Somebody detached them.
    Detached,
    /// No slot is left.
    Full,
    /// The interface was deleted before they were attached.
    Gone,
    /// The kernel refused to load them.
    Load,
    /// The interface's name is not UTF-8.
    Name,
    /// Its container has more interfaces than netmon watches.
    TooManyDevices,
}

impl AttachFailure {
    /// Every reason, in the order of the metrics.
    pub const ALL: [Self; 7] = [
        Self::Attach,
        Self::Detached,
        Self::Full,
        Self::Gone,
        Self::Load,
        Self::Name,
        Self::TooManyDevices,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Detached => "detached",
            Self::Full => "full",
            Self::Gone => "gone",
            Self::Load => "load",
            Self::Name => "name",
            Self::TooManyDevices => "too_many_devices",
        }
    }
}

/// Why the namespace of a running container is not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingNamespace {
    /// The directory in which netmon looks does not exist, or cannot be read.
    NoDirectory,
    /// The directory has no file of that name.
    NoFile,
    /// The file is not a namespace. A mount on the host did not reach netmon.
    NotMounted,
}

impl MissingNamespace {
    /// Every reason, in the order of the metrics.
    pub const ALL: [Self; 3] = [Self::NoDirectory, Self::NoFile, Self::NotMounted];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoDirectory => "no_directory",
            Self::NoFile => "no_file",
            Self::NotMounted => "not_mounted",
        }
    }
}

/// The HTTP server's clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpHealth {
    /// Open connections.
    pub connections: usize,
    /// Rejected requests and connections, by reason.
    pub turned_away: Vec<(&'static str, u64)>,
}

/// What is over a limit, and therefore summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitHealth {
    /// How many are over each limit.
    pub over: Vec<(&'static str, usize)>,
    /// For each collector with a limit, whether any of its rows are summed up or left out.
    pub limited: BTreeMap<Collector, bool>,
}

/// A kernel program in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRow {
    /// The program's name.
    pub program: &'static str,
    /// Its type, as the kernel calls it.
    pub kind: &'static str,
    /// Where it is attached.
    pub attach_point: &'static str,
    /// The mechanism: `tcx`, `clsact` or `tp_btf`.
    pub mode: &'static str,
    /// How often the kernel skipped a run because the program was already running on that CPU. `None` if that cannot
    /// happen, or the kernel does not report it (before 5.12).
    pub missed_runs: Option<u64>,
}

/// A kernel map in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRow {
    /// The map's name.
    pub map: &'static str,
    /// Entries in use.
    pub entries: u64,
    /// The maximum number of entries.
    pub max_entries: u64,
    /// How often an entry was not created, by the cause.
    pub update_failures: Refusals,
}

/// How often an entry was not created, by the cause's name. Every cause that a map can have is there, with 0 if it never
/// happened.
pub type Refusals = Vec<(&'static str, u64)>;

/// One collector's part of a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorRow {
    /// Its name.
    pub collector: &'static str,
    /// How long it took.
    pub duration: Duration,
    /// Whether it read everything it should.
    pub success: bool,
    /// Whether this kernel has what it reads.
    pub supported: bool,
}

/// netmon's own process, as the kernel reports it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessHealth {
    /// User and system time it has used, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident_memory_bytes: u64,
    /// Virtual memory, in bytes.
    pub virtual_memory_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// The maximum number of open file descriptors; `None` if there is no limit.
    pub max_fds: Option<u64>,
    /// When it started, in seconds since the epoch.
    pub start_time_seconds: f64,
    /// Its threads.
    pub threads: u64,
    /// The capabilities of all its threads together, as `CAP_...`.
    pub capabilities: Vec<String>,
}
