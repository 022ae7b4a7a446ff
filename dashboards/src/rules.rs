//! Rules for Prometheus: recorded series and alerts. Their queries are checked like those of panels.
//!
//! A single count says little, and users disable an alert that fires without a cause. So an alert here needs a
//! condition that holds for a while, and enough events. A share needs a minimum of the whole. A counter that appears
//! with its first event is not missed ([`crate::query::Selection::seen`]).

mod dns;
mod edges;
mod findings;
mod health;
mod losses;
mod overlay;
mod recorded;
mod tables;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_saphyr::LitString;

use crate::{
    label::{Labels, Names},
    query::{Place, Recorded, Vector},
};

/// The location of the runbooks.
const RUNBOOKS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/dashboards/runbooks");

/// The severity of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Look at it today.
    Info,
    /// Look at it soon.
    Warning,
    /// Look at it now.
    Critical,
}

/// A file of rules.
#[derive(Debug, Serialize)]
pub struct File {
    /// Its groups.
    pub groups: Vec<Group>,
}

/// Rules that are evaluated one after the other.
#[derive(Debug, Serialize)]
pub struct Group {
    /// Its name. The runbook has the same name, without the prefix.
    pub name: String,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Rule {
    /// Records a series.
    Record {
        /// The series' name.
        record: &'static str,
        /// Its values.
        expr: LitString,
    },
    /// Fires while there is a result.
    Alert {
        /// Its name.
        alert: &'static str,
        /// The condition.
        expr: LitString,
        /// How long the condition must hold.
        r#for: &'static str,
        /// Its severity.
        labels: AlertLabels,
        /// The texts for the user.
        annotations: Annotations,
    },
}

/// The labels that an alert is routed by.
#[derive(Debug, Serialize)]
pub struct AlertLabels {
    severity: Severity,
}

/// The texts for the user.
#[derive(Debug, Serialize)]
pub struct Annotations {
    summary: &'static str,
    description: String,
    runbook_url: String,
}

/// The rules that record series.
pub fn recording() -> anyhow::Result<File> {
    Ok(File {
        groups: vec![recorded::group()?],
    })
}

/// The rules that alert.
pub fn alerts() -> anyhow::Result<File> {
    Ok(File {
        groups: vec![
            findings::group()?,
            health::group()?,
            losses::group()?,
            edges::group()?,
            dns::group()?,
            overlay::group()?,
            tables::group()?,
        ],
    })
}

/// The names of all alerts, each with the runbook that must describe it.
#[must_use]
pub fn runbooks(file: &File) -> Vec<(&str, &'static str)> {
    let groups = file.groups.iter();
    groups
        .flat_map(|group| group.rules.iter().map(|rule| (group.name.as_str(), rule)))
        .filter_map(|(group, rule)| match rule {
            Rule::Alert { alert, .. } => Some((group.trim_start_matches("netmon-"), *alert)),
            Rule::Record { .. } => None,
        })
        .collect()
}

fn record<P: Labels>(record: &Recorded<P>, values: &Vector<P>) -> anyhow::Result<Rule> {
    Ok(Rule::Record {
        record: record.name(),
        expr: pretty(record.name(), values)?,
    })
}

/// An alert. In the description, `{container}` stands for that label of the series, which must exist. `{value}`,
/// `{share}` and `{seconds}` stand for the value.
fn alert<L: Labels>(
    runbook: &str,
    alert: &'static str,
    severity: Severity,
    r#for: &'static str,
    wrong: &Vector<L>,
    summary: &'static str,
    description: &str,
) -> anyhow::Result<Rule> {
    Ok(Rule::Alert {
        alert,
        expr: pretty(alert, wrong)?,
        r#for,
        labels: AlertLabels { severity },
        annotations: Annotations {
            summary,
            description: template(description, &L::NAMES).with_context(|| alert.to_owned())?,
            runbook_url: format!("{RUNBOOKS}/{runbook}.md#{}", alert.to_lowercase()),
        },
    })
}

/// The query, spread over several lines where that helps.
fn pretty<L: Labels>(name: &str, query: &Vector<L>) -> anyhow::Result<LitString> {
    let text = query.text(Place::Rule);
    let parsed = promql_parser::parser::parse(&text).map_err(|error| anyhow::anyhow!("{name}: {error}: {text}"))?;
    Ok(LitString(parsed.prettify()))
}

/// Converts a description to Prometheus' template language.
fn template(description: &str, labels: &Names) -> anyhow::Result<String> {
    let mut text = String::new();
    for (at, part) in description.split(['{', '}']).enumerate() {
        match part {
            // Outside braces.
            _ if at % 2 == 0 => text.push_str(part),
            "value" => text.push_str("{{ $value | humanize }}"),
            "share" => text.push_str("{{ $value | humanizePercentage }}"),
            "seconds" => text.push_str("{{ $value | humanizeDuration }}"),
            label => {
                ensure!(
                    labels.has(label),
                    "the description has {{{label}}}, and the series have no such label"
                );
                text.push_str("{{ $labels.");
                text.push_str(label);
                text.push_str(" }}");
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{alerts, runbooks, template};
    use crate::label::Names;

    #[test]
    fn a_description_names_only_labels_that_there_are() {
        let names = Names::new(&["container"]);
        let text = template("{container} lost {share}.", &names).expect("a template");
        assert_eq!(text, "{{ $labels.container }} lost {{ $value | humanizePercentage }}.");
        assert!(template("{network}", &names).is_err());
    }

    #[test]
    fn every_alert_has_its_section_in_its_runbook() {
        let file = alerts().expect("alerts");
        let alerts = runbooks(&file);
        assert!(!alerts.is_empty());
        for (runbook, alert) in alerts {
            let path = format!("{}/runbooks/{runbook}.md", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            let heading = format!("## {alert}");
            assert!(
                text.lines().any(|line| line == heading),
                "{path} has no section `{heading}`"
            );
        }
    }

    #[test]
    fn every_section_of_a_runbook_is_of_an_alert() {
        let file = alerts().expect("alerts");
        let alerts = runbooks(&file);
        let folder = format!("{}/runbooks", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(folder).expect("the runbooks") {
            let path = entry.expect("a runbook").path();
            let name = path.file_stem().and_then(|it| it.to_str()).expect("a name").to_owned();
            let text = std::fs::read_to_string(&path).expect("a runbook");
            for section in text.lines().filter_map(|line| line.strip_prefix("## ")) {
                let known = alerts
                    .iter()
                    .any(|(runbook, alert)| *runbook == name && *alert == section);
                assert!(
                    known,
                    "{} has a section {section}, and there is no such alert",
                    path.display()
                );
            }
        }
    }
}
