//! The server, over real sockets on loopback.

mod access;

use std::{
    io::Read as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
};

use super::rendered::Fixed;
use super::{Access, HttpError, Options, Pages, Rendered, Server, supervise};

/// Pages that a test controls.
#[derive(Default)]
struct Fake {
    ready: AtomicBool,
    /// A scrape waits until it receives a message, or until the sender is dropped.
    gate: std::sync::Mutex<Option<mpsc::Receiver<()>>>,
    fails: bool,
    /// How often its page says the same.
    repeated: usize,
    /// The reason why it is unhealthy.
    unhealthy: Option<&'static str>,
}

impl Pages for Fake {
    fn scrape(&self) -> Result<Arc<Rendered>, String> {
        if let Ok(gate) = self.gate.lock()
            && let Some(gate) = gate.as_ref()
        {
            let _opened = gate.recv();
        }
        if self.fails {
            Err("the kernel is away".to_owned())
        } else {
            let page = "a 1\n".repeat(self.repeated.max(1));
            Ok(Arc::new(Rendered::new(Fixed(page))))
        }
    }

    fn findings(&self) -> String {
        "{}".to_owned()
    }

    fn sentences(&self) -> Vec<String> {
        vec!["forwarding: <b> & \"c\"".to_owned()]
    }

    fn healthy(&self) -> Result<(), String> {
        self.unhealthy.map_or(Ok(()), |reason| Err(reason.to_owned()))
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("the engine has not answered yet".to_owned())
        }
    }
}

struct Running {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), HttpError>>,
}

/// The options of a test server: at that address, without access rules.
fn options(listen: &str, max_requests: usize) -> Options {
    Options {
        listen: vec![listen.to_owned()],
        telemetry_path: "/metrics".to_owned(),
        max_requests,
        compresses: true,
        version: "1.2.3",
        access: Arc::new(Access::read(None).expect("nothing to read")),
    }
}

async fn start(fake: Fake, max_requests: usize) -> Running {
    start_with(fake, options("127.0.0.1:0", max_requests)).await
}

async fn start_with(fake: Fake, options: Options) -> Running {
    let server = Server::bind(options).await.expect("a port");
    let address = server.addresses()[0];
    let (end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(Arc::new(fake), async move {
        let _told = ended.await;
    }));
    Running { address, end, serving }
}

impl Running {
    /// Sends bytes and reads until the server closes.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        self.exchange(&format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
        ))
        .await
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[tokio::test]
async fn metrics_come_as_openmetrics_to_those_who_ask_and_as_text_to_others() {
    let server = start(Fake::default(), 40).await;
    let answer = server.get("/metrics", "Accept: application/openmetrics-text\r\n").await;
    assert!(
        answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{answer}"
    );
    assert_eq!(body(&answer), "a 1\n# EOF\n");
    let answer = server.get("/metrics", "").await;
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{answer}"
    );
    assert!(answer.contains("vary: Accept, Accept-Encoding"), "{answer}");
    assert_eq!(body(&answer), "a 1\n");
}

