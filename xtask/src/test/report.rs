//! What the tests' own reports (`junit.xml`) say beyond pass and fail: which took longest, and which needed a second try.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use roxmltree::{Document, Node};

use crate::sh;

/// How many of the slowest are shown.
const SLOWEST: usize = 20;

/// One test, as it ended.
#[derive(Clone, Debug, PartialEq)]
struct Case {
    /// Of the binary and the module.
    name: String,
    /// How long all tries took together.
    seconds: f64,
    /// Why it failed at first, where it passed at a later try.
    first_failure: Option<String>,
}

/// What is known of all tests of some runs.
#[derive(Debug, Default)]
pub(crate) struct Report {
    cases: Vec<Case>,
}

impl Report {
    /// Reads the files of those runs. One that is missing is of a run that never got so far as to run a test.
    pub(crate) fn of(files: impl IntoIterator<Item = PathBuf>) -> anyhow::Result<Self> {
        let mut cases = Vec::new();
        for file in files.into_iter().filter(|file| file.exists()) {
            let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
            cases.extend(read(&text).with_context(|| format!("{}", file.display()))?);
        }
        Ok(Self { cases })
    }

    /// Says which tests took longest, and which needed another try.
    pub(crate) fn print(&self) {
        if self.cases.is_empty() {
            return;
        }
        let mut slowest: Vec<&Case> = self.cases.iter().collect();
        slowest.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        sh::say(format!("\n{} tests ran; the slowest:", self.cases.len()));
        for case in slowest.iter().take(SLOWEST) {
            sh::say(format!("  {:>6.1} s  {}", case.seconds, case.name));
        }
        let retried: Vec<String> = self.retried().collect();
        match &retried[..] {
            [] => sh::say("no test needed a second try"),
            _ => sh::say(format!(
                "{} tests passed at the second try only. That is a defect: find out why.",
                retried.len()
            )),
        }
        for line in retried {
            sh::say(format!("  {line}"));
        }
    }

    /// Keeps the names of those that needed another try in a file, one a line, with the first failure.
    pub(crate) fn keep_retried(&self, file: &Path) -> anyhow::Result<()> {
        let text: String = self.retried().map(|line| line + "\n").collect();
        fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
    }

    fn retried(&self) -> impl Iterator<Item = String> {
        self.cases.iter().filter_map(|case| {
            let failure = case.first_failure.as_ref()?;
            Some(format!("{}: {failure}", case.name))
        })
    }
}

/// The tests in a file of nextest's.
fn read(text: &str) -> anyhow::Result<Vec<Case>> {
    let document = Document::parse(text)?;
    let mut cases = BTreeMap::new();
    for node in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        let attribute = |name| node.attribute(name).with_context(|| format!("a test without {name}"));
        let name = format!("{} {}", attribute("classname")?, attribute("name")?);
        let tries = node.children().filter(|it| is_try(*it));
        let mut seconds: f64 = attribute("time")?.parse().context("a time that is no number")?;
        let mut first_failure = None;
        for attempt in tries {
            seconds += attempt.attribute("time").and_then(|it| it.parse().ok()).unwrap_or(0.0);
            first_failure.get_or_insert_with(|| why(attempt));
        }
        let case = Case {
            name: name.clone(),
            seconds,
            first_failure,
        };
        cases.insert(name, case);
    }
    Ok(cases.into_values().collect())
}

/// Whether it is about a failure that a later try made good.
fn is_try(node: Node<'_, '_>) -> bool {
    node.has_tag_name("flakyFailure") || node.has_tag_name("flakyError")
}

/// The line that says why: an error that a test returned, or the message of a panic.
fn why(attempt: Node<'_, '_>) -> String {
    let text = attempt
        .text()
        .or_else(|| attempt.attribute("message"))
        .unwrap_or_default();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines.clone().find(|line| line.starts_with("Error: "));
    error
        .or_else(|| lines.next())
        .unwrap_or("it does not say why")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Case, read};

    #[test]
    fn times_are_summed_over_tries_and_the_first_failure_is_kept() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <testsuites name="nextest-run" tests="2" failures="0">
              <testsuite name="netmon-tests::kernel" tests="2">
                <testcase name="tcp::resets" classname="netmon-tests::kernel" time="1.500"/>
                <testcase name="tcp::late" classname="netmon-tests::kernel" time="2.000">
                  <flakyFailure time="20.250" message="exit status: 1" type="test failure">
running 1 test
Error: 3 of 4 are counted
test tcp::late ... FAILED</flakyFailure>
                </testcase>
              </testsuite>
            </testsuites>"#;
        let case = |name: &str, seconds, first_failure: Option<&str>| Case {
            name: format!("netmon-tests::kernel {name}"),
            seconds,
            first_failure: first_failure.map(str::to_owned),
        };
        assert_eq!(
            read(text).expect("a report"),
            [
                case("tcp::late", 22.25, Some("Error: 3 of 4 are counted")),
                case("tcp::resets", 1.5, None)
            ]
        );
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert!(read("<testsuites><testcase name=\"a\"/></testsuites>").is_err());
        assert!(read("not XML").is_err());
    }
}
