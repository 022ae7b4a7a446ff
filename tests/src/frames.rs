//! Ethernet frames made by hand, right ones and wrong ones, and a way to put them onto a device.

use std::{
    net::Ipv4Addr,
    os::fd::{AsFd as _, OwnedFd},
};

use anyhow::{Context as _, ensure};
use etherparse::{IpNumber, PacketBuilder};
use rustix::net::{
    AddressFamily, RawProtocol, RecvFlags, SendFlags, SocketType,
    addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque},
    netdevice::name_to_index,
    recv, sendto, socket,
};

use crate::netns::Netns;

/// Where in a frame the checksums are, when the IP header has no options.
const IP_CHECKSUM: usize = 14 + 10;
const UDP_CHECKSUM: usize = 14 + 20 + 6;
const TCP_CHECKSUM: usize = 14 + 20 + 16;
/// Whatever is in a frame.
const ETH_P_ALL: u16 = 3;

/// Whom a frame is from and to.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// Hardware addresses.
    pub macs: ([u8; 6], [u8; 6]),
    /// Addresses.
    pub addresses: (Ipv4Addr, Ipv4Addr),
}

impl Envelope {
    /// A datagram of that many bytes.
    ///
    /// # Errors
    /// It is too large.
    pub fn udp(&self, port: u16, size: usize) -> anyhow::Result<Vec<u8>> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.macs.0, self.macs.1)
            .ipv4(self.addresses.0.octets(), self.addresses.1.octets(), 64)
            .udp(40_000, port)
            .write(&mut frame, &vec![0x5a; size])?;
        Ok(frame)
    }

    /// A datagram with a wrong checksum.
    ///
    /// # Errors
    /// It is too large.
    pub fn udp_damaged(&self, port: u16) -> anyhow::Result<Vec<u8>> {
        self.udp(port, 200).map(|frame| damaged(frame, UDP_CHECKSUM))
    }

    /// A datagram with a wrong checksum of the IP header.
    ///
    /// # Errors
    /// It is too large.
    pub fn ip_damaged(&self, port: u16) -> anyhow::Result<Vec<u8>> {
        self.udp(port, 20).map(|frame| damaged(frame, IP_CHECKSUM))
    }

    /// The first segment of a connection, with a wrong checksum.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tcp_damaged(&self, port: u16) -> anyhow::Result<Vec<u8>> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.macs.0, self.macs.1)
            .ipv4(self.addresses.0.octets(), self.addresses.1.octets(), 64)
            .tcp(40_000, port, 1, 65_535)
            .syn()
            .write(&mut frame, &[])?;
        Ok(damaged(frame, TCP_CHECKSUM))
    }

    /// A segment of a connection that there is not, with what it brings.
    ///
    /// # Errors
    /// It is too large.
    pub fn stray(&self, port: u16, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.macs.0, self.macs.1)
            .ipv4(self.addresses.0.octets(), self.addresses.1.octets(), 64)
            .tcp(40_000, port, 1, 65_535)
            .ack(1)
            .write(&mut frame, payload)?;
        Ok(frame)
    }

    /// A packet of a protocol above IP that nobody has heard of.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn unheard_of(&self) -> anyhow::Result<Vec<u8>> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.macs.0, self.macs.1)
            .ipv4(self.addresses.0.octets(), self.addresses.1.octets(), 64)
            .write(&mut frame, IpNumber(200), &[0x5a; 40])?;
        Ok(frame)
    }
}

/// A hardware address, as `ip` writes it.
///
/// # Errors
/// It is none.
pub fn mac(text: &str) -> anyhow::Result<[u8; 6]> {
    let bytes = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<Vec<_>, _>>()?;
    <[u8; 6]>::try_from(bytes)
        .ok()
        .with_context(|| format!("{text} is no hardware address"))
}

/// Sends a frame that many times through a device of the namespace.
///
/// # Errors
/// The kernel does not take it.
pub fn send(netns: &Netns, device: &str, frame: &[u8], count: u32) -> anyhow::Result<()> {
    netns.within(|| {
        // Protocol 0: what arrives is not looked at.
        let socket = socket(AddressFamily::PACKET, SocketType::RAW, None)?;
        let device = Device::of(&socket, device, 0)?;
        for _ in 0..count {
            let sent = sendto(&socket, frame, SendFlags::empty(), &device)?;
            ensure!(sent == frame.len(), "{sent} of {} bytes were sent", frame.len());
        }
        Ok(())
    })
}

/// Somebody who looks at every packet of a device, as `tcpdump` does.
#[derive(Debug)]
pub struct Sniffer(OwnedFd);

impl Sniffer {
    /// Starts looking.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn on(netns: &Netns, device: &str) -> anyhow::Result<Self> {
        netns.within(|| {
            let protocol = RawProtocol::new(u32::from(ETH_P_ALL.to_be())).context("0 is no protocol")?;
            let socket = socket(
                AddressFamily::PACKET,
                SocketType::RAW,
                Some(rustix::net::Protocol::from_raw(protocol)),
            )?;
            rustix::net::bind(&socket, &Device::of(&socket, device, ETH_P_ALL)?)?;
            Ok(Self(socket))
        })
    }

    /// How many packets it has seen and not yet told of.
    #[must_use]
    pub fn seen(&self) -> u64 {
        let mut buffer = [0_u8; 64];
        let mut count = 0;
        while recv(&self.0, &mut buffer, RecvFlags::DONTWAIT).is_ok() {
            count += 1;
        }
        count
    }
}

fn damaged(mut frame: Vec<u8>, at: usize) -> Vec<u8> {
    // A single bit is wrong, which makes the sum neither right nor 0, which would say that there is none.
    frame[at] ^= 0x10;
    frame
}

/// A device, as an address of sockets (`struct sockaddr_ll`).
#[repr(C)]
struct Device {
    family: u16,
    /// In the order of the network.
    protocol: u16,
    ifindex: i32,
    hardware: u16,
    kind: u8,
    length: u8,
    address: [u8; 8],
}

impl Device {
    fn of(socket: &OwnedFd, name: &str, protocol: u16) -> anyhow::Result<Self> {
        let ifindex = name_to_index(socket.as_fd(), name).with_context(|| format!("there is no {name}"))?;
        Ok(Self {
            family: AddressFamily::PACKET.as_raw(),
            protocol: protocol.to_be(),
            ifindex: i32::try_from(ifindex)?,
            hardware: 0,
            kind: 0,
            length: 0,
            address: [0; 8],
        })
    }
}

// SAFETY: the function is given a pointer to a whole `struct sockaddr_ll`, which `Device` is by its layout (`repr(C)`, 20
// bytes without a gap), with its size, and it lives until the function is done, for it is borrowed.
#[expect(unsafe_code, reason = "rustix has no addresses of devices")]
unsafe impl SocketAddrArg for Device {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        const LENGTH: SocketAddrLen = 20;
        const { assert!(size_of::<Device>() == 20) };
        f(std::ptr::from_ref(self).cast(), LENGTH)
    }
}
