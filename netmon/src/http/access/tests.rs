//! The settings that the file may contain, and those that are rejected.

use std::fs;

use tempfile::TempDir;

use super::{Access, AccessError, file::duration};

/// Reads a file with that text, in a folder of its own.
fn read(text: &str) -> (TempDir, Result<Access, AccessError>) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("web.yml");
    fs::write(&path, text).expect("written");
    let access = Access::read(Some(path));
    (folder, access)
}

#[test]
fn an_empty_file_sets_nothing() {
    for text in ["", "\n", "# nothing yet\n\n", "basic_auth_users: {}\n"] {
        let rules = read(text).1.expect("rules").rules.load_full();
        assert!(
            rules.tls.is_none() && rules.users.is_none() && rules.rate.is_none() && rules.headers.is_empty(),
            "{text:?} sets {rules:?}"
        );
    }
}

#[test]
fn headers_are_those_that_the_format_has() {
    let text = "http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\n    \
                Strict-Transport-Security: max-age=600\n    Content-Security-Policy: ''\n";
    let rules = read(text).1.expect("rules").rules.load_full();
    let headers: Vec<_> = rules
        .headers()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        headers,
        ["strict-transport-security: max-age=600", "x-frame-options: deny"]
    );
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    for (text, name) in [
        ("basic_auth_user: {}", "basic_auth_user"),
        ("tls_server_config: {cert_fil: a}", "cert_fil"),
        ("http_server_config: {http3: true}", "http3"),
        (
            "http_server_config: {headers: {Server: x}}",
            "http_server_config.headers.Server",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: maybe}}",
            "deny, sameorigin",
        ),
        (
            "http_server_config: {headers: {X-XSS-Protection: \"a\\nb\"}}",
            "X-XSS-Protection",
        ),
        ("basic_auth_users: {alice: secret}", "basic_auth_users.alice"),
        (
            "basic_auth_users: {alice: $2y$31$hxWZfKX4oCvFQgh.RYVnv.mY2UvXg9OFXKYtAfwuVqf1rWhmqmtDe}",
            "cost 31",
        ),
        ("rate_limit: {interval: often}", "rate_limit.interval"),
        ("rate_limit: {burst: 3}", "rate_limit.burst"),
        ("tls_server_config: {}", "tls_server_config.cert"),
        ("tls_server_config: {cert: a, cert_file: b}", "only one of them"),
        ("tls_server_config: {cert: rubbish, key: rubbish}", "no certificate"),
        (
            "tls_server_config: {cert_file: absent.pem, key_file: absent.pem}",
            "absent.pem",
        ),
        (
            "tls_server_config: {cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}",
            "cipher_suites",
        ),
        ("- a list\n- of things", "web configuration"),
        ("tls_server_config: [", "web configuration"),
    ] {
        let error = read(text).1.expect_err(text).to_string();
        assert!(error.contains(name), "{text}: {error}");
    }
}

#[test]
fn the_example_that_is_shipped_is_refused_until_it_has_a_password_of_its_own() {
    let example = include_str!("../../../../deploy/package/web.yml");
    let error = read(example)
        .1
        .expect_err("a password that everybody knows")
        .to_string();
    assert!(
        error.contains("basic_auth_users.prometheus: this is not a bcrypt hash; make one with `htpasswd"),
        "{error}"
    );
    // With one, only the certificate is missing.
    let hash = bcrypt::hash("a password of its own", 4).expect("a hash");
    let error = read(&example.replace("REPLACE-THIS-WITH-A-HASH", &hash)).1;
    let error = error.expect_err("no certificate").to_string();
    assert!(error.contains("netmon.crt"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_an_error_that_names_it() {
    let error = Access::read(Some("/nowhere/web.yml".into())).expect_err("absent");
    let error = error.to_string();
    assert!(
        error.contains("/nowhere/web.yml") && error.contains("--web.config.file"),
        "{error}"
    );
}

#[test]
fn times_are_read_as_go_writes_them() {
    for (text, milliseconds) in [
        ("0", 0),
        ("0s", 0),
        ("100ms", 100),
        ("1.5s", 1500),
        ("1m30s", 90_000),
        ("1h", 3_600_000),
    ] {
        assert_eq!(duration(text).map(|it| it.as_millis()), Some(milliseconds), "{text}");
    }
    for text in ["", "1", "s", "-1s", "1x", "1s 2s", "1e400h"] {
        assert_eq!(duration(text), None, "{text:?}");
    }
}
