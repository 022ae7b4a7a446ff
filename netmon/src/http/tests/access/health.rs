//! What `netmon healthcheck` sees of a server with access rules: it knows no password, no certificate and no authority.

use super::{Authority, Fake, Site, certified, status, users};
use crate::http::healthcheck;

/// What the health check of this site says.
async fn checked(site: &Site) -> Result<(), healthcheck::Unwell> {
    let address = site.server.address.to_string();
    let asked = tokio::task::spawn_blocking(move || healthcheck::ask(&[address])).await;
    asked.expect("no panic")
}

/// A server with TLS, and a demand on clients' certificates.
fn encrypted(demand: &str) -> String {
    format!("tls_server_config: {{cert_file: cert.pem, key_file: key.pem{demand}}}\n")
}

const CLIENTS: [&str; 4] = [
    "",
    ", max_version: TLS12",
    ", client_ca_file: ca.pem, client_auth_type: VerifyClientCertIfGiven",
    ", client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [prometheus.example]",
];

#[tokio::test]
async fn that_netmon_is_unhealthy_is_said_to_who_knows_no_password_and_nothing_else_is() {
    let fake = Fake {
        unhealthy: Some("a worker hangs"),
        ..Fake::default()
    };
    let site = Site::of(fake, &users(&[("alice", "one")]), |_| {}).await;
    let answer = site.server.get("/-/healthy", "").await;
    assert_eq!(status(&answer), "503");
    assert!(answer.ends_with("netmon is not healthy: a worker hangs.\n"), "{answer}");
    for path in ["/metrics", "/", "/-/ready"] {
        assert_eq!(status(&site.server.get(path, "").await), "401", "{path}");
    }
    checked(&site).await.expect_err("it is unhealthy");
}

#[tokio::test]
async fn that_netmon_is_unhealthy_is_seen_through_tls() {
    let authority = Authority::new();
    for demand in &CLIENTS[..3] {
        for users in [String::new(), users(&[("alice", "one")])] {
            let fake = Fake {
                unhealthy: Some("a worker hangs"),
                ..Fake::default()
            };
            let text = encrypted(demand) + &users;
            let site = Site::of(fake, &text, certified(&authority)).await;
            let unwell = checked(&site).await.expect_err(&text);
            assert!(unwell.to_string().contains("HTTP/1.1 503"), "{text}: {unwell}");
        }
    }
}

#[tokio::test]
async fn that_all_is_well_is_seen_whatever_clients_have_to_show() {
    let authority = Authority::new();
    let plain = [
        users(&[("alice", "open sesame")]),
        "rate_limit: {interval: 1h}\n".to_owned(),
    ];
    for text in plain.into_iter().chain(CLIENTS.map(encrypted)) {
        let site = Site::new(&text, certified(&authority)).await;
        for _ in 0..2 {
            checked(&site).await.unwrap_or_else(|unwell| panic!("{text}: {unwell}"));
        }
    }
}
