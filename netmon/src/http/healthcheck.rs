//! `netmon healthcheck`: asks the local netmon whether it is healthy. The image contains no other program that could.
//! `netmon doctor` asks for a page in the same way.
//!
//! It makes one request on one connection, without an async runtime, because it runs every ten seconds on every node.
//! Where the server requires encryption there is a second connection.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _},
    time::{Duration, Instant},
};

use super::{
    access::local,
    address::{Listen, reachable},
};

/// The time limit for the whole check. It is shorter than the engine's (`deploy/Dockerfile`), so that the reason is
/// still printed.
const PATIENCE: Duration = Duration::from_secs(4);
/// How many bytes of an answer are read, and of a page.
const LARGEST: u64 = 4096;
const LARGEST_PAGE: u64 = 4 << 20;

/// The beginnings of answers that a healthy netmon gives. With a web configuration it may require a password (401) or
/// limit requests (429).
const WELL: [&[u8]; 3] = [b"HTTP/1.1 200 ", b"HTTP/1.1 401 ", b"HTTP/1.1 429 "];
/// The beginning of a TLS alert, with which a server that requires encryption answers a plain request.
const ALERT: &[u8] = b"\x15\x03";

/// Why netmon is not healthy, or gives no page, as far as who asks can see.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// There is no valid address to ask.
    #[error("cannot understand the listen address {address:?}: write ADDRESS:PORT or :PORT")]
    Address {
        /// The address as given.
        address: String,
    },
    /// There is no answer.
    #[error("no netmon answers at {address}: {source}; if it listens elsewhere, set NETMON_WEB_LISTEN_ADDRESS")]
    Silent {
        /// The address that was asked.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// It asks for a password.
    #[error("the netmon at {address} asks for a password: ask it with `curl -u USER` instead")]
    Locked {
        /// The address that was asked.
        address: SocketAddr,
    },
    /// There is another answer.
    #[error("{address} does not answer as a netmon that is well: {answer:?}")]
    Odd {
        /// The address that was asked.
        address: SocketAddr,
        /// Its first line.
        answer: String,
    },
}

/// Asks the netmon that listens on the first of these addresses.
///
/// # Errors
/// It is not healthy, cannot be reached, or takes too long.
pub fn ask(listen: &[String]) -> Result<(), Unwell> {
    at_first(listen, |address, end| {
        let (answer, asked) = exchange(address, "/-/healthy", LARGEST, end)?;
        match asked {
            // It says nothing to who has no certificate, and it was quick about it.
            Asked::Encrypted(asked) if answer.is_empty() && !asked.as_ref().is_err_and(is_slow) => Ok(()),
            Asked::Encrypted(asked) | Asked::Plain(asked) => judge(address, &answer, asked),
        }
    })
}

/// Asks the netmon that listens on the first of these addresses for a page, and returns the page.
///
/// # Errors
/// It cannot be reached, takes too long, or does not give the page.
pub fn page(listen: &[String], path: &str) -> Result<String, Unwell> {
    at_first(listen, |address, end| {
        let (answer, asked) = exchange(address, path, LARGEST_PAGE, end)?;
        let (Asked::Encrypted(asked) | Asked::Plain(asked)) = asked;
        let text = String::from_utf8_lossy(&answer);
        match text.split_once("\r\n\r\n") {
            Some((head, page)) if head.starts_with("HTTP/1.1 200 ") => Ok(page.to_owned()),
            _ if head_of(&answer).starts_with("HTTP/1.1 401 ") => Err(Unwell::Locked { address }),
            _ => Err(silent_or_odd(address, &answer, asked)),
        }
    })
}

/// Tries the addresses that the first listen address stands for, until one answers.
fn at_first<T>(listen: &[String], ask: impl Fn(SocketAddr, Instant) -> Result<T, Unwell>) -> Result<T, Unwell> {
    let first = listen.first().map_or("", String::as_str);
    let end = Instant::now() + PATIENCE;
    let mut failure = Unwell::Address {
        address: first.to_owned(),
    };
    for address in addresses(first) {
        match ask(address, end) {
            Ok(answer) => return Ok(answer),
            Err(unwell) => failure = unwell,
        }
    }
    Err(failure)
}

fn addresses(listen: &str) -> Vec<SocketAddr> {
    let listening = match Listen::parse(listen) {
        Some(Listen::Everywhere(port)) => vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))],
        Some(Listen::At(address)) => address.to_socket_addrs().map(Iterator::collect).unwrap_or_default(),
        None => Vec::new(),
    };
    listening.into_iter().flat_map(reachable).collect()
}

