//! Traffic of an exact amount between namespaces.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::{
    netns::Netns,
    patience::{PATIENCE, slowness, within},
};

/// The port that receivers listen on.
const PORT: u16 = 5201;
/// The size of a long stream in bytes: thousands of packets. It is smaller on an emulated machine, so that it takes
/// as long.
#[must_use]
pub fn stream() -> usize {
    20_000_000 / slowness() as usize
}

/// How long each end may wait for the other.
fn patience() -> Duration {
    // On a path that loses a fifth of the packets, a connection may wait for half a minute.
    Duration::from_mins(2) * slowness()
}

/// Sends that many pings, and receives as many answers.
///
/// # Errors
/// An answer is missing.
pub fn ping(from: &Netns, to: IpAddr, count: u32) -> anyhow::Result<()> {
    let text = from.run(&format!("ping -q -c {count} -i 0.002 -W 5 {to}"))?;
    ensure!(
        text.contains(&format!("{count} packets transmitted, {count} received")),
        "pings were lost: {text}"
    );
    Ok(())
}

/// Waits until `to` answers a ping. A container on another node answers only once that node has announced it by
/// gossip. That may take half a minute if the first message was lost.
///
/// # Errors
/// No ping is answered in time.
pub fn reach(from: &Netns, to: IpAddr) -> anyhow::Result<()> {
    within(3 * PATIENCE, "it to be reached", || ping(from, to, 1))
}

/// Sends that many datagrams of that size. All must arrive.
///
/// # Errors
/// One is missing.
pub fn udp(from: &Netns, to: &Netns, address: IpAddr, count: u32, size: usize) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let (ready, is_ready) = mpsc::channel();
        let (got, is_got) = mpsc::channel();
        let receiver = scope.spawn(move || -> anyhow::Result<()> {
            to.enter()?;
            let socket = UdpSocket::bind(SocketAddr::new(any(address), PORT))?;
            socket.set_read_timeout(Some(patience()))?;
            ready.send(())?;
            let mut buffer = vec![0; 65_536];
            for number in 0..count {
                let length = socket
                    .recv(&mut buffer)
                    .with_context(|| format!("datagram {number} of {count} did not arrive"))?;
                ensure!(length == size, "a datagram of {length} bytes arrived, not of {size}");
                got.send(())?;
            }
            Ok(())
        });
        let sender = scope.spawn(move || -> anyhow::Result<()> {
            from.enter()?;
            is_ready.recv_timeout(patience()).context("the receiver is not ready")?;
            let socket = UdpSocket::bind(SocketAddr::new(any(address), 0))?;
            let datagram = vec![0x5a; size];
            for _ in 0..count {
                socket.send_to(&datagram, SocketAddr::new(address, PORT))?;
                // One at a time. Otherwise the receiver's buffer might overflow, and lose datagrams.
                is_got.recv_timeout(patience()).context("a datagram is missing")?;
            }
            Ok(())
        });
        joined(sender.join())?;
        joined(receiver.join())
    })
}

/// Sends that many datagrams of that size, whether or not they arrive. Returns how many of them the kernel accepted.
///
/// # Errors
/// No socket can be created.
pub fn datagrams(from: &Netns, to: SocketAddr, count: u32, size: usize) -> anyhow::Result<u64> {
    from.within(|| {
        let socket = UdpSocket::bind(SocketAddr::new(any(to.ip()), 0))?;
        socket.set_broadcast(true)?;
        let datagram = vec![0x5a; size];
        let mut taken = 0;
        for _ in 0..count {
            // If nothing listens, the ICMP answer to one datagram makes the next attempt fail. That attempt sends
            // nothing, so it is repeated.
            taken += u64::from(socket.send_to(&datagram, to).is_ok() || socket.send_to(&datagram, to).is_ok());
        }
        Ok(taken)
    })
}

/// Sends that many super-packets. The device or something behind it segments them into datagrams. They do not have to
/// arrive.
///
/// # Errors
/// The kernel refuses one: it cannot be segmented into so many datagrams, or into such ones (`udp_send_skb`).
pub fn super_packets(from: &Netns, to: SocketAddr, count: u32, datagrams: usize, size: u16) -> anyhow::Result<()> {
    from.within(|| {
        let socket = UdpSocket::bind(SocketAddr::new(any(to.ip()), 0))?;
        cut_into(&socket, size)?;
        let super_packet = vec![0x5a; datagrams * usize::from(size)];
        for number in 0..count {
            match socket.send_to(&super_packet, to) {
                Ok(_) => {}
                // The packet was sent, but a full queue dropped it.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error).with_context(|| format!("super-packet {number}")),
            }
        }
        Ok(())
    })
}

/// From now on everything that is sent in one call is segmented into datagrams of that size, as late as possible.
fn cut_into(socket: &UdpSocket, size: u16) -> anyhow::Result<()> {
    set_option(socket, (libc::SOL_UDP, libc::UDP_SEGMENT), size.into()).context("UDP_SEGMENT")
}

/// From now on connecting this socket sends nothing: the SYN waits for the first data, if the namespace has Fast Open.
///
/// # Errors
/// The kernel refuses.
pub fn connect_with_the_first_data(socket: &impl AsRawFd) -> anyhow::Result<()> {
    set_option(socket, (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT), 1).context("TCP_FASTOPEN_CONNECT")
}

#[expect(unsafe_code, reason = "no library of ours knows these options")]
fn set_option(socket: &impl AsRawFd, (level, name): (libc::c_int, libc::c_int), value: libc::c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is that of the borrowed socket. The kernel reads `length` bytes, which is the size of
    // `value`.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends that many bytes over one connection, which both ends then close.
///
/// # Errors
/// Not all of them arrive.
pub fn tcp(from: &Netns, to: &Netns, address: IpAddr, bytes: usize) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let (ready, is_ready) = mpsc::channel();
        let receiver = scope.spawn(move || -> anyhow::Result<()> {
            to.enter()?;
            let listener = TcpListener::bind(SocketAddr::new(any(address), PORT))?;
            // If no connection is made, the sender's error must not wait for this one.
            set_socket_timeout(&listener, Timeout::Recv, Some(patience()))?;
            ready.send(())?;
            let (mut stream, _) = listener.accept().context("no connection was made")?;
            stream.set_read_timeout(Some(patience()))?;
            let mut buffer = vec![0; 1 << 18];
            let mut length = 0;
            loop {
                match stream.read(&mut buffer)? {
                    0 => break,
                    more => length += more,
                }
            }
            ensure!(length == bytes, "{length} of {bytes} bytes arrived");
            Ok(())
        });
        let sender = scope.spawn(move || -> anyhow::Result<()> {
            from.enter()?;
            is_ready.recv_timeout(patience()).context("the receiver is not ready")?;
            let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, PORT), patience())?;
            stream.set_write_timeout(Some(patience()))?;
            let block = vec![0x5a; 1 << 18];
            let mut rest = bytes;
            while rest > 0 {
                let some = rest.min(block.len());
                stream.write_all(&block[..some])?;
                rest -= some;
            }
            stream.shutdown(std::net::Shutdown::Write)?;
            // Waits until the other end has closed, too.
            stream.set_read_timeout(Some(patience()))?;
            stream.read_to_end(&mut Vec::new())?;
            Ok(())
        });
        joined(sender.join())?;
        joined(receiver.join())
    })
}

fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn joined(result: thread::Result<anyhow::Result<()>>) -> anyhow::Result<()> {
    result.map_err(|_| anyhow!("an end of the traffic panicked"))?
}
