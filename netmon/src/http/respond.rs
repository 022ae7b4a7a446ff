//! Turns a request into an answer.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tracing::error;

use super::{
    Access, Options, Pages, accept,
    access::{Conversation, Rules, Verdict},
    body::Body,
    clients::{Clients, Connection, Reason},
};

/// A request. Only its head is read.
pub(super) type Request = hyper::Request<Incoming>;

/// When a client that was turned away should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long to wait for the slot of a client that was just disconnected.
const PLACE_TIMEOUT: Duration = Duration::from_secs(1);

const HEALTHY: &str = "/-/healthy";
/// What is wrong, as JSON.
pub const FINDINGS: &str = "/api/v1/findings";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// The pages, and the limit of concurrent scrapes.
#[derive(Debug)]
pub(super) struct Site {
    telemetry_path: String,
    compresses: bool,
    version: &'static str,
    scrapes: Arc<Semaphore>,
    clients: Arc<Clients>,
    access: Arc<Access>,
}

impl Site {
    pub(super) fn new(options: Options, clients: Arc<Clients>) -> Self {
        let Options {
            listen: _,
            telemetry_path,
            max_requests,
            compresses,
            version,
            access,
        } = options;
        let permits = if max_requests == 0 {
            Semaphore::MAX_PERMITS
        } else {
            max_requests
        };
        Self {
            telemetry_path,
            compresses,
            version,
            scrapes: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            clients,
            access,
        }
    }

    /// The rules in force.
    async fn rules(&self) -> Arc<Rules> {
        Access::rules(&self.access).await
    }

    /// Begins a client's conversation, by the rules in force.
    pub(super) async fn agree(&self, stream: TcpStream) -> io::Result<Conversation> {
        self.rules().await.agree(stream).await
    }

