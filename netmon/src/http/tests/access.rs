//! Access rules and encryption, over real sockets and with certificates made here.

mod guessers;
mod health;

use std::{fs, path::PathBuf, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Access, Fake, Options, Running, options, start_with, status};

/// The lowest cost that bcrypt permits.
const COST: u32 = 4;

/// A folder with a web configuration, and a server that uses it.
struct Site {
    folder: TempDir,
    access: Arc<Access>,
    server: Running,
}

impl Site {
    /// `prepare` writes the files that the configuration names.
    async fn new(text: &str, prepare: impl FnOnce(&TempDir)) -> Self {
        Self::of(Fake::default(), text, prepare).await
    }

    /// The same, with these pages.
    async fn of(fake: Fake, text: &str, prepare: impl FnOnce(&TempDir)) -> Self {
        let folder = TempDir::new().expect("a folder");
        prepare(&folder);
        fs::write(folder.path().join("web.yml"), text).expect("written");
        let access = Access::read(Some(folder.path().join("web.yml"))).expect("rules");
        let access = Arc::new(access);
        let options = Options {
            access: Arc::clone(&access),
            ..options("127.0.0.1:0", 40)
        };
        let server = start_with(fake, options).await;
        Self { folder, access, server }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn rewrite(&self, text: &str) {
        fs::write(self.file("web.yml"), text).expect("written");
        self.access.look_now();
    }

    async fn status_for(&self, user: &str, password: &str) -> String {
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let answer = self
            .server
            .get("/metrics", &format!("Authorization: Basic {credentials}\r\n"))
            .await;
        status(&answer).to_owned()
    }
}

fn users(list: &[(&str, &str)]) -> String {
    let lines = list.iter().map(|(user, password)| {
        let hash = bcrypt::hash(password, COST).expect("a hash");
        format!("  {user}: {hash}\n")
    });
    format!("basic_auth_users:\n{}", lines.collect::<String>())
}

#[tokio::test]
async fn only_who_knows_the_password_gets_a_page() {
    let long = "x".repeat(72);
    let site = Site::new(&users(&[("alice", "open sesame"), ("bob", &long)]), |_| {}).await;
    for (user, password, wanted) in [
        ("alice", "open sesame", "200"),
        ("alice", "open sesame", "200"),
        ("alice", "open says me", "401"),
        ("alice", "", "401"),
        ("bob", "open sesame", "401"),
        ("bob", &long, "200"),
        ("bob", &format!("{long}y"), "401"),
        ("mallory", "open sesame", "401"),
        ("", "", "401"),
    ] {
        assert_eq!(site.status_for(user, password).await, wanted, "{user}:{password}");
    }
    for header in [
        "",
        "Authorization: Basic\r\n",
        "Authorization: Basic !!!\r\n",
        "Authorization: Basic YWxpY2U=\r\n",
        "Authorization: Bearer YWxpY2U6b3BlbiBzZXNhbWU=\r\n",
    ] {
        for path in ["/metrics", "/", "/-/ready", "/nowhere"] {
            let answer = site.server.get(path, header).await;
            assert_eq!(status(&answer), "401", "{path} {header}");
            assert!(answer.contains("www-authenticate: Basic"), "{answer}");
        }
    }
}

#[tokio::test]
async fn the_file_is_read_again_when_it_changes() {
    let site = Site::new(&users(&[("alice", "one")]), |_| {}).await;
    assert_eq!(site.status_for("alice", "one").await, "200");
    site.rewrite(&users(&[("alice", "two")]));
    assert_eq!(site.status_for("alice", "one").await, "401");
    assert_eq!(site.status_for("alice", "two").await, "200");
    assert_eq!(site.access.is_current(), Some(true));
    // An invalid configuration permits no access.
    site.rewrite("basic_auth_users: {alice: two}\n");
    assert_eq!(site.status_for("nobody", "").await, "401");
    assert_eq!(site.status_for("alice", "two").await, "200");
    assert_eq!(site.access.is_current(), Some(false));
    fs::remove_file(site.file("web.yml")).expect("removed");
    site.access.look_now();
    assert_eq!(site.status_for("nobody", "").await, "401");
    site.rewrite("");
    assert_eq!(site.status_for("nobody", "").await, "200");
    assert_eq!(site.access.is_current(), Some(true));
}

#[tokio::test]
async fn more_requests_than_the_limit_are_turned_away() {
    let site = Site::new("rate_limit: {interval: 1h, burst: 2}\n", |_| {}).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(status(&site.server.get("/-/healthy", "").await).to_owned());
    }
    assert_eq!(statuses, ["200", "200", "429", "429"]);
}

