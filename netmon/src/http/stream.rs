//! A stream that times out if the client takes too long: for the head of a request, between two requests, or for what it
//! receives. Must not know what is asked for.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long a client may take for the head of a request, and for the first one since it connected.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may send nothing after a request. Longer than any scrape interval.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// How long a client may receive nothing of an answer that is being sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A stream with timeouts.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    heads: Heads,
    head: Patience,
    idle: Patience,
    writing: Patience,
}

/// Whether the last head that began to arrive is there as a whole. Only who reads it knows. hyper's own timeout for a head
/// begins with the end of the last answer, and would end every connection of a client that asks four times a minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads(Arc<AtomicBool>);

impl Heads {
    /// A head is there as a whole.
    pub(super) fn is_read(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Something arrives. Returns whether another head begins.
    fn arrive(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// A timeout that runs only while an operation is pending.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    clock: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    const fn new(limit: Duration) -> Self {
        Self { limit, clock: None }
    }

    /// Passes on a ready result. Returns an error if nothing was ready for too long.
    fn check<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.clock = None;
            return result;
        }
        self.wait(context).map(Err)
    }

    /// Waits further. Ready with an error once it was for too long.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.limit;
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(limit)));
        clock.as_mut().poll(context).map(|()| io::ErrorKind::TimedOut.into())
    }
}

impl<S> Guarded<S> {
    /// A client's stream, from which these heads are read.
    pub(super) const fn new(stream: S, heads: Heads) -> Self {
        Self {
            stream,
            heads,
            head: Patience::new(HEAD_TIMEOUT),
            idle: Patience::new(IDLE_TIMEOUT),
            writing: Patience::new(WRITE_TIMEOUT),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Self { heads, head, idle, .. } = &mut *self;
        if result.is_pending() {
            let patience = if heads.0.load(Ordering::Relaxed) { idle } else { head };
            return patience.wait(context).map(Err);
        }
        idle.clock = None;
        // The clock of a head runs from its first byte, however many follow.
        if buffer.filled().len() > before && heads.arrive() {
            head.clock = None;
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.writing.check(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.writing.check(context, result)
    }

    /// Without this, hyper copies an answer before it sends it: a page would be in memory once more for each client.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.writing.check(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.writing.check(context, result)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Buf;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, DuplexStream, duplex},
        time::{Instant, sleep},
    };

    use super::{Guarded, HEAD_TIMEOUT, Heads, IDLE_TIMEOUT};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (_client, server) = duplex(4);
        let mut guarded = Guarded::new(server, Heads::default());
        let error = guarded.write_all(b"more than fits").await.expect_err("given up");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_no_pieces_is_given_up() {
        let (_client, server) = duplex(4);
        let mut guarded = Guarded::new(server, Heads::default());
        assert!(guarded.is_write_vectored(), "answers are copied");
        let mut pieces = Buf::chain(&b"more than"[..], &b" fits"[..]);
        let error = guarded.write_all_buf(&mut pieces).await.expect_err("given up");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(pieces.remaining(), 10);
    }

    /// How long until the stream gives its client up, which sends no more.
    async fn given_up(stream: &mut Guarded<DuplexStream>) -> Duration {
        let begin = Instant::now();
        let error = stream.read_u8().await.expect_err("given up");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_given_up() {
        let (_client, server) = duplex(4);
        let mut stream = Guarded::new(server, Heads::default());
        assert_eq!(given_up(&mut stream).await, HEAD_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_has_the_same_time_as_one_that_stops() {
        let (mut client, server) = duplex(4);
        let mut stream = Guarded::new(server, Heads::default());
        let begin = Instant::now();
        let trickling = tokio::spawn(async move {
            loop {
                client.write_u8(b'x').await.expect("sent");
                sleep(Duration::from_secs(1)).await;
            }
        });
        let error = loop {
            if let Err(error) = stream.read_u8().await {
                break error;
            }
        };
        trickling.abort();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed(), HEAD_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn between_two_requests_a_client_has_longer_than_any_scrape_interval() {
        let (mut client, server) = duplex(4);
        let heads = Heads::default();
        let mut stream = Guarded::new(server, heads.clone());
        for pause in [1, 15, 60, 240].map(Duration::from_secs) {
            client.write_u8(b'x').await.expect("sent");
            stream.read_u8().await.expect("the head");
            heads.is_read();
            let next = async {
                sleep(pause).await;
                client.write_u8(b'y').await
            };
            let (read, sent) = tokio::join!(stream.read_u8(), next);
            sent.expect("sent");
            assert_eq!(read.expect("the next head begins"), b'y');
            // Of that one only the beginning has come.
            heads.is_read();
        }
        assert_eq!(given_up(&mut stream).await, IDLE_TIMEOUT);
        client.write_u8(b'x').await.expect("sent");
        stream.read_u8().await.expect("a head begins");
        assert_eq!(given_up(&mut stream).await, HEAD_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_that_goes_on_is_served() {
        let (mut client, server) = duplex(1);
        let writer = tokio::spawn(async move { Guarded::new(server, Heads::default()).write_all(b"slow").await });
        for expected in *b"slow" {
            sleep(super::WRITE_TIMEOUT / 2).await;
            assert_eq!(client.read_u8().await.expect("a byte"), expected);
        }
        writer.await.expect("no panic").expect("all written");
    }
}
