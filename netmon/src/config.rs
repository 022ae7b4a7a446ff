//! Settings: flags spelled as in the Prometheus ecosystem, each with an environment variable.
//!
//! The only place that names clap. Returns plain data; reads nothing but its arguments and the environment.
#![expect(
    clippy::doc_markdown,
    reason = "the comments are the help's texts, which have no markup"
)]

use std::{path::PathBuf, time::Duration};

use clap::{Arg, ArgAction, Args, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::{
    collectors::{self, Definition},
    model::{collector::Collectors, times::Times},
    netns::discover,
    version,
    workers::{Fault, Worker},
};

/// Container network telemetry for Docker Swarm, counted in the kernel.
///
/// Without a command netmon runs, and serves what it counts on --web.listen-address until it is told to end.
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

    /// How many scrapes may run at the same time, each with a page of its own in memory; 0 is no limit.
    #[arg(
        long = "web.max-requests",
        env = "NETMON_WEB_MAX_REQUESTS",
        value_name = "NUMBER",
        default_value_t = 8
    )]
    pub max_requests: usize,

    /// File with TLS, users and passwords, and limits, in the format of Prometheus' exporters.
    #[arg(long = "web.config.file", env = "NETMON_WEB_CONFIG_FILE", value_name = "FILE")]
    pub web_config: Option<PathBuf>,

    #[command(flatten)]
    switches: Switches,

    /// The engine's socket: unix:///PATH or tcp://HOST:PORT. Else DOCKER_HOST, else the usual one.
    #[arg(long = "docker.host", env = "NETMON_DOCKER_HOST", value_name = "ADDRESS")]
    pub docker_host: Option<String>,

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

    /// How many interfaces can have kernel programs; each takes 64 bytes of kernel memory a CPU.
    #[arg(
        long = "limit.interfaces",
        env = "NETMON_LIMIT_INTERFACES",
        value_name = "NUMBER",
        default_value_t = 4096,
        value_parser = clap::value_parser!(u32).range(1..=65_536)
    )]
    pub interfaces: u32,

    /// How many series a page may have; 0 is no limit. Over it, containers are summed up by service and network, and
    /// netmon_over_limit says how many.
    #[arg(
        long = "limit.series",
        env = "NETMON_LIMIT_SERIES",
        value_name = "NUMBER",
        default_value_t = 50_000
    )]
    pub series: usize,

    /// How many series one container may have; 0 is no limit. Over it, interfaces that it has made itself and reasons of
    /// drops are summed up.
    #[arg(
        long = "limit.container-series",
        env = "NETMON_LIMIT_CONTAINER_SERIES",
        value_name = "NUMBER",
        default_value_t = 400
    )]
    pub container_series: usize,

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
    /// Print every metric, with its labels and what it means.
    Metrics {
        /// As METRICS.md.
        #[arg(long)]
        markdown: bool,
    },
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

/// A pair of flags for each optional collector in the table: `--collector.NAME` and `--no-collector.NAME`. The last
/// one counts.
#[derive(Clone, Debug)]
struct Switches(Collectors);

impl Switches {
    fn all() -> impl Iterator<Item = (&'static Definition, String)> {
        let optional = collectors::ALL.iter().filter(|collector| collector.is_optional);
        optional.map(|collector| (collector, format!("no_{}", collector.name.as_str())))
    }
}

