//! One request to the engine, bounded in time and in memory whatever the answer is. There is one exception: the body
//! of a refusal (a status above 299) is bounded in time alone, because bollard reads it whole before anything sees it.
//!
//! bollard connects, speaks HTTP and negotiates the API version. Its typed calls are not used, for three reasons.
//! They collect a body of any size. They fail a whole list because of one element. They lose the events behind one
//! that they cannot decode. Instead, [`aim`] points bollard's raw download at the wanted path, and this module reads
//! the body.

use std::{pin::Pin, time::Duration};

use bollard::{BollardRequest, Docker, errors::Error};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::{
    convert::{EVENT_ACTIONS, EVENT_KINDS_WANTED},
    host::EngineAddress,
    lines::{Line, Lines},
    unreachable::{Cause, version_remedy},
    wire,
};

/// How long the first answer may take. It needs nothing but a running engine.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// The pauses between attempts of a request that could not reach the engine. The engine runs, because the event
/// stream is open: it is netmon that cannot connect, for example because it has no free file descriptors. Without
/// another attempt the answer would be missing until the next full sync.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// The largest answer that is accepted. A list of 5,000 containers with long labels stays well below it.
const LARGEST: usize = 32 << 20;

/// How many bytes of the engine's text are quoted in a message.
const LONGEST_QUOTE: usize = 200;

/// The container name given to bollard's download. It never leaves this process: [`aim`] replaces it.
const NOWHERE: &str = "nowhere";

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The engine cannot be reached.
    #[error("no Docker engine answers at {host}: {reason}; {}", .cause.remedy())]
    Unreachable { host: String, reason: String, cause: Cause },
    /// The answer took too long.
    #[error("the Docker engine took more than {} s to answer {path}", .limit.as_secs())]
    Slow { path: String, limit: Duration },
    /// The engine, or a proxy in front of it, refused the request.
    #[error("the Docker engine refused {path} with status {status}: {message}")]
    Refused { path: String, status: u16, message: String },
    /// netmon and the engine have no version of the API in common.
    #[error("the Docker engine refused {path}: {message}; {remedy}")]
    Version {
        path: String,
        message: String,
        remedy: &'static str,
    },
    /// There was an answer, but not one of a Docker engine.
    #[error("the answer to {path} is not a Docker engine's: {reason}; check what listens at --docker.host")]
    Nonsense { path: String, reason: String },
    /// The stream of events ended.
    #[error("the Docker engine closed the stream of events")]
    Closed,
}

impl RequestError {
    /// Whether no later request can succeed, unless netmon is started again.
    pub(super) const fn is_stale_socket(&self) -> bool {
        matches!(
            self,
            Self::Unreachable {
                cause: Cause::Stale,
                ..
            }
        )
    }
}

/// A connection to an engine that answered.
#[derive(Clone)]
pub(super) struct Client {
    docker: Docker,
    host: EngineAddress,
    /// How long an answer may take, to its last byte.
    patience: Duration,
}

/// The stream of the engine's events.
pub(super) struct Events {
    body: Body,
    lines: Lines,
    client: Client,
}

type Body = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

impl Client {
    /// Checks that an engine answers and permits reading its events, and negotiates the API version.
    pub(super) async fn connect(host: EngineAddress, patience: Duration) -> Result<Self, RequestError> {
        let docker = Docker::connect_with_host(host.as_str()).map_err(|error| unreachable_engine(&host, &error))?;
        let mut client = Self {
            docker: docker.with_timeout(patience),
            host,
            patience,
        };
        // Read within our own limits first: bollard reads a version of any length.
        let version: wire::Version = client.get_within("/version", FIRST_PATIENCE).await?;
        let negotiation = client.docker.clone().negotiate_version();
        client.docker = tokio::time::timeout(FIRST_PATIENCE, negotiation)
            .await
            .map_err(|_| slow("/version", FIRST_PATIENCE))?
            .map_err(|error| client.explain("/version", error))?;
        tracing::debug!(
            host = %client.host,
            engine = quote(&version.api_version),
            used = %client.docker.client_version(),
            "the Docker engine answers"
        );
        // The events of the epoch's first second. There are none and the stream ends at once, but a proxy that
        // refuses events does so now.
        client.read("/events?since=1&until=1", FIRST_PATIENCE).await?;
        Ok(client)
    }

