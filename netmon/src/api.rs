//! The JSON API: what is served at `/api/v1`, and read again by `netmon doctor`. Owns the shapes, which are a promise to
//! whoever reads them: fields are added, and never change their meaning. Pure.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::model::finding::{CheckRow, Finding, Report, Severity, Standing, Subject};

/// What is wrong with a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FindingsDocument {
    /// When the checks looked last (RFC 3339); `null` if they have not yet.
    pub looked: Option<String>,
    /// The findings that stand, the worst first.
    pub findings: Vec<FindingDocument>,
    /// How many more there are.
    pub left_out: usize,
    /// Each check.
    pub checks: Vec<CheckDocument>,
}

/// A finding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FindingDocument {
    /// The check that found it.
    pub check: String,
    /// `critical`, `warning` or `info`.
    pub severity: String,
    /// The network; empty if it is about none. So are the others.
    pub network: String,
    /// The container.
    pub container: String,
    /// Its service.
    pub service: String,
    /// Another node.
    pub peer: String,
    /// A device, an address or a setting, or what is wrong with it.
    pub subject: String,
    /// When the fault was first seen (RFC 3339).
    pub since: String,
    /// What was seen.
    pub evidence: String,
    /// What to do.
    pub remedy: String,
}

/// A check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckDocument {
    /// Its name.
    pub check: String,
    /// It could look the last time.
    pub success: bool,
    /// Why it could not; empty if it could.
    pub reason: String,
    /// How long it took.
    pub duration_seconds: f64,
}

/// What is wrong, as JSON.
#[must_use]
pub fn findings(report: &Report) -> String {
    let document = FindingsDocument {
        looked: report.looked.map(moment),
        findings: report.standing.iter().map(finding).collect(),
        left_out: report.left_out,
        checks: report.checks.iter().map(check).collect(),
    };
    // A document of texts and numbers has no reason not to be written.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// What is wrong, in sentences.
#[must_use]
pub fn sentences(report: &Report) -> Vec<String> {
    if report.looked.is_none() {
        return vec!["The checks have not looked yet.".to_owned()];
    }
    let mut sentences: Vec<_> = report.standing.iter().map(|it| sentence(&finding(it))).collect();
    if report.left_out > 0 {
        sentences.push(format!("{} more findings are not listed.", report.left_out));
    }
    if sentences.is_empty() {
        sentences.push("Nothing is wrong, as far as the checks can see.".to_owned());
    }
    sentences.extend(
        report
            .blind()
            .map(|(check, reason)| format!("{} could not look: {reason}.", check.as_str())),
    );
    sentences
}

/// A finding in one sentence, and its remedy.
#[must_use]
pub fn sentence(finding: &FindingDocument) -> String {
    let subject = Subject {
        network: finding.network.as_str().into(),
        container: finding.container.as_str().into(),
        service: finding.service.as_str().into(),
        peer: finding.peer.as_str().into(),
        item: finding.subject.as_str().into(),
    };
    let FindingDocument {
        severity,
        check,
        evidence,
        since,
        remedy,
        ..
    } = finding;
    format!("{severity}: {check} ({subject}): {evidence}, since {since}. {remedy}")
}

fn finding(standing: &Standing) -> FindingDocument {
    let Standing {
        finding:
            Finding {
                check,
                severity,
                subject,
                evidence,
                remedy,
                witnesses: _,
            },
        since,
    } = standing;
    let Subject {
        network,
        container,
        service,
        peer,
        item,
    } = subject;
    FindingDocument {
        check: check.as_str().to_owned(),
        severity: Severity::as_str(*severity).to_owned(),
        network: network.to_string(),
        container: container.to_string(),
        service: service.to_string(),
        peer: peer.to_string(),
        subject: item.to_string(),
        since: moment(*since),
        evidence: evidence.clone(),
        remedy: remedy.clone(),
    }
}

fn check(row: &CheckRow) -> CheckDocument {
    CheckDocument {
        check: row.check.as_str().to_owned(),
        success: row.blind.is_none(),
        reason: row.blind.clone().unwrap_or_default(),
        duration_seconds: row.spent.as_secs_f64(),
    }
}

/// A moment to the second (RFC 3339).
fn moment(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let moment = i64::try_from(seconds)
        .ok()
        .and_then(|it| OffsetDateTime::from_unix_timestamp(it).ok());
    moment
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{FindingsDocument, findings, sentences};
    use crate::model::finding::{Check, CheckRow, Finding, Report, Severity, Standing, Subject};

    fn report() -> Report {
        let subject = Subject {
            network: "sh\"op\n".into(),
            peer: "n2".into(),
            ..Subject::default()
        };
        Report {
            standing: vec![Standing {
                finding: Finding {
                    check: Check("tables"),
                    severity: Severity::Critical,
                    subject,
                    evidence: "3 of 4 are missing".to_owned(),
                    remedy: "Run `it`.".to_owned(),
                    witnesses: [].into(),
                },
                since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            }],
            left_out: 2,
            checks: vec![CheckRow {
                check: Check("tables"),
                blind: Some("the engine is silent".to_owned()),
                spent: Duration::from_millis(2),
            }],
            looked: Some(SystemTime::UNIX_EPOCH),
        }
    }

    #[test]
    fn a_document_survives_the_way_to_json_and_back() {
        let document: FindingsDocument = serde_json::from_str(&findings(&report())).expect("JSON");
        let finding = &document.findings[0];
        assert_eq!(finding.network, "sh\"op\n");
        assert_eq!(finding.since, "2023-11-14T22:13:20Z");
        assert_eq!(document.left_out, 2);
        assert!(!document.checks[0].success);
        let more: FindingsDocument = serde_json::from_str(r#"{"later": 1}"#).expect("fields are added");
        assert_eq!(more, FindingsDocument::default());
    }

    #[test]
    fn a_sentence_says_what_whom_since_when_and_what_to_do() {
        let said = sentences(&report());
        assert_eq!(
            said,
            [
                "critical: tables (network sh\"op\n, node n2): 3 of 4 are missing, since 2023-11-14T22:13:20Z. Run `it`.",
                "2 more findings are not listed.",
                "tables could not look: the engine is silent.",
            ]
        );
        assert_eq!(sentences(&Report::default()), ["The checks have not looked yet."]);
        let healthy = Report {
            looked: Some(SystemTime::UNIX_EPOCH),
            ..Report::default()
        };
        assert_eq!(sentences(&healthy), ["Nothing is wrong, as far as the checks can see."]);
    }
}
