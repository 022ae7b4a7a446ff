//! What must hold of all collectors.

mod standing;

use std::collections::BTreeSet;

use super::{ALL, Definition, families, golden::agree_with_rows};
use crate::{
    model::collector::Collector,
    page::family::{About, Kind},
};

#[test]
fn every_family_has_a_name_of_its_own() {
    let names: BTreeSet<_> = families().map(About::name).collect();
    assert_eq!(names.len(), families().count());
}

#[test]
fn names_follow_the_conventions() {
    for family in families() {
        let name = family.name();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(name.bytes().all(allowed), "{name} has other characters");
        assert!(
            name.starts_with("netmon_") || name.starts_with("process_"),
            "{name} has no prefix"
        );
        for doubled in ["_total_total", "_info_info", "_bytes_bytes", "_seconds_seconds"] {
            assert!(!name.contains(doubled), "{name} has {doubled}");
        }
        assert!(
            family.kind == Kind::Counter || !name.ends_with("_total"),
            "{name} is not a counter"
        );
    }
}

#[test]
fn a_help_is_one_plain_sentence_or_more() {
    for family in families() {
        let (name, help) = (family.name(), family.help);
        assert!(
            !help.contains(['\n', '\\', '"']),
            "the help of {name} would need escaping"
        );
        assert!(help.ends_with('.'), "the help of {name} has no full stop");
        for sentence in help.split(". ") {
            let words = sentence.split_whitespace().count();
            assert!(
                words <= 30,
                "the help of {name} has a sentence of {words} words: {sentence}"
            );
        }
    }
}

#[test]
fn a_label_is_never_called_what_prometheus_uses_itself() {
    for family in families() {
        for label in family.labels {
            assert!(
                !["le", "quantile", "job", "instance"].contains(label),
                "{} has the label {label}",
                family.name()
            );
        }
    }
}

#[test]
fn every_family_of_a_collector_says_which_collector_that_is() {
    for collector in ALL {
        let families = collector.groups.iter().flat_map(|group| group.families);
        for family in families {
            assert_eq!(family.collector, collector.name, "{}", family.name());
        }
    }
    let names: BTreeSet<Collector> = ALL.iter().map(|collector| collector.name).collect();
    assert_eq!(names.len(), ALL.len(), "two collectors have one name");
}

#[test]
fn the_settings_say_what_each_optional_collector_is_about() {
    let optional = ALL.iter().filter(|collector| collector.is_optional);
    let row = |collector: &Definition| {
        let name = collector.name.as_str();
        format!("| `--[no-]collector.{name}` | on | {} |", in_a_table(collector.summary))
    };
    let is_row = |line: &str| line.starts_with("| `--[no-]collector.");
    agree_with_rows("docs/settings.md", is_row, &optional.map(row).collect::<Vec<_>>());
}

/// A sentence as a cell: no full stop, and no capital letter unless it is an abbreviation.
fn in_a_table(sentence: &str) -> String {
    let sentence = sentence.trim_end_matches('.');
    let mut letters = sentence.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => sentence.to_owned(),
    }
}

#[test]
fn the_runbook_says_what_to_do_about_each_incomplete_collector() {
    let row = |collector: &Definition| {
        let (missing, remedy) = collector.incomplete?;
        Some(format!("| `{}` | {missing} | {remedy} |", collector.name.as_str()))
    };
    let is_row = |line: &str| {
        let named = ALL
            .iter()
            .map(|collector| format!("| `{}` | ", collector.name.as_str()));
        named.into_iter().any(|begin| line.starts_with(&begin))
    };
    agree_with_rows(
        "dashboards/runbooks/health.md",
        is_row,
        &ALL.iter().filter_map(row).collect::<Vec<_>>(),
    );
}
