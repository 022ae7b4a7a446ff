//! A resolver for the tests, and what a client sends it. The first label of a name says what the resolver is to answer.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::ensure;
use netmon_tests::netns::Netns;

/// The port of DNS.
const PORT: u16 = 53;

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

/// A query for a type, with a record of EDNS that has so many bytes of options, if any.
pub(crate) fn query(id: u16, answer: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [id, 0x0100, 1, 0, 0, edns.is_some().into()] {
        message.extend(word.to_be_bytes());
    }
    for label in [answer, "shop", "example"] {
        message.push(u8::try_from(label.len()).expect("labels are short"));
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
pub(crate) fn id(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
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
pub(crate) struct Resolver {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Resolver {
    /// Listens at this address and port of the namespace, and waits so long before each answer.
    pub(crate) fn start(netns: &Netns, address: IpAddr, delay: Duration) -> anyhow::Result<Self> {
        let address = SocketAddr::new(address, PORT);
        let (datagrams, listener) = netns.within(|| Ok((UdpSocket::bind(address)?, TcpListener::bind(address)?)))?;
        datagrams.set_read_timeout(Some(Duration::from_millis(50)))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (for_udp, for_tcp) = (Arc::clone(&stop), Arc::clone(&stop));
        let udp = thread::spawn(move || {
            let mut buffer = [0; 512];
            while !for_udp.load(Ordering::Relaxed) {
                let Ok((length, client)) = datagrams.recv_from(&mut buffer) else {
                    continue;
                };
                if let Some(message) = answer(&buffer[..length]) {
                    thread::sleep(delay);
                    let _sent = datagrams.send_to(&message, client);
                }
            }
        });
        let tcp = thread::spawn(move || {
            while !for_tcp.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => drop(serve(stream)),
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        Ok(Self {
            address,
            stop,
            threads: vec![udp, tcp],
        })
    }
}

/// Answers the queries of one connection.
fn serve(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    loop {
        let query = receive(&mut stream)?;
        if let Some(message) = answer(&query) {
            send(&mut stream, &message)?;
        }
    }
}

/// Sends a message over TCP.
pub(crate) fn send(stream: &mut TcpStream, message: &[u8]) -> anyhow::Result<()> {
    let mut bytes = u16::try_from(message.len())?.to_be_bytes().to_vec();
    bytes.extend(message);
    stream.write_all(&bytes)?;
    Ok(())
}

/// Receives a message over TCP.
pub(crate) fn receive(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    ensure!(message.len() >= HEADER, "a message has a header");
    Ok(message)
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}
