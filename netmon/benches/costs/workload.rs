//! Events for the programs on tracepoints, over loopback; and what a page is measured by.

use std::{
    fmt::Write as _,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    thread,
};

/// A port that nobody listens on.
const NOBODY: u16 = 9;

/// So many datagrams that are thrown away.
pub(crate) fn drops(count: usize) -> io::Result<()> {
    // Not connected: the answer that nobody listens reaches nobody.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    for _ in 0..count {
        socket.send_to(&[0; 64], (Ipv4Addr::LOCALHOST, NOBODY))?;
    }
    Ok(())
}

/// So many requests of that length over one connection, each with an answer as long.
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

/// So many connections, each made and closed.
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

/// So many lines as a page has them, by the standard library's formatting alone.
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