impl Args for Switches {
    fn augment_args(mut command: clap::Command) -> clap::Command {
        for (collector, no) in Self::all() {
            let name = collector.name.as_str();
            let upper = name.to_ascii_uppercase();
            let on = Arg::new(name)
                .long(format!("collector.{name}"))
                .env(format!("NETMON_COLLECTOR_{upper}"))
                .value_name(upper)
                .help(collector.summary.trim_end_matches('.'))
                .overrides_with(&no)
                .default_value("true")
                .action(ArgAction::Set)
                .value_parser(clap::value_parser!(bool))
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true");
            let off = Arg::new(&no)
                .long(format!("no-collector.{name}"))
                .overrides_with(name)
                .action(ArgAction::SetTrue)
                .hide(true);
            command = command.arg(on).arg(off);
        }
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Switches {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let is_off = |(collector, no): &(&Definition, String)| {
            let is_on = matches.get_one::<bool>(collector.name.as_str());
            is_on == Some(&false) || matches.get_flag(no)
        };
        let off = Self::all().filter(is_off).map(|(collector, _)| collector.name);
        Ok(Self(Collectors::all_but(off)))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(crate) fn path(text: &str) -> Result<String, String> {
    match text {
        "/" | "/-/healthy" | "/-/ready" => Err(format!("{text} is taken")),
        _ if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err("a path starts with / and has no spaces".to_owned()),
    }
}

/// Reads `NAME=TIME,...`. Times that are not named stay as they are.
fn times(text: &str) -> Result<Times, String> {
    let mut times = Times::default();
    for setting in text.split(',').filter(|setting| !setting.is_empty()) {
        let (name, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("{setting:?} is no NAME=TIME"))?;
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
        .ok_or_else(|| format!("{text:?} is no worker and fault: write reader=panic or control=hang"))
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
    let wrong = || format!("{text:?} is no duration: write 500ms, 90s, 1m or 1h30m");
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory as _, Parser as _};

    use super::{Attach, Config, duration};
    use crate::{
        collectors::{traffic, vxlan},
        model::{collector::Collectors, times::Times},
    };

    fn config(arguments: &[&str]) -> Config {
        Config::try_parse_from([&["netmon"], arguments].concat()).expect("a configuration")
    }

    #[test]
    fn the_command_line_is_consistent() {
        Config::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_twin_in_the_environment() {
        for argument in Config::command()
            .get_arguments()
            .filter(|argument| !argument.is_hide_set())
        {
            let Some(long) = argument.get_long().filter(|long| !matches!(*long, "help" | "version")) else {
                continue;
            };
            let twin = format!("NETMON_{}", long.to_uppercase().replace(['.', '-'], "_"));
            assert_eq!(
                argument.get_env().and_then(|name| name.to_str()),
                Some(twin.as_str()),
                "--{long}"
            );
        }
    }

    #[test]
    fn the_settings_document_has_every_flag_with_its_default() {
        let document = include_str!("../../docs/settings.md");
        let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `--")).collect();
        for argument in Config::command().get_arguments().filter(|it| !it.is_hide_set()) {
            let Some(long) = argument.get_long().filter(|it| !matches!(*it, "help" | "version")) else {
                continue;
            };
            let names = [
                format!("`--{long}`"),
                format!("`--[no-]{}`", long.trim_start_matches("no-")),
            ];
            let row = rows.iter().find(|row| names.iter().any(|name| row.contains(name)));
            let row = row.unwrap_or_else(|| panic!("docs/settings.md has no row for --{long}"));
            for default in argument.get_default_values().iter().filter_map(|it| it.to_str()) {
                let shown = row.contains(default) || (matches!(default, "true" | "false") && row.contains("| on |"));
                assert!(shown, "docs/settings.md does not say that --{long} is {default}: {row}");
            }
        }
    }

    #[test]
    fn defaults_are_what_the_document_says() {
        let config = config(&[]);
        assert_eq!(config.listen, [":10095"]);
        assert_eq!(config.telemetry_path, "/metrics");
        assert_eq!(config.linger, Duration::from_mins(1));
        assert_eq!(config.attach, Attach::Auto);
        assert_eq!(config.collectors(), Collectors::default());
        assert_eq!(config.times, Times::default());
    }

    #[test]
    fn waiting_times_are_set_by_name_and_the_others_stay() {
        let times = config(&["--debug.times=attach-age=50ms,sync=2s"]).times;
        let wanted = Times {
            attach_age: Duration::from_millis(50),
            sync: Duration::from_secs(2),
            ..Times::default()
        };
        assert_eq!(times, wanted);
        for wrong in ["sync", "sync=soon", "tea=4m"] {
            assert!(super::times(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_collector_can_be_switched_off_and_the_last_word_counts() {
        let has = |arguments: &[&str]| config(arguments).collectors().has(vxlan::NAME);
        assert!(has(&[]));
        assert!(!has(&["--no-collector.vxlan"]));
        assert!(has(&["--no-collector.vxlan", "--collector.vxlan"]));
        assert!(!has(&["--collector.vxlan", "--no-collector.vxlan"]));
        assert!(!has(&["--collector.vxlan=false"]));
        assert!(config(&["--no-collector.vxlan"]).collectors().has(traffic::NAME));
    }

    #[test]
    fn durations_are_read_as_prometheus_writes_them() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "1", "m", "1x", "-1s", "1.5s", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text:?} was taken for a duration");
        }
    }

    #[test]
    fn a_wrong_flag_or_value_is_a_usage_error() {
        for wrong in [
            &["--no-such-flag"][..],
            &["--limit.interfaces=0"],
            &["--web.telemetry-path=metrics"],
            &["--web.telemetry-path=/-/ready"],
            &["--bpf.attach=xdp"],
        ] {
            let error = Config::try_parse_from([&["netmon"], wrong].concat()).expect_err("refused");
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
    }
}
