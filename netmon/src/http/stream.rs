//! A stream that times out if the client neither sends nor receives anything.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long a connection may be idle. Longer than any scrape interval.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// How long a client may receive nothing of an answer that is being sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A stream with timeouts.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    reading: Patience,
    writing: Patience,
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
        let limit = self.limit;
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(limit)));
        clock
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S> Guarded<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self {
            stream,
            reading: Patience::new(IDLE_TIMEOUT),
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
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.reading.check(context, result)
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
    use bytes::Buf;
    use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, duplex};

    use super::Guarded;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (_client, server) = duplex(4);
        let mut guarded = Guarded::new(server);
        let error = guarded.write_all(b"more than fits").await.expect_err("given up");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_no_pieces_is_given_up() {
        let (_client, server) = duplex(4);
        let mut guarded = Guarded::new(server);
        assert!(guarded.is_write_vectored(), "answers are copied");
        let mut pieces = Buf::chain(&b"more than"[..], &b" fits"[..]);
        let error = guarded.write_all_buf(&mut pieces).await.expect_err("given up");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(pieces.remaining(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_given_up() {
        let (_client, server) = duplex(4);
        let error = Guarded::new(server).read_u8().await.expect_err("given up");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_that_goes_on_is_served() {
        let (mut client, server) = duplex(1);
        let writer = tokio::spawn(async move { Guarded::new(server).write_all(b"slow").await });
        for expected in *b"slow" {
            tokio::time::sleep(super::WRITE_TIMEOUT / 2).await;
            assert_eq!(client.read_u8().await.expect("a byte"), expected);
        }
        writer.await.expect("no panic").expect("all written");
    }
}
