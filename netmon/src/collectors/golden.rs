//! Whole pages: the samples of all collectors, compared with pages that a person has read.

use std::{collections::HashMap, fs, path::Path, time::Instant};

use super::{ALL, families, netmon, page, traffic};
use crate::{
    metrics::Page,
    model::{collector::Collectors, format::Format, health::Health},
    page::{
        limits::{Caps, Limits},
        rows::Rows,
    },
};

/// Compares with a file of this package. With `NETMON_BLESS` set, it first writes the file.
pub(super) fn check(file: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("NETMON_BLESS").is_some() {
        fs::write(&path, actual).expect("the file can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} is not up to date. If the change is meant, write it anew with NETMON_BLESS=1 cargo test -p netmon, and look \
         at the difference.\nFirst lines that differ (file, now):\n{:#?}",
        path.display(),
        first_difference(&expected, actual),
    );
}

/// Compares the rows of a document's table. With `NETMON_BLESS` set, it first writes them.
pub(crate) fn agree_with_rows(document: &str, is_row: impl Fn(&str) -> bool, rows: &[String]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    let text = fs::read_to_string(&file).expect("the document");
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.iter().position(|line| is_row(line)).expect("a row");
    let length = lines[begin..].iter().take_while(|line| is_row(line)).count();
    if std::env::var_os("NETMON_BLESS").is_some() {
        let (before, after) = (&lines[..begin], &lines[begin + length..]);
        let rows = rows.iter().map(String::as_str);
        let lines: Vec<&str> = before
            .iter()
            .copied()
            .chain(rows)
            .chain(after.iter().copied())
            .collect();
        fs::write(&file, lines.join("\n") + "\n").expect("the document is written");
        return;
    }
    assert_eq!(
        lines[begin..begin + length],
        *rows,
        "{document} is not up to date. If the change is meant, write it anew with NETMON_BLESS=1 cargo test -p netmon"
    );
}

fn first_difference<'a>(expected: &'a str, actual: &'a str) -> Option<(&'a str, &'a str)> {
    let (mut expected, mut actual) = (expected.lines(), actual.lines());
    loop {
        match (expected.next(), actual.next()) {
            (None, None) => return None,
            (one, other) if one == other => {}
            (one, other) => return Some((one.unwrap_or("(end)"), other.unwrap_or("(end)"))),
        }
    }
}

const NO_LIMITS: Caps = Caps {
    series: 0,
    container_series: 0,
};

/// The page of a first scrape.
fn first(rows: Vec<Rows>, health: Health, wanted: &Collectors, caps: Caps) -> String {
    first_text(rows, health, wanted, caps).text(Format::OpenMetrics)
}

fn first_text(mut rows: Vec<Rows>, mut health: Health, wanted: &Collectors, caps: Caps) -> Page {
    health.limits = Limits::new(caps).apply(&mut rows, &HashMap::new(), false, Instant::now());
    page(rows, &health, wanted)
}

/// The samples of these collectors.
fn sample(wanted: &Collectors) -> Vec<Rows> {
    let wanted = ALL.iter().filter(|collector| wanted.has(collector.name));
    wanted.flat_map(|collector| (collector.sample)()).collect()
}

/// A page with a bit of everything.
fn whole() -> Page {
    first_text(
        sample(&everything()),
        netmon::sample::health(),
        &everything(),
        NO_LIMITS,
    )
}

fn everything() -> Collectors {
    Collectors::default()
}

fn nothing() -> Collectors {
    let optional = ALL.iter().filter(|collector| collector.is_optional);
    Collectors::all_but(optional.map(|collector| collector.name))
}