#[tokio::test]
async fn every_answer_has_the_headers() {
    let text = "http_server_config: {headers: {X-Content-Type-Options: nosniff}}\n";
    let site = Site::new(text, |_| {}).await;
    for path in ["/metrics", "/nowhere"] {
        let answer = site.server.get(path, "").await;
        assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
    }
}

/// A certificate authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = parameters.self_signed(&key).expect("a certificate").pem();
        Self {
            pem,
            issuer: Issuer::new(parameters, key),
        }
    }

    /// A certificate for a name, and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// Writes the server's certificate and key, and the authority's certificate.
fn certified(authority: &Authority) -> impl FnOnce(&TempDir) {
    let (certificate, key) = authority.sign("localhost");
    let pem = authority.pem.clone();
    move |folder| {
        for (name, text) in [("cert.pem", certificate), ("key.pem", key), ("ca.pem", pem)] {
            fs::write(folder.path().join(name), text).expect("written");
        }
    }
}

/// The status of the metrics page over TLS, or the error.
async fn fetch(site: &Site, authority: &Authority, own: Option<(String, String)>) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("a certificate");
    roots.add(certificate).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
            builder
                .with_client_auth_cert(vec![certificate], key)
                .expect("they match")
        }
    };
    let talk = async {
        let stream = TcpStream::connect(site.server.address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = talk.await.map_err(|error| error.to_string())?;
    if answer.is_empty() {
        return Err("closed without an answer".to_owned());
    }
    Ok(status(&answer).to_owned())
}

#[tokio::test]
async fn pages_come_encrypted_and_not_in_the_clear() {
    let authority = Authority::new();
    let text = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n";
    let site = Site::new(text, certified(&authority)).await;
    assert_eq!(fetch(&site, &authority, None).await.as_deref(), Ok("200"));
    // A client without TLS gets no page.
    let mut plain = TcpStream::connect(site.server.address).await.expect("a connection");
    plain
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = Vec::new();
    let _ended = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    // A renewed certificate, of another authority, is loaded.
    let renewed = Authority::new();
    certified(&renewed)(&site.folder);
    site.access.look_now();
    assert_eq!(fetch(&site, &renewed, None).await.as_deref(), Ok("200"));
    assert!(fetch(&site, &authority, None).await.is_err());
}

#[tokio::test]
async fn a_file_that_comes_after_the_one_that_names_it_is_taken_up() {
    let site = Site::new(&users(&[("alice", "one")]), |_| {}).await;
    site.rewrite("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n");
    assert_eq!(site.status_for("alice", "one").await, "200");
    assert_eq!(site.access.is_current(), Some(false));
    let authority = Authority::new();
    certified(&authority)(&site.folder);
    site.access.look_now();
    assert_eq!(fetch(&site, &authority, None).await.as_deref(), Ok("200"));
    assert_eq!(site.access.is_current(), Some(true));
}

#[tokio::test]
async fn a_client_without_the_right_certificate_is_turned_away() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let text = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  client_ca_file: ca.pem\n  \
                client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [prometheus.example]\n";
    let site = Site::new(text, certified(&authority)).await;
    let own = authority.sign("prometheus.example");
    assert_eq!(fetch(&site, &authority, Some(own)).await.as_deref(), Ok("200"));
    for certificate in [
        None,
        Some(authority.sign("somebody.example")),
        Some(stranger.sign("prometheus.example")),
    ] {
        let outcome = fetch(&site, &authority, certificate).await;
        assert!(outcome.is_err(), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_need_not_be_there_is_checked_if_it_is() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let text = "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: ca.pem, \
                client_auth_type: VerifyClientCertIfGiven, min_version: TLS13}\n";
    let site = Site::new(text, certified(&authority)).await;
    for certificate in [None, Some(authority.sign("prometheus.example"))] {
        assert_eq!(fetch(&site, &authority, certificate).await.as_deref(), Ok("200"));
    }
    let outcome = fetch(&site, &authority, Some(stranger.sign("prometheus.example"))).await;
    assert!(outcome.is_err(), "{outcome:?}");
}
