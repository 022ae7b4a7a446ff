//! The client's preferences: `Accept` and `Accept-Encoding`, weighted as in RFC 9110. Pure.

use crate::model::format::Format;

impl Format {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The format that a client prefers, from its `Accept` headers. The text format if it asks for none of the two.
pub(super) fn format<'a>(accept: impl IntoIterator<Item = &'a str>) -> Format {
    let mut open_metrics = 0.0;
    let mut text = 0.0;
    for item in items(accept) {
        match item.value.as_str() {
            "application/openmetrics-text" if item.is_version(&["0.0.1", "1.0.0"]) => {
                open_metrics = f32::max(open_metrics, item.weight);
            }
            "text/plain" if item.is_version(&["0.0.4"]) => text = f32::max(text, item.weight),
            // Sent by browsers, which can show text.
            "text/*" | "*/*" => text = f32::max(text, item.weight),
            _ => {}
        }
    }
    if open_metrics > 0.0 && open_metrics >= text {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// Whether a client accepts gzip, from its `Accept-Encoding` headers.
pub(super) fn gzip<'a>(accept_encoding: impl IntoIterator<Item = &'a str>) -> bool {
    let mut any = 0.0;
    for item in items(accept_encoding) {
        match item.value.as_str() {
            "gzip" | "x-gzip" => return item.weight > 0.0,
            "*" => any = item.weight,
            _ => {}
        }
    }
    any > 0.0
}

/// One item of a header.
struct Item<'a> {
    /// In lower case: none of the compared values is case-sensitive.
    value: String,
    weight: f32,
    version: Option<&'a str>,
}

impl Item<'_> {
    fn is_version(&self, versions: &[&str]) -> bool {
        self.version.is_none_or(|version| versions.contains(&version))
    }
}

fn items<'a>(headers: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = Item<'a>> {
    headers.into_iter().flat_map(|header| header.split(',')).map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let mut item = Item {
            value: parts.next().unwrap_or_default().to_ascii_lowercase(),
            weight: 1.0,
            version: None,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let name = name.trim();
            if name.eq_ignore_ascii_case("q") {
                item.weight = weight(value.trim());
            } else if name.eq_ignore_ascii_case("version") {
                item.version = Some(value.trim().trim_matches('"'));
            }
        }
        item
    })
}

/// A weight from 0 to 1. An invalid weight counts as 0, because it may have been meant as a refusal.
fn weight(text: &str) -> f32 {
    let weight = text.parse().ok();
    weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::{Format, format, gzip};

    const PROMETHEUS_2_42: &str = "application/openmetrics-text;version=1.0.0,\
        application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
        application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
        text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    #[test]
    fn prometheus_gets_openmetrics() {
        assert_eq!(format([PROMETHEUS_2_42]), Format::OpenMetrics);
        assert_eq!(format([PROMETHEUS_3]), Format::OpenMetrics);
    }

    #[test]
    fn whoever_asks_for_nothing_we_have_gets_text() {
        for accept in [
            BROWSER,
            "*/*",
            "",
            "application/json",
            "application/openmetrics-text;version=2.0.0",
        ] {
            assert_eq!(format([accept]), Format::Text, "{accept}");
        }
        assert_eq!(format([]), Format::Text);
    }

    #[test]
    fn the_weights_decide() {
        assert_eq!(
            format(["application/openmetrics-text;q=0.1, text/plain;version=0.0.4"]),
            Format::Text
        );
        assert_eq!(format(["application/openmetrics-text;q=0"]), Format::Text);
        assert_eq!(
            format(["text/plain;q=0.1", "application/openmetrics-text"]),
            Format::OpenMetrics
        );
    }

    #[test]
    fn case_has_no_meaning() {
        assert_eq!(
            format(["Application/OpenMetrics-Text; Version=1.0.0"]),
            Format::OpenMetrics
        );
        assert_eq!(format(["application/openmetrics-text;Q=0"]), Format::Text);
        assert!(gzip(["GZip"]));
        assert!(!gzip(["gzip;Q=0"]));
    }

    #[test]
    fn a_weight_that_is_none_refuses() {
        for weight in ["inf", "NaN", "-1", "2", "", "x"] {
            assert!(!gzip([format!("gzip;q={weight}").as_str()]), "{weight:?}");
        }
    }

    #[test]
    fn gzip_only_for_those_who_take_it() {
        for (header, takes) in [
            ("gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("gzip;q=0, *", false),
            ("*", true),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(gzip([header]), takes, "{header}");
        }
    }
}
