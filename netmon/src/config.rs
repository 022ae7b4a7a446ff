//! Settings: flags spelled as in the Prometheus ecosystem, each with an environment variable.
//!
//! The only place that names clap. Returns plain data; reads nothing but its arguments and the environment.
#![expect(
    clippy::doc_markdown,
    reason = "the comments are the help's texts, which have no markup"
)]

mod switches;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

use self::switches::Switches;
use crate::{
    model::{collector::Collectors, times::Times},
    netns::discover,
    version,
    workers::{Fault, Worker},
};

/// Container network telemetry for Docker Swarm, counted in the kernel.
///
/// Without a command netmon runs, and serves what it counts on --web.listen-address until it is asked to end.
#[derive(Clone, Debug, Parser)]
#[command(name = "netmon", version = version::LONG, max_term_width = 100)]
pub struct Config {
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Where to listen: ADDRESS:PORT, or :PORT for every address. May be given more than once.
    #[arg(
        long = "web.listen-address",
        env = "NETMON_WEB_LISTEN_ADDRESS",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = ":10095"
    )]
    pub listen: Vec<String>,

    /// Path of the metrics.
    #[arg(
        long = "web.telemetry-path",
        env = "NETMON_WEB_TELEMETRY_PATH",
        value_name = "PATH",
        default_value = "/metrics",
        value_parser = path
    )]
    pub telemetry_path: String,

    /// Leave out the metrics about netmon's own process (process_*).
    #[arg(long = "web.disable-exporter-metrics", env = "NETMON_WEB_DISABLE_EXPORTER_METRICS")]
    pub disable_exporter_metrics: bool,

    /// How many clients may wait for a page, or take one, at the same time; 0 means no limit.
    #[arg(
        long = "web.max-requests",
        env = "NETMON_WEB_MAX_REQUESTS",
        value_name = "NUMBER",
        default_value_t = 8
    )]
    pub max_requests: usize,

    /// How a page is compressed for clients that accept gzip.
    #[arg(
        long = "web.compression",
        env = "NETMON_WEB_COMPRESSION",
        value_name = "HOW",
        value_enum,
        default_value_t
    )]
    pub compression: Compression,

    /// File with TLS, users and passwords, and limits, in the format of Prometheus' exporters.
    #[arg(long = "web.config.file", env = "NETMON_WEB_CONFIG_FILE", value_name = "FILE")]
    pub web_config: Option<PathBuf>,

    #[command(flatten)]
    switches: Switches,

    /// The engine's socket: unix:///PATH or tcp://HOST:PORT. Else DOCKER_HOST, else the usual one.
    #[arg(long = "docker.host", env = "NETMON_DOCKER_HOST", value_name = "ADDRESS")]
    pub docker_host: Option<String>,

    /// The id of the Swarm service that netmon is a task of. With it, an update ends once on a node where netmon had its
    /// kernel programs and the kernel refuses the new ones, so that Swarm can roll it back.
    #[arg(
        long = "docker.service",
        env = "NETMON_DOCKER_SERVICE",
        value_name = "ID",
        value_parser = service
    )]
    pub docker_service: Option<String>,

    /// The directory where the engine mounts containers' namespaces.
    #[arg(
        long = "docker.netns-dir",
        env = "NETMON_DOCKER_NETNS_DIR",
        value_name = "DIRECTORY",
        default_value = "/var/run/docker/netns"
    )]
    pub netns_dir: PathBuf,

    /// The node's network namespace, when netmon runs in another: a file that it is bound to.
    #[arg(
        long = "path.node-netns",
        env = "NETMON_PATH_NODE_NETNS",
        value_name = "FILE",
        default_value = discover::OWN
    )]
    pub node_netns: PathBuf,

    /// How long the last values of a container that is gone stay (500ms, 90s, 1m).
    #[arg(
        long = "container.linger",
        env = "NETMON_CONTAINER_LINGER",
        value_name = "TIME",
        default_value = "1m",
        value_parser = duration
    )]
    pub linger: Duration,

    /// How many interfaces can have kernel programs. One that has them takes 80 bytes of kernel memory for every possible
    /// CPU.
    #[arg(
        long = "limit.interfaces",
        env = "NETMON_LIMIT_INTERFACES",
        value_name = "NUMBER",
        default_value_t = 4096,
        value_parser = clap::value_parser!(u32).range(1..=65_536)
    )]
    pub interfaces: u32,

    /// How many series a page may have; 0 means no limit. Over it, containers are summed up by service and network, and
    /// netmon_over_limit says how many.
    #[arg(
        long = "limit.series",
        env = "NETMON_LIMIT_SERIES",
        value_name = "NUMBER",
        default_value_t = 50_000
    )]
    pub series: usize,

    /// How many series one container may have; 0 means no limit. Over it, interfaces that it has made itself and reasons of
    /// drops are summed up.
    #[arg(
        long = "limit.container-series",
        env = "NETMON_LIMIT_CONTAINER_SERIES",
        value_name = "NUMBER",
        default_value_t = 400
    )]
    pub container_series: usize,

    /// The maximum number of edges between services on a page; 0 means no limit. What is over it is summed up as (other).
    #[arg(
        long = "limit.edges",
        env = "NETMON_LIMIT_EDGES",
        value_name = "NUMBER",
        default_value_t = 2000
    )]
    pub most_edges: usize,

    /// How kernel programs are attached.
    #[arg(
        long = "bpf.attach",
        env = "NETMON_BPF_ATTACH",
        value_name = "HOW",
        value_enum,
        default_value_t
    )]
    pub attach: Attach,

    /// Other waiting times than the usual ones, for tests: NAME=TIME,...
    #[arg(
        long = "debug.times",
        value_name = "NAME=TIME",
        hide = true,
        default_value = "",
        value_parser = times
    )]
    pub times: Times,

    /// A worker that shows a fault soon after the start, for tests: control, watch, reader or engine, =panic or =hang.
    #[arg(long = "debug.fault", value_name = "WORKER=FAULT", hide = true, value_parser = fault)]
    pub fault: Option<(Worker, Fault)>,

    /// What to log.
    #[arg(
        long = "log.level",
        env = "NETMON_LOG_LEVEL",
        value_name = "LEVEL",
        value_enum,
        default_value_t
    )]
    pub log_level: LogLevel,

    /// How to write the log.
    #[arg(
        long = "log.format",
        env = "NETMON_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub log_format: LogFormat,
}

