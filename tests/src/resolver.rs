//! A DNS resolver, and a client of it. The first label of a name says what the resolver answers. Both know what they sent and
//! received, so that it can be compared with what netmon counts.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{netns::Netns, page::Page};

/// The port of DNS.
pub const PORT: u16 = 53;
/// The engine's resolver, as containers see it.
pub const ENGINES: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), PORT);

/// What a name asks the resolver to answer: the code, and whether the answer is cut. `None` for no answer.
const ANSWERS: [(&str, Option<(u8, bool)>); 7] = [
    ("noerror", Some((0, false))),
    ("servfail", Some((2, false))),
    ("nxdomain", Some((3, false))),
    ("notimp", Some((4, false))),
    ("refused", Some((5, false))),
    ("cut", Some((0, true))),
    ("silent", None),
];

/// The length of a message's header.
const HEADER: usize = 12;

/// A query for a type of `answer.shop.example`, with a record of EDNS that has so many bytes of options, if any.
#[must_use]
pub fn query(id: u16, answer: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
    named(id, &[answer, "shop", "example"], kind, edns)
}

/// A query for a type of a name with these labels.
#[must_use]
pub fn named(id: u16, labels: &[&str], kind: u16, edns: Option<u16>) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [id, 0x0100, 1, 0, 0, edns.is_some().into()] {
        message.extend(word.to_be_bytes());
    }
    for label in labels {
        message.extend(u8::try_from(label.len()));
        message.extend(label.bytes());
    }
    message.push(0);
    for word in [kind, 1] {
        message.extend(word.to_be_bytes());
    }
    if let Some(options) = edns {
        message.extend([0, 0, 41, 16, 0, 0, 0, 0, 0]);
        message.extend(options.to_be_bytes());
        message.extend(vec![7; options.into()]);
    }
    message
}

/// The id of a message.
#[must_use]
pub fn id(message: &[u8]) -> u16 {
    let (high, low) = (message.first().copied(), message.get(1).copied());
    u16::from_be_bytes([high.unwrap_or_default(), low.unwrap_or_default()])
}

/// The answer to a query.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let length = usize::from(*query.get(HEADER)?);
    let label = query.get(HEADER + 1..HEADER + 1 + length)?;
    let (_, answer) = ANSWERS.iter().find(|(name, _)| name.as_bytes() == label)?;
    let (code, is_cut) = (*answer)?;
    let mut message = query.to_vec();
    message[2] |= 0x80 | if is_cut { 0x02 } else { 0 };
    message[3] |= code;
    Some(message)
}

/// Answers over UDP and TCP until it is dropped.
#[derive(Debug)]
pub struct Resolver {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Resolver {
    /// Listens at this address of the namespace, and waits so long before each answer.
    ///
    /// # Errors
    /// Somebody else listens there.
    pub fn start(netns: &Netns, address: IpAddr, delay: Duration) -> anyhow::Result<Self> {
        let address = SocketAddr::new(address, PORT);
        let (datagrams, listener) = netns.within(|| Ok((UdpSocket::bind(address)?, TcpListener::bind(address)?)))?;
        datagrams.set_read_timeout(Some(Duration::from_millis(50)))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let [received, answered] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let work = Work {
            stop: Arc::clone(&stop),
            received: Arc::clone(&received),
            answered: Arc::clone(&answered),
            delay,
        };
        let for_tcp = work.clone();
        let udp = thread::spawn(move || work.serve_datagrams(&datagrams));
        let tcp = thread::spawn(move || for_tcp.serve_connections(&listener));
        Ok(Self {
            address,
            stop,
            received,
            answered,
            threads: vec![udp, tcp],
        })
    }

