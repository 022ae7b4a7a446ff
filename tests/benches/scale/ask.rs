//! Asks an exporter for its page as Prometheus does: compressed, by a connection that stays as long as the exporter
//! keeps it. Must not know whose page it is.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use flate2::read::GzDecoder;
use netmon_tests::{netns, patience::slowness};

/// What Prometheus 2.49 to 2.55 accept.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;q=0.5,\
                      application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to an exporter.
pub(crate) struct Client {
    netns: Option<PathBuf>,
    address: SocketAddr,
    stream: BufReader<TcpStream>,
    request: String,
    is_compressed: bool,
}

/// An exporter's answer, as it was sent.
pub(crate) struct Answer {
    body: Vec<u8>,
    is_compressed: bool,
}

impl Client {
    /// Connects from the network namespace of that file, or from the benchmark's own.
    pub(crate) fn connect(netns: Option<&Path>, address: SocketAddr, is_compressed: bool) -> anyhow::Result<Self> {
        let encoding = if is_compressed { "gzip" } else { "identity" };
        Ok(Self {
            stream: stream(netns, address)?,
            netns: netns.map(Path::to_path_buf),
            address,
            request: format!(
                "GET /metrics HTTP/1.1\r\nHost: {address}\r\nUser-Agent: Prometheus/2.53.0\r\nAccept: {ACCEPT}\r\n\
                 Accept-Encoding: {encoding}\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n"
            ),
            is_compressed,
        })
    }

    /// Asks for the page, and reads it to its end. Does not unpack it.
    pub(crate) fn ask(&mut self) -> anyhow::Result<Answer> {
        let status = if let Some(status) = self.begin()? {
            status
        } else {
            // Exporters close a connection that was idle for a while, and clients connect again.
            self.stream = stream(self.netns.as_deref(), self.address)?;
            self.begin()?
                .context("the exporter closes connections, and does not answer")?
        };
        ensure!(
            status.split_whitespace().nth(1) == Some("200"),
            "the answer is {status}"
        );
        let (mut length, mut is_chunked, mut is_compressed) = (None, false, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = Some(value.parse()?),
                Some(("transfer-encoding", value)) => is_chunked = value == "chunked",
                Some(("content-encoding", value)) => is_compressed = value == "gzip",
                Some(_) => {}
                None if line.is_empty() => break,
                None => anyhow::bail!("a header of {line:?}"),
            }
        }
        ensure!(
            is_compressed == self.is_compressed,
            "whether the page is compressed is not what was asked for"
        );
        let mut body = Vec::new();
        if is_chunked {
            while self.chunk(&mut body)? {}
        } else {
            body.resize(length.context("an answer without a length")?, 0);
            self.stream.read_exact(&mut body)?;
        }
        Ok(Answer { body, is_compressed })
    }

    /// Sends the request, and reads the first line of the answer. `None` if the exporter has closed the connection.
    fn begin(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = String::new();
        let sent = self.stream.get_mut().write_all(self.request.as_bytes());
        match sent.and_then(|()| self.stream.read_line(&mut line)) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line.trim_end().to_owned())),
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a chunk, with the line after it. Returns whether there is another one.
    fn chunk(&mut self, body: &mut Vec<u8>) -> anyhow::Result<bool> {
        let line = self.line()?;
        let size = usize::from_str_radix(&line, 16).with_context(|| format!("a chunk of {line:?}"))?;
        let begin = body.len();
        body.resize(begin + size, 0);
        self.stream.read_exact(&mut body[begin..])?;
        self.line()?;
        Ok(size > 0)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(
            self.stream.read_line(&mut line)? > 0,
            "the connection was closed before the answer's end"
        );
        Ok(line.trim_end().to_owned())
    }
}

fn stream(netns: Option<&Path>, address: SocketAddr) -> anyhow::Result<BufReader<TcpStream>> {
    let connect = || Ok(TcpStream::connect(address)?);
    let stream = match netns {
        Some(path) => netns::within(path, connect),
        None => connect(),
    }?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE * slowness()))?;
    Ok(BufReader::with_capacity(1 << 18, stream))
}

impl Answer {
    /// The number of bytes that crossed the network.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// The page.
    pub(crate) fn text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        if self.is_compressed {
            GzDecoder::new(&*self.body).read_to_string(&mut text)?;
        } else {
            (&*self.body).read_to_string(&mut text)?;
        }
        Ok(text)
    }
}
