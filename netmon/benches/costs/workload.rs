//! Causes events for the programs on tracepoints, over loopback. Also formats lines as a yardstick for the page.

use std::{
    fmt::Write as _,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    thread,
};

/// A port without a listener.
const NOBODY: u16 = 9;

/// Sends this number of datagrams, which are dropped.
pub(crate) fn drops(count: usize) -> io::Result<()> {
    // The socket is not connected, so the answer that there is no listener does not reach it.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    for _ in 0..count {
        socket.send_to(&[0; 64], (Ipv4Addr::LOCALHOST, NOBODY))?;
    }
    Ok(())
}

/// Sends this number of requests of that length over one connection, each with an answer of the same length.
pub(crate) fn requests(count: usize, bytes: usize) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let server = scope.spawn(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            let mut buffer = vec![0; bytes];
            for _ in 0..count {
                stream.read_exact(&mut buffer)?;
                stream.write_all(&buffer)?;
            }
            Ok(())
        });
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut buffer = vec![0x5a; bytes];
        for _ in 0..count {
            stream.write_all(&buffer)?;
            stream.read_exact(&mut buffer)?;
        }
        server
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the server panicked")))
    })
}

/// Sends this number of messages of that length over one connection. Nobody waits for an answer, so what sends them stays
/// in the caches.
pub(crate) fn messages(count: usize, bytes: usize) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let reader = scope.spawn(move || io::copy(&mut listener.accept()?.0, &mut io::sink()));
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let message = vec![0x5a; bytes];
        for _ in 0..count {
            stream.write_all(&message)?;
        }
        drop(stream);
        let read = reader
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the reader panicked")))?;
        let all = (count * bytes) as u64;
        (read == all)
            .then_some(())
            .ok_or_else(|| io::Error::other(format!("{read} of {all} bytes arrived")))
    })
}

/// Establishes and closes this number of connections.
pub(crate) fn connections(count: usize) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    for _ in 0..count {
        let client = TcpStream::connect(address)?;
        drop(listener.accept()?);
        drop(client);
    }
    Ok(())
}

/// Formats this number of lines like those of a page, with the standard library alone.
pub(crate) fn lines(count: usize) -> String {
    let (container, service) = ("shop_service1.12.x3kq8v5n1c7d", "shop_service1");
    let (stack, network, interface) = ("shop", "shop_network1", "eth1");
    let mut text = String::new();
    for number in 0..count {
        let _infallible = writeln!(
            text,
            "netmon_container_network_receive_packets_total{{container=\"{container}\",service=\"{service}\",\
             stack=\"{stack}\",network=\"{network}\",interface=\"{interface}\"}} {number}"
        );
    }
    text
}
