//! A server for the tests' connections. Must not know what they are for.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use netmon_tests::netns::Netns;

use super::PORT;

/// Accepts connections and sends back what it receives, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    /// How many connections have ended.
    served: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(netns: &Netns, address: IpAddr) -> anyhow::Result<Self> {
        let address = SocketAddr::new(address, PORT);
        let listener = netns.within(|| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let served = Arc::new(AtomicUsize::new(0));
        let ended = Arc::clone(&served);
        let thread = thread::spawn(move || {
            let mut streams: Vec<TcpStream> = Vec::new();
            let mut buffer = [0; 4096];
            while !stopped.load(Ordering::Relaxed) {
                while let Ok((stream, _)) = listener.accept() {
                    if stream.set_nonblocking(true).is_ok() {
                        streams.push(stream);
                    }
                }
                let open = streams.len();
                streams.retain_mut(|stream| match stream.read(&mut buffer) {
                    Ok(0) => false,
                    Ok(length) => stream.write_all(&buffer[..length]).is_ok(),
                    Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                });
                ended.fetch_add(open - streams.len(), Ordering::Relaxed);
                thread::sleep(Duration::from_micros(300));
            }
        });
        Ok(Self {
            address,
            stop,
            served,
            thread: Some(thread),
        })
    }

    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
