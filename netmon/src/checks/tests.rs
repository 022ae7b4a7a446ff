//! The tables of checks in the documents are the table of checks.

use super::{ALL, CheckDefinition};
use crate::collectors::golden::agree_with_rows;

/// Whether a line is a check's row.
fn is_row(line: &str) -> bool {
    let mut names = ALL.iter().map(|check| format!("| `{}` | ", check.name.as_str()));
    names.any(|begin| line.starts_with(&begin))
}

#[test]
fn the_document_says_what_each_check_finds_and_what_it_cannot_see() {
    let row = |check: &CheckDefinition| {
        let CheckDefinition {
            name,
            finds,
            compares,
            blind_spots,
            patience,
            ..
        } = check;
        format!(
            "| `{}` | {finds} | {compares} | {blind_spots} | {} s |",
            name.as_str(),
            patience.as_secs()
        )
    };
    agree_with_rows("docs/findings.md", is_row, &ALL.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn the_runbook_says_what_causes_each_finding() {
    let row = |check: &CheckDefinition| format!("| `{}` | {} | {} |", check.name.as_str(), check.finds, check.causes);
    agree_with_rows(
        "dashboards/runbooks/findings.md",
        is_row,
        &ALL.iter().map(row).collect::<Vec<_>>(),
    );
}
