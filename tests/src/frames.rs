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
/// Where in a frame it says what is in it, and where the IP header begins.
const ETHER_TYPE: usize = 12;
const IP: usize = 14;
/// Tags of VLANs, the usual and the outer.
const VLAN: [u8; 2] = [0x81, 0x00];
const QINQ: [u8; 2] = [0x88, 0xa8];
const IPV6_TYPE: [u8; 2] = [0x86, 0xdd];
/// Where the VXLAN tunnels of a Swarm are.
const VXLAN_PORT: u16 = 4789;
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

    /// What a node sends another through a tunnel of that network, with nothing of any sense in it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn vxlan(&self, vni: u32) -> anyhow::Result<Vec<u8>> {
        let [_, high, middle, low] = vni.to_be_bytes();
        let header = [0x08, 0, 0, 0, high, middle, low, 0];
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.macs.0, self.macs.1)
            .ipv4(self.addresses.0.octets(), self.addresses.1.octets(), 64)
            .udp(40_000, VXLAN_PORT)
            .write(&mut frame, &[&header[..], &[0x5a; 40]].concat())?;
        Ok(frame)
    }

    /// As if it were encrypted, of no association that there is.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn esp(&self) -> anyhow::Result<Vec<u8>> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.macs.0, self.macs.1)
            .ipv4(self.addresses.0.octets(), self.addresses.1.octets(), 64)
            .write(&mut frame, IpNumber::ENCAPSULATING_SECURITY_PAYLOAD, &[0x5a; 40])?;
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

/// Sends each of the frames through each of the devices of the namespace, once.
///
/// # Errors
/// The kernel does not take one.
pub fn send_each(netns: &Netns, devices: &[String], frames: &[Vec<u8>]) -> anyhow::Result<()> {
    netns.within(|| {
        let socket = socket(AddressFamily::PACKET, SocketType::RAW, None)?;
        for name in devices {
            let device = Device::of(&socket, name, 0)?;
            for frame in frames {
                sendto(&socket, frame, SendFlags::empty(), &device).with_context(|| format!("through {name}"))?;
            }
        }
        Ok(())
    })
}

/// Frames that no kernel would send: headers that are cut off, or lie about lengths, or have others stacked before or
/// behind them, and what looks like a tunnel's.
///
/// # Errors
/// One cannot be written.
pub fn wrong(source: [u8; 6], destination: [u8; 6]) -> anyhow::Result<Vec<Vec<u8>>> {
    let envelope = Envelope {
        macs: (source, destination),
        addresses: (Ipv4Addr::new(10, 77, 0, 66), Ipv4Addr::new(10, 77, 0, 1)),
    };
    let right = envelope.udp(9, 200)?;
    let with = |at: usize, bytes: &[u8]| {
        let mut frame = right.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let tagged = |tags: &[[u8; 2]]| {
        let mut frame = right[..ETHER_TYPE].to_vec();
        for tag in tags {
            frame.extend_from_slice(tag);
            frame.extend_from_slice(&[0x00, 0x2a]);
        }
        frame.extend_from_slice(&right[ETHER_TYPE..]);
        frame
    };
    // An IPv6 header with that next header, and what comes behind it.
    let ipv6 = |length: u16, next: u8, behind: &[u8]| {
        let mut frame = right[..ETHER_TYPE].to_vec();
        frame.extend_from_slice(&IPV6_TYPE);
        frame.extend_from_slice(&[0x60, 0, 0, 0]);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&[next, 64]);
        for last in [0x66, 0x01] {
            frame.extend_from_slice(&[0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        frame.extend_from_slice(behind);
        frame
    };
    // Hop-by-hop options, routing, fragment, destination options, one behind the other, and once more.
    let chain: Vec<u8> = [0_u8, 43, 44, 60]
        .repeat(20)
        .windows(2)
        .flat_map(|it| [it[1], 0, 0, 0, 0, 0, 0, 0])
        .collect();
    let mut frames = vec![
        // Headers that end before they should.
        right[..IP].to_vec(),
        right[..=IP].to_vec(),
        right[..IP + 19].to_vec(),
        right[..IP + 20].to_vec(),
        right[..IP + 24].to_vec(),
        // Versions and header lengths that there are not: 0, and 60 bytes of options that make no sense.
        with(IP, &[0x00]),
        with(IP, &[0x40]),
        with(IP, &[0x4f]),
        with(IP, &[0xf5]),
        // Lengths: none, more than there is, less than the header.
        with(IP + 2, &[0, 0]),
        with(IP + 2, &[0xff, 0xff]),
        with(IP + 2, &[0, 10]),
        with(IP + 24, &[0xff, 0xff]),
        with(IP + 24, &[0, 1]),
        // Fragments: the first, one behind the end of the largest packet, one of nothing.
        with(IP + 6, &[0x20, 0x00]),
        with(IP + 6, &[0x3f, 0xff]),
        with(IP + 6, &[0x1f, 0xff]),
        // No time to live, the reserved bit, protocols 0 and 255.
        with(IP + 8, &[0]),
        with(IP + 6, &[0x80]),
        with(IP + 9, &[0]),
        with(IP + 9, &[0xff]),
        tagged(&[VLAN]),
        tagged(&[QINQ, VLAN]),
        tagged(&[VLAN; 20]),
        tagged(&[QINQ; 60]),
        // A length instead of a type; types that nobody knows.
        with(ETHER_TYPE, &[0x00, 0x40]),
        with(ETHER_TYPE, &[0xff, 0xff]),
        with(ETHER_TYPE, &IPV6_TYPE),
        ipv6(0, 59, &[]),
        ipv6(0xffff, 17, &[0; 4]),
        ipv6(640, 0, &chain),
        ipv6(8, 44, &[17, 0, 0xff, 0xf9, 0, 0, 0, 1]),
        // As if a tunnel came out here.
        envelope.vxlan(4097)?,
        envelope.vxlan(0x00ff_ffff)?,
        envelope.esp()?,
    ];
    // Checksums that are right again, where a header's own were wrong only for what was written into it.
    let fixed: Vec<_> = frames.iter().filter_map(|frame| with_checksum(frame)).collect();
    frames.extend(fixed);
    Ok(frames)
}

/// The frame with the right checksum of its IP header, if it has one that is whole.
fn with_checksum(frame: &[u8]) -> Option<Vec<u8>> {
    let length = usize::from(frame.get(IP)? & 0xf) * 4;
    let mut frame = frame.to_vec();
    let header = frame.get_mut(IP..IP + length).filter(|it| it.len() >= 20)?;
    header[10..12].fill(0);
    let mut sum: u32 = header
        .chunks_exact(2)
        .map(|it| u32::from(u16::from_be_bytes([it[0], it[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).ok()?;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    Some(frame)
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
    // SAFETY: it asks nothing of its caller; the trait declares it so.
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        const LENGTH: SocketAddrLen = 20;
        const { assert!(size_of::<Device>() == 20) };
        f(std::ptr::from_ref(self).cast(), LENGTH)
    }
}