/// What to do instead of running.
#[derive(Clone, Debug, Subcommand, PartialEq, Eq)]
pub enum Command {
    /// Ask the netmon that runs beside this one, at the first listen address, whether it is well.
    Healthcheck,
    /// Ask the netmon that runs beside this one what is wrong. Exits with 0 if nothing is, 1 if something is, and 2 if it
    /// could not look.
    Doctor {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print every metric, with its labels and what it means.
    Metrics {
        /// As METRICS.md.
        #[arg(long)]
        markdown: bool,
    },
}

/// How a page is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// By gzip, to a tenth or less, in a fraction of a scrape's time.
    #[default]
    Fast,
    /// Not at all: for a network that costs less than processor time.
    None,
}

/// How kernel programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// By tcx where the kernel has it, else by clsact.
    #[default]
    Auto,
    /// By tcx links (Linux 6.6).
    Tcx,
    /// By filters on the clsact queueing discipline.
    Clsact,
    /// Not at all: the devices' own counters only.
    Off,
}

/// How much to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What netmon cannot work with.
    Error,
    /// What it can work with, but worse.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// How to write the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people and machines.
    #[default]
    Logfmt,
    /// A JSON object a line.
    Json,
}

impl Config {
    /// The collectors that are switched on.
    #[must_use]
    pub fn collectors(&self) -> Collectors {
        self.switches.0.clone()
    }
}

pub(crate) fn path(text: &str) -> Result<String, String> {
    match text {
        "/" | "/-/healthy" | "/-/ready" => Err(format!("{text} is taken")),
        _ if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err("a path starts with / and has no spaces".to_owned()),
    }
}

/// Reads the id of a Swarm service.
fn service(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| text.to_owned())
        .ok_or_else(|| "an id of a service has letters and digits only; in a stack, write {{.Service.ID}}".to_owned())
}

/// Reads `NAME=TIME,...`. Times that are not named stay as they are.
fn times(text: &str) -> Result<Times, String> {
    let mut times = Times::default();
    for setting in text.split(',').filter(|setting| !setting.is_empty()) {
        let (name, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("{setting:?} is not of the form NAME=TIME"))?;
        let time = times
            .get_mut(name)
            .ok_or_else(|| format!("no waiting time is called {name:?}"))?;
        *time = duration(value)?;
    }
    Ok(times)
}

/// Reads `WORKER=FAULT`.
fn fault(text: &str) -> Result<(Worker, Fault), String> {
    let (worker, fault) = text.split_once('=').unwrap_or((text, ""));
    let worker = Worker::ALL.into_iter().find(|it| it.as_str() == worker);
    let fault = match fault {
        "panic" => Some(Fault::Panic),
        "hang" => Some(Fault::Hang),
        _ => None,
    };
    worker
        .zip(fault)
        .ok_or_else(|| format!("{text:?} is not a worker and a fault: write reader=panic or control=hang"))
}

/// Reads a duration as Prometheus writes it: a number and a unit, or several of them, the largest first.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let wrong = || format!("{text:?} is not a duration: write 500ms, 90s, 1m or 1h30m");
    let mut rest = text;
    let mut milliseconds = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        milliseconds = number
            .checked_mul(*factor)
            .and_then(|part| milliseconds.checked_add(part))
            .ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(Duration::from_millis(milliseconds))
    }
}