    /// How many queries it has received, and how many it has answered.
    #[must_use]
    pub fn counts(&self) -> [u64; 2] {
        [&self.received, &self.answered].map(|count| count.load(Ordering::Relaxed))
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}

/// What a thread of the resolver works with.
#[derive(Clone)]
struct Work {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    delay: Duration,
}

impl Work {
    fn serve_datagrams(&self, socket: &UdpSocket) {
        let mut buffer = [0; 512];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((length, client)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            if let Some(message) = self.answer(&buffer[..length]) {
                let _sent = socket.send_to(&message, client);
            }
        }
    }

    fn serve_connections(&self, listener: &TcpListener) {
        while !self.stop.load(Ordering::Relaxed) {
            match listener.accept() {
                // It ends with an error: the client's end of the connection.
                Ok((stream, _)) => drop(self.serve(stream)),
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn serve(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        loop {
            let query = receive(&mut stream)?;
            if let Some(message) = self.answer(&query) {
                send(&mut stream, &message)?;
            }
        }
    }

    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        self.received.fetch_add(1, Ordering::Relaxed);
        let message = answer(query)?;
        thread::sleep(self.delay);
        self.answered.fetch_add(1, Ordering::Relaxed);
        Some(message)
    }
}

/// Sends a message over TCP.
///
/// # Errors
/// The connection has ended.
pub fn send(stream: &mut TcpStream, message: &[u8]) -> anyhow::Result<()> {
    let mut bytes = u16::try_from(message.len())?.to_be_bytes().to_vec();
    bytes.extend(message);
    stream.write_all(&bytes)?;
    Ok(())
}

/// Receives a message over TCP.
///
/// # Errors
/// The connection has ended, or it is no message.
pub fn receive(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    ensure!(message.len() >= HEADER, "a message has a header");
    Ok(message)
}

/// Asks over UDP, from a port of its own, and waits so long for the answer. Returns the answer's code; `None` if there was
/// none. Must be called in the client's namespace.
///
/// # Errors
/// There is no socket, or another query was answered.
pub fn ask(resolver: SocketAddr, query: &[u8], patience: Duration) -> anyhow::Result<Option<u8>> {
    let any: IpAddr = if resolver.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(resolver)?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(query)?;
    let mut buffer = [0; 512];
    let Ok(length) = socket.recv(&mut buffer) else {
        return Ok(None);
    };
    ensure!(id(&buffer[..length]) == id(query), "another query was answered");
    Ok(Some(buffer[3] & 0x0f))
}

/// Asks over UDP, one after the other, and gets an answer to each.
///
/// # Errors
/// No answer came.
pub fn ask_all(netns: &Netns, resolver: SocketAddr, queries: &[Vec<u8>]) -> anyhow::Result<()> {
    netns.within(|| {
        for query in queries {
            let code = ask(resolver, query, Duration::from_secs(5))?;
            code.context("no answer came")?;
        }
        Ok(())
    })
}

/// Everything that netmon shows of what a container asked one resolver, without what is 0.
///
/// # Errors
/// The page does not have it.
pub fn shown(page: &Page, container: &str, resolver: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let of = |family: &str, more: &[(&str, &str)]| {
        let labels = [&[("container", container), ("resolver", resolver)], more].concat();
        page.count(&format!("netmon_container_dns_{family}"), &labels)
    };
    let mut counts = BTreeMap::new();
    for kind in ["A", "AAAA", "PTR", "SRV", "other"] {
        counts.insert(format!("query {kind}"), of("queries_total", &[("type", kind)])?);
    }
    for code in ["noerror", "nxdomain", "servfail", "refused", "other"] {
        counts.insert(code.to_owned(), of("responses_total", &[("code", code)])?);
    }
    for family in ["unanswered", "retries", "truncated", "untracked", "unmatched"] {
        counts.insert(family.to_owned(), of(&format!("{family}_total"), &[])?);
    }
    // A histogram without an observation is not there.
    let observed = of("duration_seconds_count", &[]).unwrap_or_default();
    counts.insert("observed".to_owned(), observed);
    counts.retain(|_, count| *count > 0);
    Ok(counts)
}
