//! `netmon doctor`: asks the netmon that runs here what is wrong, and says it to a person or as JSON. Owns the words and
//! the exit status. Must not know how the page is served.

use std::fmt::Write as _;

use crate::{
    api::{FindingsDocument, sentence},
    http::{FINDINGS, healthcheck},
    model::text::printable,
};

/// What there is to print, and how the program ends.
#[derive(Debug)]
pub struct Diagnosis {
    /// The text.
    pub text: String,
    /// 0 if nothing is wrong, 1 if something is, 2 if a check could not look.
    pub status: u8,
}

/// The status of a program that could not look.
pub const BLIND: u8 = 2;

/// Asks the netmon that listens on the first of these addresses.
///
/// # Errors
/// It cannot be reached, or answers with something else.
pub fn ask(listen: &[String], as_json: bool) -> anyhow::Result<Diagnosis> {
    let page = healthcheck::page(listen, FINDINGS)?;
    let document: FindingsDocument = serde_json::from_str(&page)
        .map_err(|error| anyhow::anyhow!("cannot read what netmon says: {error}; is it of the same version?"))?;
    let mut diagnosis = diagnose(&document);
    if as_json {
        diagnosis.text = page + "\n";
    }
    Ok(diagnosis)
}

fn diagnose(document: &FindingsDocument) -> Diagnosis {
    let FindingsDocument {
        looked,
        findings,
        left_out,
        checks,
    } = document;
    let mut text = String::new();
    let mut line = |line: &str| {
        // Writing to a text cannot fail.
        let _written = writeln!(text, "{}", printable(line));
    };
    for finding in findings {
        line(&sentence(finding));
    }
    if *left_out > 0 {
        line(&format!("{left_out} more findings are not listed."));
    }
    let mut is_blind = looked.is_none();
    if is_blind {
        line("The checks have not looked yet: ask again in a few seconds.");
    }
    for check in checks.iter().filter(|check| !check.success) {
        is_blind = true;
        line(&format!("{} could not look: {}.", check.check, check.reason));
    }
    let status = match (findings.is_empty(), is_blind) {
        (false, _) => 1,
        (true, true) => BLIND,
        (true, false) => 0,
    };
    if status == 0 {
        line(&format!("Nothing is wrong, as far as {} checks can see.", checks.len()));
    }
    Diagnosis { text, status }
}

#[cfg(test)]
mod tests {
    use super::diagnose;
    use crate::api::{CheckDocument, FindingDocument, FindingsDocument};

    fn document(findings: &[&str], checks: &[bool]) -> FindingsDocument {
        FindingsDocument {
            looked: Some("2023-11-14T22:13:20Z".to_owned()),
            findings: findings
                .iter()
                .map(|name| FindingDocument {
                    check: (*name).to_owned(),
                    container: "a\u{1b}[2Jb".to_owned(),
                    ..FindingDocument::default()
                })
                .collect(),
            left_out: 0,
            checks: checks
                .iter()
                .map(|success| CheckDocument {
                    success: *success,
                    ..CheckDocument::default()
                })
                .collect(),
        }
    }

    #[test]
    fn the_status_says_none_some_or_could_not_look() {
        for (findings, checks, status) in [
            (&[][..], &[true, true][..], 0),
            (&["x"], &[true], 1),
            (&["x"], &[false], 1),
            (&[], &[true, false], 2),
        ] {
            assert_eq!(
                diagnose(&document(findings, checks)).status,
                status,
                "{findings:?} {checks:?}"
            );
        }
        let diagnosis = diagnose(&FindingsDocument::default());
        assert_eq!(diagnosis.status, 2, "{}", diagnosis.text);
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        let text = diagnose(&document(&["x"], &[true])).text;
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
