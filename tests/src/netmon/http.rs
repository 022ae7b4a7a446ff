//! One HTTP request and its answer, without a client library: a test sends what no library would. Must not know who
//! answers.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;

use crate::{netns, patience::slowness};

/// How long the answer to a request may take.
fn patience() -> Duration {
    Duration::from_secs(10) * slowness()
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// The bytes after the headers.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Like [`get`], from within a namespace if one is given.
///
/// # Errors
/// As [`get`].
pub fn get_in(netns: Option<&Path>, address: SocketAddr, request: &str) -> anyhow::Result<Answer> {
    match netns {
        Some(path) => netns::within(path, || get(address, request)),
        None => get(address, request),
    }
}

/// Sends the request to a server, and reads the answer to its end.
///
/// # Errors
/// The server does not answer, or not in HTTP.
pub fn get(address: SocketAddr, request: &str) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, patience()).context("it cannot be reached")?;
    stream.set_read_timeout(Some(patience()))?;
    stream.write_all(request.as_bytes()).context("it takes no request")?;
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .with_context(|| format!("no whole answer within {:?}", patience()))?;
    let end = bytes
        .windows(4)
        .position(|it| it == b"\r\n\r\n")
        .context("the answer has no head")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|it| it.parse().ok())
        .with_context(|| format!("no status: {head}"))?;
    let mut body = bytes.split_off(end + 4);
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = unchunk(&body)?;
    }
    Ok(Answer { status, head, body })
}

fn unchunk(mut bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes
            .windows(2)
            .position(|it| it == b"\r\n")
            .context("a chunk without a size")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end])?.trim(), 16)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend(bytes.get(end + 2..end + 2 + size).context("a chunk was cut")?);
        bytes = bytes.get(end + 4 + size..).context("a chunk without an end")?;
    }
}
