//! The catalog for readers: `METRICS.md` and `netmon metrics`.

use std::fmt::Write as _;

use crate::page::family::About;

/// The catalog as Markdown. This is the whole of `METRICS.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "<!-- Generated from netmon/src/collectors; `netmon metrics --markdown` prints it. -->\n\n\
         # Metrics\n\n\
         Every family that netmon exposes. `receive` and `transmit` are the container's point of view. A label that \
         has nothing to say is empty: a container that belongs to no service has `service=\"\"`. There is no label for \
         the node: that is the target's `instance`.\n",
    );
    for (noun, families) in by_noun() {
        text.push_str("\n## ");
        text.push_str(noun);
        text.push_str("\n\n| family | type | labels | collector | what it says |\n|---|---|---|---|---|\n");
        for family in families {
            let About {
                kind, help, collector, ..
            } = family;
            // Writing to a string cannot fail.
            let _: std::fmt::Result = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} |",
                family.name(),
                kind.as_str(),
                labels(family, "`", ", "),
                collector.as_str(),
                help.replace('|', "\\|"),
            );
        }
    }
    text
}

/// The catalog as a table for a terminal: the name, type, labels and help of every family.
#[must_use]
pub fn table() -> String {
    let rows: Vec<[String; 4]> = super::families()
        .map(|family| {
            [
                family.name(),
                family.kind.as_str().to_owned(),
                labels(family, "", ","),
                family.help.to_owned(),
            ]
        })
        .collect();
    let head = ["FAMILY", "TYPE", "LABELS"];
    let widths = [0, 1, 2].map(|column| {
        let cells = rows.iter().map(|row| row[column].len());
        cells.max().unwrap_or_default().max(head[column].len())
    });
    let mut text = String::new();
    let [names, kinds, labels] = widths;
    let head = [head[0], head[1], head[2], "HELP"].map(str::to_owned);
    for [name, kind, label, help] in [head].iter().chain(&rows) {
        // Writing to a string cannot fail.
        let _: std::fmt::Result = writeln!(text, "{name:names$}  {kind:kinds$}  {label:labels$}  {help}");
    }
    text
}

/// The families by noun. Nouns are in the order of the table of collectors.
fn by_noun() -> Vec<(&'static str, Vec<&'static About>)> {
    let mut nouns: Vec<(&str, Vec<&About>)> = Vec::new();
    for family in super::families() {
        match nouns.iter_mut().find(|(noun, _)| *noun == family.noun) {
            Some((_, families)) => families.push(family),
            None => nouns.push((family.noun, vec![family])),
        }
    }
    nouns
}

fn labels(family: &About, quote: &str, between: &str) -> String {
    let labels: Vec<_> = family
        .labels
        .iter()
        .map(|label| format!("{quote}{label}{quote}"))
        .collect();
    labels.join(between)
}

#[cfg(test)]
mod tests {
    use super::{markdown, table};
    use crate::collectors::{families, golden};

    #[test]
    fn the_document_at_the_root_is_up_to_date() {
        golden::check("../METRICS.md", &markdown());
    }

    #[test]
    fn the_table_has_a_line_for_every_family_and_a_head() {
        let table = table();
        assert_eq!(table.lines().count(), families().count() + 1);
        for (line, family) in table.lines().skip(1).zip(families()) {
            assert!(
                line.starts_with(&family.name()) && line.ends_with(family.help),
                "{line}"
            );
        }
    }
}
