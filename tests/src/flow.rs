//! Traffic that continues until it is stopped, even while the path is broken. For tests that look at netmon
//! meanwhile.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    netns::Netns,
    patience::{PATIENCE, slowness, until, within},
};

/// The port of streams.
const PORT: u16 = 5301;
/// How often a blocked end checks whether the stream is over.
const LOOK: Duration = Duration::from_millis(50);
/// The size of one write, and the pause after it: some 2 MB a second.
const BLOCK: usize = 8192;
const REST: Duration = Duration::from_millis(4);

/// A TCP connection that carries bytes until this is dropped.
#[derive(Debug)]
pub struct Stream {
    over: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    ends: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Stream {
    /// Connects, and starts to send. Returns before the first bytes arrive.
    ///
    /// # Errors
    /// No connection is made.
    pub fn start(from: &Netns, to: &Netns, address: IpAddr) -> anyhow::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicU64::new(0));
        let mut stream = Self {
            over: Arc::clone(&over),
            received: Arc::clone(&received),
            ends: Vec::new(),
        };
        let (ready, is_ready) = mpsc::channel();
        let to = Netns::of_others(to.path());
        stream.ends.push(thread::spawn(move || {
            to.enter()?;
            let listener = TcpListener::bind((address, PORT))?;
            listener.set_nonblocking(true)?;
            ready.send(())?;
            receive(&listener, &over, &received)
        }));
        is_ready.recv_timeout(PATIENCE).context("the receiver is not ready")?;
        let connection = from.within(|| {
            let patience = PATIENCE * slowness();
            Ok(TcpStream::connect_timeout(&SocketAddr::new(address, PORT), patience)?)
        })?;
        let over = Arc::clone(&stream.over);
        stream.ends.push(thread::spawn(move || send(connection, &over)));
        Ok(stream)
    }

    /// The number of bytes that have arrived.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits until more bytes arrive. After a fault, the sender first waits before it retransmits.
    ///
    /// # Errors
    /// No bytes arrive.
    pub fn flows(&self) -> anyhow::Result<()> {
        let before = self.received();
        within(3 * PATIENCE, "the stream to flow", || {
            ensure!(self.received() > before, "{before} bytes have arrived, and no more");
            Ok(())
        })
    }

    /// Stops the stream, and returns the number of bytes that arrived.
    ///
    /// # Errors
    /// The connection was broken.
    pub fn stop(mut self) -> anyhow::Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        for end in self.ends.drain(..) {
            end.join()
                .map_err(|_| anyhow!("an end of the stream panicked"))?
                .context("the stream was broken")?;
        }
        Ok(self.received())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for end in self.ends.drain(..) {
            drop(end.join());
        }
    }
}

fn send(mut connection: TcpStream, over: &AtomicBool) -> anyhow::Result<()> {
    connection.set_write_timeout(Some(LOOK))?;
    let block = [0x5a; BLOCK];
    while !over.load(Ordering::Relaxed) {
        match connection.write(&block) {
            Ok(_) => thread::sleep(REST),
            Err(error) if is_late(error.kind()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn receive(listener: &TcpListener, over: &AtomicBool, received: &AtomicU64) -> anyhow::Result<()> {
    let mut connection = loop {
        match listener.accept() {
            Ok((connection, _)) => break connection,
            Err(error) if is_late(error.kind()) && !over.load(Ordering::Relaxed) => thread::sleep(REST),
            Err(error) => return Err(error.into()),
        }
    };
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(LOOK))?;
    let mut buffer = [0; BLOCK];
    loop {
        match connection.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(more) => {
                received.fetch_add(more as u64, Ordering::Relaxed);
            }
            Err(error) if is_late(error.kind()) => {
                if over.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A TCP client that sends to a server until the server breaks the connection.
#[derive(Debug)]
pub struct Client(JoinHandle<anyhow::Result<()>>);

impl Client {
    /// Connects, and starts to send.
    ///
    /// # Errors
    /// No connection is made.
    pub fn start(from: &Netns, server: SocketAddr) -> anyhow::Result<Self> {
        let connection = until("the server to listen", || {
            from.within(|| Ok(TcpStream::connect_timeout(&server, PATIENCE)?))
        })?;
        let client = thread::spawn(move || send(connection, &AtomicBool::new(false)));
        Ok(Self(client))
    }

    /// Waits until the connection is broken, and returns the kind of error.
    ///
    /// # Errors
    /// The connection stays.
    pub fn broken(self) -> anyhow::Result<ErrorKind> {
        until("the connection to be broken", || {
            ensure!(self.0.is_finished(), "the client still sends");
            Ok(())
        })?;
        let end = self.0.join().map_err(|_| anyhow!("the client panicked"))?;
        let error = end.err().context("the client has ended by itself")?;
        Ok(error.downcast::<std::io::Error>()?.kind())
    }
}

fn is_late(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// A hundred pings a second, until this is dropped.
#[derive(Debug)]
pub struct Pings(Option<Child>);

impl Pings {
    /// Starts to ping.
    ///
    /// # Errors
    /// `ping` cannot be run.
    pub fn start(from: &Netns, to: IpAddr) -> anyhow::Result<Self> {
        let mut command = from.command(&format!("ping -q -i 0.01 {to}"));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("ping cannot be run")?;
        Ok(Self(Some(child)))
    }

    /// Stops, and returns how many pings were sent and how many were answered.
    ///
    /// # Errors
    /// `ping` ended before.
    pub fn stop(mut self) -> anyhow::Result<(u64, u64)> {
        let child = self.0.take().context("they were stopped before")?;
        interrupt(&child)?;
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let figure = |what: &str| {
            let before = text.split(what).next().filter(|before| before.len() < text.len());
            let number = before.and_then(|before| before.split_whitespace().last());
            number
                .and_then(|number| number.parse().ok())
                .with_context(|| format!("ping does not say how many were{what}: {text}"))
        };
        Ok((figure(" packets transmitted")?, figure(" received")?))
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn interrupt(child: &Child) -> anyhow::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.context("the process has no number")?, Signal::INT).context("ping has ended")
}