    /// Whether a page is being made.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn is_busy(&self) -> bool {
        self.scrapes.available_permits() == 0
    }

    pub(super) async fn respond<P: Pages>(
        &self,
        request: &Request,
        pages: &Arc<P>,
        connection: &Arc<Connection>,
    ) -> Response<Full<Body>> {
        // Answered without authentication, because the local health check has no password.
        if request.uri().path() == HEALTHY
            && let Err(reason) = pages.healthy()
        {
            return verdict("healthy", Err(reason));
        }
        let rules = self.rules().await;
        // A client may be disconnected while it waits for this decision. Otherwise clients that guess passwords would
        // fill all connections and wait for one another.
        let verdict = rules.judge(request.headers(), connection.address()).await;
        let mut response = connection
            .while_busy(self.welcome(verdict, request, pages, connection))
            .await;
        response.headers_mut().extend(rules.headers());
        response
    }

    async fn welcome<P: Pages>(
        &self,
        verdict: Verdict,
        request: &Request,
        pages: &Arc<P>,
        connection: &Arc<Connection>,
    ) -> Response<Full<Body>> {
        match verdict {
            Verdict::Welcome => self.page(request, pages, connection).await,
            Verdict::Unknown => with(
                plain(
                    StatusCode::UNAUTHORIZED,
                    "Authentication required: send a user and a password.\n",
                ),
                header::WWW_AUTHENTICATE,
                "Basic",
            ),
            Verdict::TooMany => with(
                plain(StatusCode::TOO_MANY_REQUESTS, "Too many requests; see rate_limit.\n"),
                header::RETRY_AFTER,
                &RETRY_AFTER.as_secs().to_string(),
            ),
        }
    }

    async fn page<P: Pages>(
        &self,
        request: &Request,
        pages: &Arc<P>,
        connection: &Arc<Connection>,
    ) -> Response<Full<Body>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let answer = plain(StatusCode::METHOD_NOT_ALLOWED, "netmon only answers GET and HEAD.\n");
            return with(answer, header::ALLOW, "GET, HEAD");
        }
        match request.uri().path() {
            path if path == self.telemetry_path => self.metrics(request, pages, connection).await,
            "/" => answer(StatusCode::OK, HTML, self.landing_page(&pages.sentences())),
            FINDINGS => answer(StatusCode::OK, JSON, pages.findings()),
            HEALTHY => verdict("healthy", pages.healthy()),
            "/-/ready" => verdict("ready", pages.ready()),
            _ => plain(StatusCode::NOT_FOUND, "There is no such page; / has a list.\n"),
        }
    }

    /// A scrape slot, which stays in use until the client has received the page. If none is free, a client that is
    /// too slow is disconnected.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.scrapes).try_acquire_owned() {
            return Some(permit);
        }
        if self.clients.dismiss_slowest(Instant::now())
            && let Ok(Ok(permit)) = timeout(PLACE_TIMEOUT, Arc::clone(&self.scrapes).acquire_owned()).await
        {
            return Some(permit);
        }
        self.clients.turn_away(Reason::Scrapes);
        None
    }

    async fn metrics<P: Pages>(
        &self,
        request: &Request,
        pages: &Arc<P>,
        connection: &Arc<Connection>,
    ) -> Response<Full<Body>> {
        let Some(permit) = self.place().await else {
            let answer = plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many scrapes at once; see --web.max-requests.\n",
            );
            return with(answer, header::RETRY_AFTER, &RETRY_AFTER.as_secs().to_string());
        };
        let format = accept::format(values(request, &header::ACCEPT));
        let gzip = self.compresses && accept::gzip(values(request, &header::ACCEPT_ENCODING));
        let pages = Arc::clone(pages);
        let connection = Arc::clone(connection);
        let page = tokio::task::spawn_blocking(move || {
            let page = pages.scrape()?;
            let page = page.get(format, gzip).map_err(|error| error.to_string())?;
            Ok(Body::page(page, connection.receives(permit)))
        });
        let page = page.await.unwrap_or_else(|panic| Err(panic.to_string()));
        match page {
            Ok(page) => {
                let mut answer = answer(StatusCode::OK, format.content_type(), page);
                if gzip {
                    answer = with(answer, header::CONTENT_ENCODING, "gzip");
                }
                with(answer, header::VARY, "Accept, Accept-Encoding")
            }
            Err(reason) => {
                error!(reason, "scrape failed");
                plain(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    format!("The scrape failed: {reason}.\n"),
                )
            }
        }
    }

    fn landing_page(&self, sentences: &[String]) -> String {
        let Self {
            telemetry_path,
            compresses: _,
            version,
            scrapes: _,
            clients: _,
            access: _,
        } = self;
        let path = escaped(telemetry_path);
        let items = sentences
            .iter()
            .map(|sentence| ["<li>", &escaped(sentence), "</li>\n"].concat());
        let items = items.collect::<String>();
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>netmon</title></head>\n<body>\n\
             <h1>netmon {version}</h1>\n<p>Container network telemetry for Docker Swarm, counted in the kernel.</p>\n\
             <ul>\n<li><a href=\"{path}\">Metrics</a></li>\n<li><a href=\"{FINDINGS}\">Findings</a></li>\n\
             <li><a href=\"/-/ready\">Ready?</a></li>\n<li><a href=\"/-/healthy\">Healthy?</a></li>\n</ul>\n\
             <h2>Findings</h2>\n<ul>\n{items}</ul>\n</body></html>\n"
        )
    }
}

/// A text as it is written in HTML. Names come from outside.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn values<'a>(request: &'a Request, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    request
        .headers()
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
}

/// The answer about one of netmon's states.
fn verdict(what: &str, verdict: Result<(), String>) -> Response<Full<Body>> {
    match verdict {
        Ok(()) => plain(StatusCode::OK, format!("netmon is {what}.\n")),
        Err(reason) => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("netmon is not {what}: {reason}.\n"),
        ),
    }
}

fn plain(status: StatusCode, text: impl Into<Body>) -> Response<Full<Body>> {
    answer(status, TEXT, text)
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Full<Body>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn with(mut response: Response<Full<Body>>, name: HeaderName, value: &str) -> Response<Full<Body>> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
