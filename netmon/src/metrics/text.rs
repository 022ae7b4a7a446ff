//! Converts OpenMetrics text to Prometheus text 0.0.4, which every scraper since 2014 understands.
//!
//! The library writes only OpenMetrics. A scraper that does not ask for it must get the older format. The two differ
//! in the lines that start with `#`. In the older format, families have the names of their series, and there are no
//! units, no infos and no end mark. The older format also has no exemplars. All else is copied. The two formats write
//! timestamps in different units, but netmon writes no timestamps.

use std::borrow::Cow;

/// Converts a page written by [`encode`](super::encode), in one pass. Samples are not copied. Returns pieces in their
/// order.
#[must_use]
pub fn to_text(open_metrics: &str) -> Vec<Cow<'_, str>> {
    let mut text = Vec::new();
    let mut rest = open_metrics;
    // A family's help comes before its type, but the family's name depends on the type.
    let mut help: Option<Metadata<'_>> = None;
    while !rest.is_empty() {
        if !rest.starts_with('#') {
            let (samples, behind) = rest.split_at(end_of_samples(rest));
            text.push(without_exemplars(samples));
            rest = behind;
            continue;
        }
        let (line, behind) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = behind;
        match Metadata::parse(line) {
            Some(line) if line.keyword == "HELP" => help = Some(line),
            Some(line) if line.keyword == "TYPE" => {
                let (suffix, kind) = old_type(line.value);
                let help = help.take().filter(|help| help.family == line.family);
                let help = help.map(|help| metadata("HELP", line.family, suffix, help.value));
                let kind = metadata("TYPE", line.family, suffix, kind);
                text.push((help.unwrap_or_default() + &kind).into());
            }
            // The older format has no units and no end mark.
            Some(_) | None => {}
        }
    }
    text
}

/// `# KEYWORD family value`
struct Metadata<'a> {
    keyword: &'a str,
    family: &'a str,
    value: &'a str,
}

impl<'a> Metadata<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.strip_prefix("# ")?.splitn(3, ' ');
        Some(Self {
            keyword: words.next()?,
            family: words.next()?,
            value: words.next().unwrap_or_default(),
        })
    }
}

/// The suffix of a family's name in the older format, and the type's name there.
fn old_type(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "gauge" | "stateset" => ("", "gauge"),
        "histogram" => ("", "histogram"),
        "summary" => ("", "summary"),
        _ => ("", "untyped"),
    }
}

fn metadata(keyword: &str, family: &str, suffix: &str, value: &str) -> String {
    format!("# {keyword} {family}{suffix} {value}\n")
}

/// Where the samples at the start of `text` end. Line feeds in label values are escaped, so a `#` at the start of a
/// line is never part of a value.
fn end_of_samples(text: &str) -> usize {
    text.find("\n#").map_or(text.len(), |at| at + 1)
}

fn without_exemplars(samples: &str) -> Cow<'_, str> {
    // Rarely true, and then usually because of a label value. Only such blocks are examined line by line.
    if !samples.contains(EXEMPLAR) {
        return samples.into();
    }
    let mut text = String::with_capacity(samples.len());
    for line in samples.split_inclusive('\n') {
        let (labels, value) = line.split_at(end_of_labels(line));
        text.push_str(labels);
        match value.split_once(EXEMPLAR) {
            Some((value, _)) => {
                text.push_str(value);
                text.push('\n');
            }
            None => text.push_str(value),
        }
    }
    text.into()
}

/// Separates a value from its exemplar.
const EXEMPLAR: &str = " # ";

/// Where the name and labels of a sample end.
fn end_of_labels(line: &str) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return at + 1,
            // A name without labels.
            b' ' if !quoted => return at,
            _ => {}
        }
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::to_text;

    #[test]
    fn families_get_the_names_of_their_series() {
        let open_metrics = "# HELP a_bytes Bytes.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{x=\"1\"} 2\n\
                            # HELP b Facts.\n# TYPE b info\nb_info{y=\"2\"} 1\n\
                            # TYPE c gauge\nc 3\n\
                            # HELP d_seconds Times.\n# TYPE d_seconds histogram\n# UNIT d_seconds seconds\n\
                            d_seconds_sum 1.5\nd_seconds_count 2\nd_seconds_bucket{le=\"+Inf\"} 2\n# EOF\n";
        let text = "# HELP a_bytes_total Bytes.\n# TYPE a_bytes_total counter\na_bytes_total{x=\"1\"} 2\n\
                    # HELP b_info Facts.\n# TYPE b_info gauge\nb_info{y=\"2\"} 1\n\
                    # TYPE c gauge\nc 3\n\
                    # HELP d_seconds Times.\n# TYPE d_seconds histogram\n\
                    d_seconds_sum 1.5\nd_seconds_count 2\nd_seconds_bucket{le=\"+Inf\"} 2\n";
        assert_eq!(to_text(open_metrics).concat(), text);
    }

    #[test]
    fn exemplars_are_cut_off_and_labels_that_look_like_one_are_not() {
        let open_metrics = "# TYPE a counter\n\
                            a_total{x=\" # {\",y=\"\\\" # {\"} 1 # {trace=\" # \"} 0.5 12.5\n\
                            a_total{x=\"} 2 # {\"} 2\n\
                            a_total 3 # {} 1\n# EOF\n";
        let text = "# TYPE a_total counter\n\
                    a_total{x=\" # {\",y=\"\\\" # {\"} 1\n\
                    a_total{x=\"} 2 # {\"} 2\n\
                    a_total 3\n";
        assert_eq!(to_text(open_metrics).concat(), text);
    }

    #[test]
    fn a_page_without_anything_becomes_an_empty_one() {
        assert_eq!(to_text("# EOF\n").concat(), "");
        assert_eq!(to_text("").concat(), "");
    }

    /// Escapes whatever would end a label value or a line.
    fn escape(value: &str) -> String {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
    }

    proptest! {
        /// The values consist mainly of characters that could break the format.
        #[test]
        fn samples_survive_whatever_their_labels_hold(
            rows in prop::collection::vec(
                ("([ #{}\"\\\\\n=,]|EOF|HELP|[a-zß☂]){0,12}", any::<u64>(), any::<bool>()), 0..8,
            ),
        ) {
            let mut open_metrics = String::from("# HELP a Help.\n# TYPE a counter\n");
            let mut text = String::from("# HELP a_total Help.\n# TYPE a_total counter\n");
            for (label, value, exemplar) in &rows {
                let sample = format!("a_total{{x=\"{}\"}} {value}", escape(label));
                let exemplar = if *exemplar { format!(" # {{x=\"{}\"}} 1.0", escape(label)) } else { String::new() };
                writeln!(open_metrics, "{sample}{exemplar}").expect("a string takes everything");
                writeln!(text, "{sample}").expect("a string takes everything");
            }
            open_metrics.push_str("# EOF\n");
            prop_assert_eq!(to_text(&open_metrics).concat(), text);
        }

        #[test]
        fn no_page_makes_it_panic(page in "([#{}\" \\\\\n]|# HELP |# TYPE |a|\\PC){0,60}") {
            let _: Vec<_> = to_text(&page);
        }
    }
}
