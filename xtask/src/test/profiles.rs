//! Checks the names in `.config/nextest.toml` and in the schedule of `ci` against the tests. cargo-nextest reports no
//! error for a filter that matches nothing. After a rename, a test that has to run alone would run beside others.

use std::fs;

use crate::{ci, sh};

/// The names in a profile's filters, such as `drops::lifetimes::` or `tcp::round_trip`.
fn filtered(config: &str, profile: &str) -> Vec<String> {
    let header = format!("[[profile.{profile}.overrides]]");
    let sections = config.split("\n[").filter_map(|section| {
        let section = format!("[{section}");
        section.starts_with(&header).then_some(section)
    });
    sections
        .flat_map(|section| {
            let filters: Vec<String> = section
                .split("test(/^")
                .skip(1)
                .filter_map(|rest| Some(rest.split_once("/)")?.0.to_owned()))
                .collect();
            filters.into_iter().flat_map(|filter| alternatives(&filter))
        })
        .collect()
}

/// Expands `(a|b)::c` to `a::c` and `b::c`.
fn alternatives(filter: &str) -> Vec<String> {
    let Some((names, rest)) = filter.strip_prefix('(').and_then(|it| it.split_once(')')) else {
        return vec![filter.to_owned()];
    };
    names.split('|').map(|name| format!("{name}{rest}")).collect()
}

/// Whether the name of a test in that tier begins with `name`.
fn exists(tier: &str, name: &str) -> bool {
    let root = sh::workspace().join("tests/tests").join(tier);
    let parts: Vec<&str> = name.split("::").collect();
    let Some((last, modules)) = parts.split_last() else {
        return false;
    };
    let path = root.join(modules.join("/")).with_extension("rs");
    let text = fs::read_to_string(path).unwrap_or_default();
    let begins = |line: &str| line.starts_with(&format!("fn {last}"));
    text.contains("#[test]") && text.lines().any(|line| begins(line) || last.is_empty())
        // The file of a folder may contain modules only.
        || last.is_empty() && root.join(modules.join("/")).is_dir()
}

#[test]
fn every_filter_of_a_profile_matches_a_test() {
    let config = fs::read_to_string(sh::workspace().join(".config/nextest.toml")).expect("the profiles");
    for tier in ["kernel", "engine"] {
        let names = filtered(&config, tier);
        assert!(names.len() >= 3, "{tier}: {names:?}");
        for name in names {
            assert!(exists(tier, &name), "{tier}: no test's name begins with {name}");
        }
    }
}

#[test]
fn what_runs_on_another_kernel_matches_tests() {
    for name in ci::DEPENDS_ON_THE_KERNEL {
        assert!(exists("kernel", name), "no test's name begins with {name}");
    }
}

#[test]
fn a_name_that_matches_nothing_is_found() {
    assert!(exists("kernel", "tcp::round_trip_times"));
    assert!(!exists("kernel", "tcp::square_trip_times"));
    assert!(!exists("kernel", "udp::"));
}