/// How an answer came, and how the connection ended.
enum Asked {
    Plain(io::Result<()>),
    Encrypted(io::Result<()>),
}

/// Sends a request, and returns what was answered. If the server requires encryption, it is sent again.
fn exchange(address: SocketAddr, path: &str, largest: u64, end: Instant) -> Result<(Vec<u8>, Asked), Unwell> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let asked = connect(address, end).and_then(|mut stream| {
        // In one write, so that it is one packet and not one for each word.
        stream.write_all(request.as_bytes())?;
        stream.take(largest).read_to_end(&mut answer).map(drop)
    });
    if !answer.starts_with(ALERT) {
        return Ok((answer, Asked::Plain(asked)));
    }
    answer.clear();
    let stream = connect(address, end).map_err(|source| Unwell::Silent { address, source })?;
    let asked = local::ask(stream, address.ip(), request.as_bytes(), &mut answer, largest);
    Ok((answer, Asked::Encrypted(asked)))
}

fn is_slow(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Connects, with what is left of the time for each reading and writing.
fn connect(address: SocketAddr, end: Instant) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, left(end)?)?;
    stream.set_write_timeout(Some(left(end)?))?;
    stream.set_read_timeout(Some(left(end)?))?;
    Ok(stream)
}

/// Judges by the answer, and if there is none by why.
fn judge(address: SocketAddr, answer: &[u8], asked: io::Result<()>) -> Result<(), Unwell> {
    if WELL.iter().any(|beginning| answer.starts_with(beginning)) {
        return Ok(());
    }
    Err(silent_or_odd(address, answer, asked))
}

/// What is wrong with an answer that is not the one wanted.
fn silent_or_odd(address: SocketAddr, answer: &[u8], asked: io::Result<()>) -> Unwell {
    match asked {
        // A server that ends a connection without a farewell has answered all the same.
        Err(source) if answer.is_empty() => Unwell::Silent { address, source },
        Ok(()) | Err(_) => Unwell::Odd {
            address,
            answer: head_of(answer),
        },
    }
}

/// The first line of an answer.
fn head_of(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.lines().next().unwrap_or_default().to_owned()
}

/// The remaining time. An error if there is none.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
        time::{Duration, Instant},
    };

    use super::{PATIENCE, Unwell, ask};

    /// Answers one request with `answer`, at its own address.
    fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 512];
            let length = stream.read(&mut request).expect("a request");
            assert!(request[..length].starts_with(b"GET /-/healthy HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).expect("an answer");
        });
        address
    }

    #[test]
    fn who_says_200_is_well() {
        ask(&[answering("HTTP/1.1 200 OK\r\n\r\n"), "nonsense".to_owned()]).expect("well");
    }

    #[test]
    fn who_says_anything_else_is_not() {
        for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "SSH-2.0-OpenSSH\r\n", ""] {
            let unwell = ask(&[answering(answer)]).expect_err(answer);
            assert!(matches!(unwell, Unwell::Odd { .. }), "{unwell}");
        }
    }

    #[test]
    fn nobody_is_not_well_and_neither_is_nonsense() {
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port that is free again");
        let unwell = ask(&[address.to_string()]).expect_err("nobody listens");
        assert!(matches!(unwell, Unwell::Silent { .. }), "{unwell}");
        for nonsense in ["", "nonsense", ":http", "1.2.3.4"] {
            let unwell = ask(&[nonsense.to_owned()]).expect_err(nonsense);
            assert!(matches!(unwell, Unwell::Address { .. }), "{unwell}");
        }
    }

    #[test]
    fn who_wants_encryption_and_then_says_nothing_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        thread::spawn(move || {
            let (mut plain, _) = listener.accept().expect("a connection");
            let mut request = [0; 512];
            assert!(plain.read(&mut request).expect("a request") > 0);
            plain.write_all(b"\x15\x03\x03\x00\x02\x02\x2f").expect("an alert");
            drop(plain);
            let (encrypted, _) = listener.accept().expect("another connection");
            thread::sleep(2 * PATIENCE);
            drop(encrypted);
        });
        let begin = Instant::now();
        let unwell = ask(&[address]).expect_err("it says nothing");
        assert!(matches!(unwell, Unwell::Silent { .. }), "{unwell}");
        assert!(begin.elapsed() < PATIENCE + Duration::from_secs(5));
    }

    #[test]
    fn who_says_nothing_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let begin = Instant::now();
        ask(&[listener.local_addr().expect("an address").to_string()]).expect_err("it says nothing");
        assert!(
            begin.elapsed() < PATIENCE + Duration::from_secs(5),
            "{:?}",
            begin.elapsed()
        );
    }
}
