//! Command lines, and what becomes of them.

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
    let document = include_str!("../../../docs/settings.md");
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
