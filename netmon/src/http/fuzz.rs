//! Fuzz targets for the code that reads requests. See [`crate::fuzzing`].

use std::{
    cell::OnceCell,
    io::Read as _,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, LazyLock},
    time::Instant,
};

use flate2::read::GzDecoder;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
    runtime::Runtime,
    task::yield_now,
};

pub(crate) use super::access::fuzz::{certificate, web_config};
use super::{
    Access, Options, Pages, Rendered, accept,
    access::fuzz::authorization,
    address::{Listen, reachable},
    clients::Clients,
    converse,
    rendered::Fixed,
    respond::Site,
};
use crate::model::format::Format;

/// After how many turns without activity nothing more will happen.
const QUIET: usize = 8;
/// More than the answers to all requests in one input.
const ROOM: usize = 4 << 20;

/// More than the number of threads that fuzz at the same time.
const SEATS: usize = 64;

/// A page with known content.
struct Page;

const OPEN_METRICS: &str = "# TYPE a gauge\na 1\n# EOF\n";
const TEXT: &str = "# TYPE a gauge\na 1\n";

impl Pages for Page {
    fn scrape(&self) -> Result<Arc<Rendered>, String> {
        Ok(Arc::new(Rendered::new(Fixed(TEXT.to_owned()))))
    }

    fn findings(&self) -> String {
        "{}".to_owned()
    }

    fn sentences(&self) -> Vec<String> {
        vec!["forwarding: <b> & \"c\"".to_owned()]
    }

    fn healthy(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        Err("one thing is missing".to_owned())
    }
}

/// Header values, one on each line: the accepted formats and the credentials.
pub(crate) fn headers(data: &[u8]) {
    data.split(|byte| *byte == b'\n').for_each(authorization);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines: Vec<&str> = text.lines().collect();
    let lower = text.to_ascii_lowercase();
    let format = accept::format(lines.iter().copied());
    let gzip = accept::gzip(lines.iter().copied());

    assert_eq!(accept::format(lower.lines()), format, "upper case has a meaning");
    assert_eq!(accept::gzip(lower.lines()), gzip, "upper case has a meaning");
    // Several headers of one name form a single list.
    let joined = lines.join(",");
    assert_eq!(accept::format([joined.as_str()]), format);
    assert_eq!(accept::gzip([joined.as_str()]), gzip);
    if format == Format::OpenMetrics {
        assert!(lower.contains("application/openmetrics-text"), "nobody asked for it");
    }
    // The checks below hold only for the plain grammar: no quoted text, and one weight for each item.
    if lower.bytes().any(|byte| byte == b'"') {
        return;
    }
    let items: Vec<(String, bool)> = lower
        .split(['\n', ','])
        .map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_owned();
            let forbidden = parts
                .filter_map(|part| part.strip_prefix("q="))
                .next_back()
                .is_some_and(|weight| {
                    weight.starts_with('0') && weight.bytes().all(|byte| matches!(byte, b'0' | b'.'))
                });
            (name, forbidden)
        })
        .collect();
    let named = |names: &[&str]| items.iter().filter(|(name, _)| names.contains(&name.as_str())).count();
    let forbidden = |names: &[&str]| {
        items
            .iter()
            .filter(|(name, no)| *no && names.contains(&name.as_str()))
            .count()
    };
    if gzip {
        let codings = ["gzip", "x-gzip"];
        assert!(named(&["gzip", "x-gzip", "*"]) > 0, "nobody asked for it");
        assert!(
            named(&codings) == 0 || forbidden(&codings) < named(&codings),
            "the client forbids it"
        );
        assert!(
            named(&codings) > 0 || forbidden(&["*"]) < named(&["*"]),
            "the client forbids it"
        );
    }
}

/// All bytes that a client sends.
pub(crate) fn request(data: &[u8]) {
    thread_local! {
        static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    }
    RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().max_blocking_threads(1);
            builder.build().expect("a runtime")
        });
        let answers = runtime.block_on(ask(data));
        check(data, &answers);
    });
}

/// All bytes that the server answers.
async fn ask(data: &[u8]) -> Vec<u8> {
    static CLIENTS: LazyLock<Arc<Clients>> = LazyLock::new(|| Arc::new(Clients::new(SEATS)));
    static SITE: LazyLock<Arc<Site>> = LazyLock::new(|| {
        let options = Options {
            listen: Vec::new(),
            telemetry_path: "/metrics".to_owned(),
            max_requests: 1,
            compresses: true,
            version: "0",
            access: Arc::new(Access::read(None).expect("no rules")),
        };
        Arc::new(Site::new(options, Arc::clone(&CLIENTS)))
    });

    let (mut client, server) = duplex(ROOM);
    let connection = CLIENTS.connection(IpAddr::V4(Ipv4Addr::LOCALHOST), Instant::now());
    let connection = Arc::new(connection.expect("nobody else is there"));
    let conversation = tokio::spawn(converse(
        Box::new(server),
        Arc::clone(&SITE),
        Arc::new(Page),
        &connection,
    ));
    client.write_all(data).await.expect("a connection takes what fits");
    // Pages are made on another thread. While one is being made, more output follows.
    let mut quiet = 0;
    while quiet < QUIET && !conversation.is_finished() {
        yield_now().await;
        quiet = if SITE.is_busy() { 0 } else { quiet + 1 };
    }
    let mut answers = Vec::new();
    client.shutdown().await.expect("a connection can be closed");
    // An error here only means that the connection ended early, which is fine.
    let _: Result<_, hyper::Error> = conversation.await.expect("no panic");
    client
        .read_to_end(&mut answers)
        .await
        .expect("a connection can be read");
    answers
}

/// Checks that the first answer is one that netmon gives.
fn check(data: &[u8], answers: &[u8]) {
    if answers.is_empty() {
        return;
    }
    let about = || format!("the answer is \"{}\"", answers.escape_ascii());
    let end = answers.windows(4).position(|it| it == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head ends; {}", about())) + 4;
    let (head, body) = answers.split_at(end);
    let head = std::str::from_utf8(head)
        .unwrap_or_else(|_| panic!("{}", about()))
        .to_ascii_lowercase();
    let mut words = head.split(' ');
    let version = words.next().unwrap_or_default();
    assert!(matches!(version, "http/1.1" | "http/1.0"), "{}", about());
    let status = words.next().unwrap_or_default();
    assert!(
        matches!(status, "100" | "200" | "400" | "404" | "405" | "414" | "431" | "503"),
        "{}",
        about()
    );
    let sent = String::from_utf8_lossy(data).to_ascii_lowercase();
    if head.contains("content-encoding: gzip") {
        assert!(sent.contains("gzip") || sent.contains('*'), "{}", about());
        let mut page = String::new();
        let read = GzDecoder::new(body).read_to_string(&mut page);
        // The answer to a HEAD has no body.
        assert!(
            body.is_empty() || read.is_err() || matches!(page.as_str(), OPEN_METRICS | TEXT),
            "{}",
            about()
        );
    }
    if head.contains("openmetrics") {
        assert!(sent.contains("openmetrics"), "nobody asked for it: {}", about());
    }
}

/// The addresses to listen on, and those to connect to.
pub(crate) fn addresses(text: &str) {
    if let Some(Listen::At(address)) = Listen::parse(text) {
        assert_eq!(address, text);
    }
    if let Ok(address) = text.parse() {
        for reached in reachable(address) {
            assert!(!reached.ip().is_unspecified() && reached.port() == address.port());
        }
    }
}
