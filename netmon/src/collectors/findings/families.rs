//! The families of findings.

use std::time::{Duration, SystemTime};

use crate::{
    model::finding::{CheckRow, Finding, Report, Standing, Subject},
    page::{
        key::{Key, Word},
        labels::{Block, Unlabelled, key_labels, label_sets},
        limits::SHOWN,
        rows::{Rows, schemas},
    },
};

key_labels! {
    /// A check.
    pub ByCheck { check = what }
}

label_sets! {
    /// A finding.
    pub FindingLabels { check, severity, network, container, service, peer, subject }
}

schemas! {
    pub families of super::NAME;
    "Findings" {
        /// A finding that stands.
        STANDING(() in ()) by FindingLabels<'static>, SHOWN {
            FINDING: Gauge, "netmon_finding",
                1_u64,
                "1 while a check finds that something is wrong. What was seen, and what to do, is at /api/v1/findings and in the log. severity is critical, warning or info. Labels that do not apply are empty. subject is a device, an address or a setting, or what is wrong with it.";
        }
        /// Since when.
        STARTS(it in Duration) by FindingLabels<'static>, SHOWN {
            FINDING_START_TIME: Gauge, "netmon_finding_start_time" in Seconds,
                it.as_secs_f64(),
                "When a finding's fault was first seen, in seconds since the epoch.";
        }
        /// Findings that are not listed.
        LEFT_OUT(it in u64) by Unlabelled, SHOWN {
            FINDINGS_LEFT_OUT: Gauge, "netmon_findings_left_out",
                *it,
                "Findings that are not listed: of each check at most 20 are.";
        }
        /// How a check went.
        CHECKS(it in CheckRow) by ByCheck, SHOWN {
            CHECK_SUCCESS: Gauge, "netmon_check_success",
                u64::from(it.blind.is_none()),
                "1 if the check could look the last time. If not, its findings are those of the time before, and /api/v1/findings says why.";
            CHECK_DURATION: Gauge, "netmon_check_duration" in Seconds,
                it.spent.as_secs_f64(),
                "How long the check took the last time, without reading what it looks at.";
        }
    }
}

/// The rows of a scrape. There are none until the checks have looked.
pub(crate) fn rows(report: &Report) -> Vec<Rows> {
    let since = |standing: &Standing| {
        let since = standing.since.duration_since(SystemTime::UNIX_EPOCH);
        (labels(&standing.finding), since.unwrap_or_default())
    };
    let checks = report.checks.iter();
    let mut rows = vec![
        STANDING.labelled(report.standing.iter().map(|standing| (labels(&standing.finding), ()))),
        STARTS.labelled(report.standing.iter().map(since)),
        CHECKS.rows(checks.map(|row| (Key::default().what(Word::told(row.check.as_str())), row))),
    ];
    if report.looked.is_some() {
        rows.insert(2, LEFT_OUT.row(&(report.left_out as u64)));
    }
    rows
}

fn labels(finding: &Finding) -> Block<FindingLabels<'static>> {
    let Finding {
        check,
        severity,
        subject:
            Subject {
                network,
                container,
                service,
                peer,
                item,
            },
        evidence: _,
        remedy: _,
        witnesses: _,
    } = finding;
    FindingLabels {
        check: check.as_str(),
        severity: severity.as_str(),
        network,
        container,
        service,
        peer,
        subject: item,
    }
    .block()
}