/// The page, with a fixed line for the build.
fn golden(page: &str) -> String {
    let build = |line: &&str| line.starts_with("netmon_build_info{");
    let lines = page.lines().map(|line| {
        if build(&line) {
            "netmon_build_info{version=\"0.1.0\",revision=\"0123456\",rustc=\"1.95.0\"} 1"
        } else {
            line
        }
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn the_open_metrics_page_is_as_it_was() {
    check(
        "testdata/metrics/golden.om",
        &golden(&whole().text(Format::OpenMetrics)),
    );
}

#[test]
fn the_text_page_is_as_it_was() {
    check("testdata/metrics/golden.txt", &golden(&whole().text(Format::Text)));
}

#[test]
fn the_golden_page_has_every_family_with_the_labels_of_the_catalog() {
    let text = whole().text(Format::Text);
    for family in families() {
        let name = family.name();
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is not on the page");
        for label in family.labels {
            let of_family = |line: &&str| {
                line.strip_prefix(&name)
                    .is_some_and(|rest| rest.starts_with('{') || rest.starts_with("_bucket{"))
            };
            let sample = text.lines().find(of_family);
            let sample = sample.unwrap_or_else(|| panic!("{name} has no labels"));
            assert!(
                sample.contains(&format!("{label}=\"")),
                "{name} has no label {label}: {sample}"
            );
        }
    }
    let count = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(
        count,
        families().count(),
        "the page has families that are not in the catalog"
    );
}

/// The lines with a value: the name with its labels, and the value.
fn samples(page: &str) -> impl Iterator<Item = (&str, f64)> {
    page.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        (series, value.parse().expect("a number"))
    })
}

fn value_of(page: &str, series: &str) -> Option<f64> {
    samples(page).find_map(|(name, value)| (name == series).then_some(value))
}

#[test]
fn the_series_a_page_says_it_has_are_the_series_it_has() {
    for wanted in [everything(), nothing()] {
        for (rows, health) in [
            (sample(&wanted), netmon::sample::health()),
            (Vec::new(), Health::default()),
        ] {
            let page = first(rows, health, &wanted, NO_LIMITS);
            let said = samples(&page).filter(|(series, _)| series.starts_with("netmon_exposed_series{"));
            let said: f64 = said.map(|(_, series)| series).sum();
            let difference = samples(&page).count() as f64 - said;
            assert!(difference.abs() < 0.5, "{said} series are said to be on\n{page}");
        }
    }
}

#[test]
fn no_page_says_anything_twice() {
    let page = whole().text(Format::OpenMetrics);
    let mut series: Vec<_> = samples(&page).map(|(series, _)| series).collect();
    series.sort_unstable();
    assert!(series.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn what_is_switched_off_is_not_there() {
    let mut health = netmon::sample::health();
    health.shows_exporter = false;
    health.process = None;
    let page = first(sample(&nothing()), health, &nothing(), NO_LIMITS);
    for absent in [
        "process_",
        "netmon_build",
        "netmon_container_network",
        "netmon_service_",
        "netmon_vxlan_",
        "netmon_overlay_",
        "netmon_container_packet_drops",
        "netmon_unattributed",
        "netmon_container_tcp",
        "netmon_container_udp",
        "netmon_node_udp",
        "netmon_node_softnet",
        "netmon_container_qdisc",
    ] {
        assert!(!page.contains(&format!("# TYPE {absent}")), "{absent}* is there");
    }
    for present in ["netmon_container_info", "netmon_network_info", "netmon_docker_up"] {
        assert!(page.contains(present), "{present} is missing");
    }
}

#[test]
fn over_the_limit_containers_are_one_row_a_network_and_the_page_says_so() {
    const LIMITED: &str = "netmon_series_limited{collector=\"traffic\"}";
    const OVER_LIMIT: &str = "netmon_over_limit{limit=\"series\"}";
    let limited = |series: usize| {
        let caps = Caps {
            series,
            container_series: 0,
        };
        let without = Collectors::all_but([traffic::NAME]);
        let rows = sample(&without).into_iter().chain(traffic::sample::crowd(1000));
        first(rows.collect(), netmon::sample::health(), &everything(), caps)
    };
    let unlimited = limited(0);
    assert_eq!(value_of(&unlimited, LIMITED), Some(0.0));
    assert_eq!(value_of(&unlimited, OVER_LIMIT), Some(0.0));
    for series in [2000, 10_000] {
        let page = limited(series);
        let count = samples(&page).count();
        assert!(
            count <= series && count > series / 2,
            "{count} with a limit of {series}"
        );
        assert_eq!(value_of(&page, LIMITED), Some(1.0));
        assert!(value_of(&page, OVER_LIMIT) > Some(0.0));
        let rows = page.lines().filter(|line| {
            line.starts_with("netmon_container_network_receive_bytes_total{container=\"(over the limit)\"")
        });
        assert_eq!(rows.count(), 1, "with a limit of {series}");
        let infos = page
            .lines()
            .filter(|line| line.starts_with("netmon_container_interface_info{"));
        assert!(infos.into_iter().all(|line| !line.contains("over the limit")));
    }
}

#[test]
fn a_histogram_nobody_filled_still_has_the_bucket_for_everything() {
    let page = first(Vec::new(), Health::default(), &everything(), NO_LIMITS);
    assert_eq!(
        value_of(&page, "netmon_attach_delay_seconds_bucket{le=\"+Inf\"}"),
        Some(0.0)
    );
}
