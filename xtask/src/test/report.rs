//! The tests' own reports (`junit.xml`): which tests took longest, and which needed a second try.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use roxmltree::{Document, Node};

use crate::sh;

/// How many of the slowest tests to print.
const SLOWEST: usize = 20;

/// The result of one test.
#[derive(Clone, Debug, PartialEq)]
struct Case {
    /// The names of the test program and of the test.
    name: String,
    /// The duration of all tries together.
    seconds: f64,
    /// Why it failed at first, if a later try passed.
    first_failure: Option<String>,
}

/// The results of all tests of some runs.
#[derive(Debug, Default)]
pub(crate) struct Report {
    cases: Vec<Case>,
    /// Lines about emulated machines that ended before they had written a report.
    earlier: Vec<String>,
}

/// The file, beside a report, with lines about the boots before the one that wrote the report.
pub(crate) fn earlier(junit: &Path) -> PathBuf {
    junit.with_file_name("earlier-retries")
}

/// Writes these lines to that file.
pub(crate) fn keep_earlier(junit: &Path, lines: &[String]) -> anyhow::Result<()> {
    let file = earlier(junit);
    let text: String = lines.iter().map(|line| line.clone() + "\n").collect();
    fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))
}

/// Checks that a run that passed has a report. Without one, tests that needed a second try would stay unnoticed.
///
/// # Errors
/// The report is missing or incomplete.
pub(crate) fn check(junit: &Path) -> anyhow::Result<()> {
    let wrong = || format!("the tests passed, but {} is not a report of them", junit.display());
    let text = fs::read_to_string(junit).with_context(wrong)?;
    ensure!(!read(&text).with_context(wrong)?.is_empty(), wrong());
    Ok(())
}

impl Report {
    /// Reads the reports of some runs. A run that stopped too early has no report or an empty one. A report that
    /// cannot be read is named, and the others are still read.
    pub(crate) fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut report = Self::default();
        for file in files {
            let text = fs::read_to_string(&file).unwrap_or_default();
            if !text.is_empty() {
                match read(&text).with_context(|| format!("{} cannot be read", file.display())) {
                    Ok(cases) => report.cases.extend(cases),
                    Err(error) => sh::complain(&error),
                }
            }
            let earlier = fs::read_to_string(earlier(&file)).unwrap_or_default();
            report.earlier.extend(earlier.lines().map(str::to_owned));
        }
        report
    }

    /// Prints which tests took longest, and which needed another try.
    pub(crate) fn print(&self) {
        if self.cases.is_empty() && self.earlier.is_empty() {
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
                "{} times something passed at the second try only. That is a defect: find out why.",
                retried.len()
            )),
        }
        for line in retried {
            sh::say(format!("  {line}"));
        }
    }

    /// Writes the names of the tests that needed another try to a file, one a line, with the first failure.
    pub(crate) fn keep_retried(&self, file: &Path) -> anyhow::Result<()> {
        let text: String = self.retried().map(|line| line + "\n").collect();
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
    }

    fn retried(&self) -> impl Iterator<Item = String> {
        let reported = self.cases.iter().filter_map(|case| {
            let failure = case.first_failure.as_ref()?;
            Some(format!("{}: {failure}", case.name))
        });
        reported.chain(self.earlier.iter().cloned())
    }
}

/// Reads the tests in one of nextest's reports.
fn read(text: &str) -> anyhow::Result<Vec<Case>> {
    let document = Document::parse(text)?;
    let mut cases = BTreeMap::new();
    for node in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        let attribute = |name| node.attribute(name).with_context(|| format!("a test without {name}"));
        let name = format!("{} {}", attribute("classname")?, attribute("name")?);
        let mut seconds: f64 = attribute("time")?.parse().context("a time that is not a number")?;
        let mut first_failure = None;
        for attempt in node.children().filter(Node::is_element) {
            let is_flaky = FLAKY.contains(&attempt.tag_name().name());
            if is_flaky || RERUN.contains(&attempt.tag_name().name()) {
                seconds += attempt.attribute("time").and_then(|it| it.parse().ok()).unwrap_or(0.0);
            }
            if is_flaky {
                first_failure.get_or_insert_with(|| why(attempt));
            }
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

/// The elements for failed tries: if a later try passed, and if none did.
const FLAKY: [&str; 2] = ["flakyFailure", "flakyError"];
const RERUN: [&str; 2] = ["rerunFailure", "rerunError"];

/// One line that says why a try failed. The innermost cause of an error or the message of a panic, else the kind of
/// failure.
fn why(attempt: Node<'_, '_>) -> String {
    let text = attempt.text().unwrap_or_default();
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let cause = text.rsplit_once("Caused by:").and_then(|(_, causes)| {
        let mut causes = causes.lines().map(str::trim).filter(|line| !line.is_empty());
        causes.next()
    });
    cause
        .or_else(|| lines().find(|line| line.starts_with("Error: ")))
        .or_else(|| lines().find(|line| line.contains("panicked at")))
        .or_else(|| attempt.attribute("message"))
        .or_else(|| lines().next())
        .or_else(|| attempt.attribute("type"))
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
    fn the_innermost_cause_is_what_is_kept() {
        let failure = |inside: &str| {
            let text = format!(
                "<testsuites><testcase name=\"a\" classname=\"b\" time=\"1\"><flakyFailure time=\"1\" type=\"test \
                 timeout\">{inside}</flakyFailure></testcase></testsuites>"
            );
            read(&text).expect("a report")[0]
                .first_failure
                .clone()
                .expect("a failure")
        };
        let log = "Error: netmon's log:\n  INFO listening\n\nCaused by:\n    waited 20s for it: 2 of 3";
        assert_eq!(failure(log), "waited 20s for it: 2 of 3");
        assert_eq!(failure("\n  \n"), "test timeout");
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert!(read("<testsuites><testcase name=\"a\"/></testsuites>").is_err());
        assert!(read("not XML").is_err());
    }
}
