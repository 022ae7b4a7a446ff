//! The keys of the web configuration. Pure.
//!
//! The only module that names serde-saphyr. An unknown key is an error, because a misspelt one could leave access
//! open.

use std::{collections::BTreeMap, path::Path, path::PathBuf, time::Duration};

use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::{AccessError, setting};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) tls_server_config: Option<TlsSettings>,
    http_server_config: HttpSettings,
    pub(super) basic_auth_users: BTreeMap<String, String>,
    pub(super) rate_limit: RateSettings,
}

/// How connections are encrypted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TlsSettings {
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    /// The certificate and the key themselves, in place of files.
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) client_ca_file: Option<PathBuf>,
    pub(super) client_ca: Option<String>,
    pub(super) client_auth_type: Option<String>,
    pub(super) client_allowed_sans: Vec<String>,
    pub(super) min_version: Option<String>,
    pub(super) max_version: Option<String>,
    pub(super) cipher_suites: Vec<String>,
    pub(super) curve_preferences: Vec<String>,
    /// Has no effect any more, in Go's library neither.
    #[serde(rename = "prefer_server_cipher_suites")]
    _prefer_server_cipher_suites: Option<bool>,
}

impl TlsSettings {
    /// All files that are named.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.cert_file, &self.key_file, &self.client_ca_file]
            .into_iter()
            .filter_map(|file| file.as_deref())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpSettings {
    /// Permits HTTP/2. netmon never offers it: a scrape is one request, and every client speaks HTTP/1.1.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: BTreeMap<String, String>,
}

/// The limit of requests.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RateSettings {
    /// Time between two requests.
    pub(super) interval: Option<String>,
    /// How many requests may come at once.
    pub(super) burst: Option<u32>,
}

/// The headers that can be set, and their permitted values. An empty list permits any value.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

impl File {
    pub(super) fn headers(&self, path: &Path) -> Result<Vec<(HeaderName, HeaderValue)>, AccessError> {
        let wanted = self.http_server_config.headers.iter();
        let wanted = wanted.filter(|(_, value)| !value.is_empty());
        wanted.map(|(name, value)| header(name, value, path)).collect()
    }
}

fn header(name: &str, value: &str, path: &Path) -> Result<(HeaderName, HeaderValue), AccessError> {
    let key = format!("http_server_config.headers.{name}");
    let known = HEADERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let Some((known, values)) = known else {
        let names = HEADERS.map(|(name, _)| name).join(", ");
        return Err(setting(path, key, format!("only these can be set: {names}")));
    };
    if !values.is_empty() && !values.contains(&value.to_ascii_lowercase().as_str()) {
        return Err(setting(path, key, format!("it is one of {}", values.join(", "))));
    }
    let unwritable = |_| setting(path, key.as_str(), "a header cannot have that value");
    let value = HeaderValue::from_str(value).map_err(unwritable)?;
    let name =
        HeaderName::from_bytes(known.as_bytes()).map_err(|_| setting(path, key.as_str(), "it is not a header"))?;
    Ok((name, value))
}

/// Parses the file. An empty file sets nothing.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<File, AccessError> {
    let wrong = |reason: String| AccessError::Format {
        path: path.to_owned(),
        reason,
    };
    let text = std::str::from_utf8(text).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    let is_content = |line: &str| !matches!(line.trim().bytes().next(), None | Some(b'#'));
    if !text.lines().any(is_content) {
        return Ok(File::default());
    }
    serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))
}

/// A duration in Go's notation: one or more numbers with units, as in `1m30s`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, tail) = rest.split_at(number);
        let unit = tail
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    if text.is_empty() {
        return None;
    }
    Duration::try_from_secs_f64(seconds).ok()
}