#[tokio::test]
async fn head_has_the_same_headers_and_no_body() {
    let server = start(Fake::default(), 40).await;
    let answer = server
        .exchange("HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("content-length: 4"), "{answer}");
    assert_eq!(body(&answer), "");
}

#[tokio::test]
async fn a_page_is_compressed_for_those_who_take_it() {
    let server = start(Fake::default(), 40).await;
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let head_end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .expect("a head")
        + 4;
    assert!(String::from_utf8_lossy(&answer[..head_end]).contains("content-encoding: gzip"));
    let mut page = String::new();
    flate2::read::GzDecoder::new(&answer[head_end..])
        .read_to_string(&mut page)
        .expect("gzip");
    assert_eq!(page, "a 1\n");
}

#[tokio::test]
async fn nothing_is_compressed_if_the_operator_does_not_want_it() {
    let options = Options {
        compresses: false,
        ..options("127.0.0.1:0", 40)
    };
    let server = start_with(Fake::default(), options).await;
    let answer = server.get("/metrics", "Accept-Encoding: gzip\r\n").await;
    assert!(!answer.contains("content-encoding"), "{answer}");
    assert_eq!(body(&answer), "a 1\n");
}

#[tokio::test]
async fn other_pages_say_what_they_should() {
    let server = start(Fake::default(), 40).await;
    let landing = server.get("/", "").await;
    assert!(
        landing.contains("1.2.3") && landing.contains("href=\"/metrics\""),
        "{landing}"
    );
    assert_eq!(status(&server.get("/-/healthy", "").await), "200");
    let answer = server.get("/-/ready", "").await;
    assert_eq!(status(&answer), "503");
    assert!(body(&answer).contains("the engine has not answered yet"), "{answer}");
    assert_eq!(status(&server.get("/nowhere", "").await), "404");
    let answer = server
        .exchange("POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(status(&answer), "405");
    assert!(answer.contains("allow: GET, HEAD"), "{answer}");
}

#[tokio::test]
async fn readiness_comes() {
    let server = start(
        Fake {
            ready: AtomicBool::new(true),
            ..Fake::default()
        },
        40,
    )
    .await;
    assert_eq!(status(&server.get("/-/ready", "").await), "200");
}

#[tokio::test]
async fn a_failed_scrape_says_why() {
    let server = start(
        Fake {
            fails: true,
            ..Fake::default()
        },
        40,
    )
    .await;
    let answer = server.get("/metrics", "").await;
    assert_eq!(status(&answer), "500");
    assert!(body(&answer).contains("the kernel is away"), "{answer}");
}

#[tokio::test]
async fn more_scrapes_than_allowed_are_turned_away() {
    let (open, gate) = mpsc::channel();
    let server = start(
        Fake {
            gate: std::sync::Mutex::new(Some(gate)),
            ..Fake::default()
        },
        1,
    )
    .await;
    let first = server.get("/metrics", "");
    let second = async {
        // The first scrape holds the only slot until the gate opens.
        loop {
            let answer = tokio::time::timeout(Duration::from_millis(200), server.get("/metrics", "")).await;
            if let Ok(answer) = answer {
                drop(open);
                return answer;
            }
        }
    };
    let (first, second) = tokio::join!(first, second);
    let mut statuses = [status(&first), status(&second)];
    statuses.sort_unstable();
    assert_eq!(statuses, ["200", "503"]);
    assert!(first.contains("retry-after") || second.contains("retry-after"));
}

/// The page is not copied for a client, and counts as long as it is held.
#[tokio::test]
async fn a_client_that_does_not_read_its_page_holds_its_place() {
    let large = Fake {
        // More than the kernel's buffers take.
        repeated: 8 << 20,
        ..Fake::default()
    };
    let server = start(large, 1).await;
    let mut slow = TcpStream::connect(server.address).await.expect("a connection");
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    slow.write_all(request).await.expect("sent");
    let mut answer = vec![0; 4096];
    let read = slow.read(&mut answer).await.expect("the beginning of an answer");
    assert_eq!(status(&server.get("/metrics", "").await), "503");
    answer.truncate(read);
    slow.read_to_end(&mut answer).await.expect("the rest of it");
    let answer = String::from_utf8_lossy(&answer);
    assert!(body(&answer).len() == 32 << 20, "{} bytes", body(&answer).len());
    assert_eq!(status(&server.get("/metrics", "").await), "200");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let server = start(Fake::default(), 40).await;
    let answer = server
        .get("/metrics", &format!("X-Long: {}\r\n", "x".repeat(64 << 10)))
        .await;
    assert_eq!(status(&answer), "431", "{answer}");
}

#[tokio::test]
async fn rubbish_is_refused() {
    let server = start(Fake::default(), 40).await;
    assert_eq!(
        status(&server.exchange("\x16\x03\x01 this is no HTTP\r\n\r\n").await),
        "400"
    );
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let server = start(Fake::default(), 40).await;
    let error = Server::bind(options(&server.address.to_string(), 0))
        .await
        .expect_err("taken");
    assert!(matches!(error, HttpError::Listen { .. }));
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
}

#[tokio::test]
async fn a_bad_address_is_an_error_that_names_it() {
    for address in [":http", ":99999", "nowhere", ""] {
        let error = Server::bind(options(address, 0)).await.expect_err("refused");
        assert!(
            matches!(&error, HttpError::Address { address: named } if named == address),
            "{address}: {error}"
        );
    }
}

#[tokio::test]
async fn ending_closes_idle_connections_and_returns() {
    let server = start(Fake::default(), 40).await;
    let mut idle = TcpStream::connect(server.address).await.expect("a connection");
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = [0; 512];
    assert!(idle.read(&mut answer).await.expect("an answer") > 0);
    server.end.send(()).expect("still serving");
    server.serving.await.expect("no panic").expect("as asked");
    assert_eq!(idle.read(&mut answer).await.expect("closed in order"), 0);
}

#[tokio::test]
async fn a_listener_that_ends_by_itself_ends_the_others_and_is_reported() {
    for panics in [true, false] {
        let (end, mut ended) = watch::channel(());
        let (told, is_told) = oneshot::channel();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let _asked = ended.changed().await;
            let _told = told.send(());
        });
        accepting.spawn(async move { assert!(!panics, "it had enough") });
        let error = supervise(accepting, end, std::future::pending())
            .await
            .expect_err("one ended");
        assert!(matches!(error, HttpError::Ended { .. }));
        let said = if panics { "it had enough" } else { "ended by itself" };
        assert!(error.to_string().contains(said), "{error}");
        is_told.await.expect("the other one was asked to end");
    }
}
