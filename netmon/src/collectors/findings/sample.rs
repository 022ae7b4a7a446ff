//! Findings for the golden page.

use std::time::{Duration, SystemTime};

use super::families;
use crate::{
    model::finding::{Check, CheckRow, Finding, Report, Severity, Standing, Subject},
    page::rows::Rows,
};

/// A finding, and two checks of which one could not look.
pub(super) fn rows() -> Vec<Rows> {
    let subject = Subject {
        network: "shop_back".into(),
        peer: "n2".into(),
        item: "missing".into(),
        ..Subject::default()
    };
    families::rows(&Report {
        standing: vec![Standing {
            finding: Finding {
                check: Check("overlay_tables"),
                severity: Severity::Critical,
                subject,
                evidence: String::new(),
                remedy: String::new(),
                witnesses: [].into(),
            },
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        }],
        left_out: 0,
        checks: [
            ("forwarding", None),
            ("overlay_tables", Some("the engine does not answer".to_owned())),
        ]
        .map(|(check, blind)| CheckRow {
            check: Check(check),
            blind,
            spent: Duration::from_micros(20),
        })
        .into(),
        looked: Some(SystemTime::UNIX_EPOCH),
    })
}