    /// Requests `path` and reads the answer. If the engine cannot be reached, tries a few more times.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RequestError> {
        for pause in PAUSES {
            match self.get_within(path, self.patience).await {
                Err(error @ RequestError::Unreachable { .. }) => tracing::debug!("{error}"),
                answer => return answer,
            }
            sleep(pause).await;
        }
        self.get_within(path, self.patience).await
    }

    /// The events since a moment, inclusive, in nanoseconds since the epoch.
    pub(super) fn events(&self, since: i64) -> Events {
        let (seconds, nanoseconds) = (since.div_euclid(1_000_000_000), since.rem_euclid(1_000_000_000));
        Events {
            body: self.open(&format!(
                "/events?since={seconds}.{nanoseconds:09}&filters={}",
                filters(&[("type", &EVENT_KINDS_WANTED[..]), ("event", &EVENT_ACTIONS[..])])
            )),
            lines: Lines::default(),
            client: self.clone(),
        }
    }

    async fn get_within<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> Result<T, RequestError> {
        let body = self.read(path, limit).await?;
        serde_json::from_slice(&body).map_err(|error| nonsense(path, &describe(&error, &body)))
    }

    async fn read(&self, path: &str, limit: Duration) -> Result<BytesMut, RequestError> {
        let mut body = self.open(path);
        let mut bytes = BytesMut::new();
        let reading = async {
            while let Some(chunk) = body.next().await {
                bytes.extend_from_slice(&chunk.map_err(|error| self.explain(path, error))?);
                if bytes.len() > LARGEST {
                    return Err(nonsense(path, &format!("it has more than {} MiB", LARGEST >> 20)));
                }
            }
            Ok(())
        };
        match tokio::time::timeout(limit, reading).await {
            Ok(read) => read.map(|()| bytes),
            Err(_) => Err(slow(path, limit)),
        }
    }

    fn open(&self, path: &str) -> Body {
        let target = path.to_owned();
        let docker = self.docker.clone();
        let docker = docker.with_request_modifier(move |request| aim(request, &target));
        Box::pin(docker.export_container(NOWHERE))
    }

    /// Converts bollard's error.
    fn explain(&self, path: &str, error: Error) -> RequestError {
        if let Error::DockerResponseServerError { status_code, message } = error {
            let (path, message) = (path.to_owned(), quote(&message));
            match version_remedy(status_code, &message) {
                Some(remedy) => RequestError::Version { path, message, remedy },
                None => RequestError::Refused {
                    path,
                    status: status_code,
                    message,
                },
            }
        } else if matches!(error, Error::RequestTimeoutError) {
            slow(path, self.patience)
        } else if matches!(
            error,
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::APIVersionParseError {}
        ) {
            nonsense(path, &root_cause(&error))
        } else {
            unreachable_engine(&self.host, &error)
        }
    }
}

impl Events {
    /// The next event, or why it cannot be decoded. In the second case the next call returns the event behind it.
    /// Safe to cancel.
    ///
    /// An error ends the stream.
    pub(super) async fn next(&mut self) -> Result<Result<wire::Event, String>, RequestError> {
        loop {
            match self.lines.next() {
                Some(Line::Whole(line)) => {
                    return Ok(serde_json::from_slice(&line).map_err(|error| describe(&error, &line)));
                }
                Some(Line::TooLong) => return Ok(Err("it is too long".to_owned())),
                None => {}
            }
            match self.body.next().await {
                Some(Ok(chunk)) => self.lines.push(&chunk),
                Some(Err(error)) => return Err(self.client.explain("/events", error)),
                None if self.lines.has_rest() => {
                    self.lines = Lines::default();
                    return Ok(Err("it ends in the middle".to_owned()));
                }
                None => return Err(RequestError::Closed),
            }
        }
    }
}

/// Points a request for the download of [`NOWHERE`] at another path. A prefix of the path stays: bollard may write
/// the API version there.
fn aim(mut request: BollardRequest, target: &str) -> BollardRequest {
    let mut parts = request.uri().clone().into_parts();
    let path = request.uri().path();
    let prefix = path
        .strip_suffix(&format!("/containers/{NOWHERE}/export"))
        .unwrap_or_default();
    parts.path_and_query = format!("{prefix}{target}").parse().ok();
    // Cannot fail, because paths consist of literals and checked ids. If it did, the engine would know no such
    // container.
    if let Ok(uri) = parts.try_into() {
        *request.uri_mut() = uri;
    }
    request
}

/// Filters for a list or for events, as a part of a path. The names and values need no escaping.
pub(super) fn filters<T: AsRef<str>>(filters: &[(&str, &[T])]) -> String {
    let quoted = |text: &str| format!("%22{text}%22");
    let filters: Vec<_> = filters
        .iter()
        .map(|(name, values)| {
            let values: Vec<_> = values.iter().map(|value| quoted(value.as_ref())).collect();
            format!("{}:%5B{}%5D", quoted(name), values.join(","))
        })
        .collect();
    format!("%7B{}%7D", filters.join(","))
}

fn unreachable_engine(host: &EngineAddress, error: &Error) -> RequestError {
    RequestError::Unreachable {
        host: host.to_string(),
        reason: root_cause(error),
        cause: Cause::of(error, host.socket()),
    }
}

fn slow(path: &str, limit: Duration) -> RequestError {
    RequestError::Slow {
        path: path.to_owned(),
        limit,
    }
}

fn nonsense(path: &str, reason: &str) -> RequestError {
    RequestError::Nonsense {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Why a text could not be decoded, and how it begins.
pub(super) fn describe(error: &serde_json::Error, text: &[u8]) -> String {
    // The error may quote a value of any length.
    let error = error.to_string();
    let error = &error[..error.floor_char_boundary(LONGEST_QUOTE)];
    let beginning = &text[..text.len().min(LONGEST_QUOTE)];
    format!(
        "{error}; it begins with \"{}\"",
        quote(&String::from_utf8_lossy(beginning))
    )
}

/// The innermost error. The outer ones carry no information.
fn root_cause(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    quote(&cause.to_string())
}

/// Text from outside, shortened and on one line.
fn quote(text: &str) -> String {
    let text = text.trim();
    let short = &text[..text.floor_char_boundary(LONGEST_QUOTE)];
    short.chars().flat_map(char::escape_debug).collect()
}
