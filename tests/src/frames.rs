//! Ethernet frames built by hand, valid and invalid, and functions to send them through a device.

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

/// Offsets of the checksums in a frame whose IP header has no options.
const IP_CHECKSUM: usize = 14 + 10;
const UDP_CHECKSUM: usize = 14 + 20 + 6;
const TCP_CHECKSUM: usize = 14 + 20 + 16;
/// Offsets of the frame's type and of its IP header.
const ETHER_TYPE: usize = 12;
const IP: usize = 14;
/// The types of VLAN tags: the usual one, and the outer one of two.
const VLAN: [u8; 2] = [0x81, 0x00];
const QINQ: [u8; 2] = [0x88, 0xa8];
const IPV6_TYPE: [u8; 2] = [0x86, 0xdd];
/// The port of a Swarm's VXLAN tunnels.
const VXLAN_PORT: u16 = 4789;
/// Every protocol.
const ETH_P_ALL: u16 = 3;

/// The source and the destination of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// Hardware addresses.
    pub macs: ([u8; 6], [u8; 6]),
    /// IP addresses.
    pub addresses: (Ipv4Addr, Ipv4Addr),
}

impl Envelope {
    /// A datagram with that many bytes of payload.
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

    /// A SYN segment with a wrong checksum.
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

    /// A segment of a connection that does not exist, with this payload.
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

    /// A VXLAN packet with that VNI. The inner frame is not valid.
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

    /// An ESP packet of a security association that does not exist.
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

    /// A packet with an unknown protocol number in its IP header.
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

/// Reads a hardware address in the notation of `ip`.
///
/// # Errors
/// The text is not a hardware address.
pub fn mac(text: &str) -> anyhow::Result<[u8; 6]> {
    let bytes = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<Vec<_>, _>>()?;
    <[u8; 6]>::try_from(bytes)
        .ok()
        .with_context(|| format!("{text} is not a hardware address"))
}

/// Sends a frame `count` times through a device of the namespace.
///
/// # Errors
/// The kernel refuses it.
pub fn send(netns: &Netns, device: &str, frame: &[u8], count: u32) -> anyhow::Result<()> {
    netns.within(|| {
        // With protocol 0 the socket receives nothing.
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
/// The kernel refuses one.
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

/// Frames that no kernel would send. Their headers are truncated, have wrong lengths, or are preceded or followed by
/// many others. Some look like tunnel packets.
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
    // An IPv6 header with that next header, and the bytes after it.
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
    // Hop-by-hop options, routing, fragment and destination options, one after the other, repeated.
    let chain: Vec<u8> = [0_u8, 43, 44, 60]
        .repeat(20)
        .windows(2)
        .flat_map(|it| [it[1], 0, 0, 0, 0, 0, 0, 0])
        .collect();
    let mut frames = vec![
        // Truncated headers.
        right[..IP].to_vec(),
        right[..=IP].to_vec(),
        right[..IP + 19].to_vec(),
        right[..IP + 20].to_vec(),
        right[..IP + 24].to_vec(),
        // Versions and header lengths that do not exist: 0, and 60 with invalid options.
        with(IP, &[0x00]),
        with(IP, &[0x40]),
        with(IP, &[0x4f]),
        with(IP, &[0xf5]),
        // Lengths: zero, longer than the packet, shorter than the header.
        with(IP + 2, &[0, 0]),
        with(IP + 2, &[0xff, 0xff]),
        with(IP + 2, &[0, 10]),
        with(IP + 24, &[0xff, 0xff]),
        with(IP + 24, &[0, 1]),
        // Fragments: a first one, one that ends beyond the largest packet, one at the largest offset.
        with(IP + 6, &[0x20, 0x00]),
        with(IP + 6, &[0x3f, 0xff]),
        with(IP + 6, &[0x1f, 0xff]),
        // A time to live of 0, the reserved bit, protocols 0 and 255.
        with(IP + 8, &[0]),
        with(IP + 6, &[0x80]),
        with(IP + 9, &[0]),
        with(IP + 9, &[0xff]),
        tagged(&[VLAN]),
        tagged(&[QINQ, VLAN]),
        tagged(&[VLAN; 20]),
        tagged(&[QINQ; 60]),
        // A length instead of a type, and unknown types.
        with(ETHER_TYPE, &[0x00, 0x40]),
        with(ETHER_TYPE, &[0xff, 0xff]),
        with(ETHER_TYPE, &IPV6_TYPE),
        ipv6(0, 59, &[]),
        ipv6(0xffff, 17, &[0; 4]),
        ipv6(640, 0, &chain),
        ipv6(8, 44, &[17, 0, 0xff, 0xf9, 0, 0, 0, 1]),
        // Tunnel packets, although no tunnel ends here.
        envelope.vxlan(4097)?,
        envelope.vxlan(0x00ff_ffff)?,
        envelope.esp()?,
    ];
    // The same frames with a correct checksum of the IP header, as far as they have a complete header.
    let fixed: Vec<_> = frames.iter().filter_map(|frame| with_checksum(frame)).collect();
    frames.extend(fixed);
    Ok(frames)
}

/// The frame with a correct checksum of its IP header, if that header is complete.
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

/// A socket that receives every packet of a device, as `tcpdump` does.
#[derive(Debug)]
pub struct Sniffer(OwnedFd);

impl Sniffer {
    /// Starts to receive.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn on(netns: &Netns, device: &str) -> anyhow::Result<Self> {
        netns.within(|| {
            let protocol = RawProtocol::new(u32::from(ETH_P_ALL.to_be())).context("0 is not a protocol")?;
            let socket = socket(
                AddressFamily::PACKET,
                SocketType::RAW,
                Some(rustix::net::Protocol::from_raw(protocol)),
            )?;
            rustix::net::bind(&socket, &Device::of(&socket, device, ETH_P_ALL)?)?;
            Ok(Self(socket))
        })
    }

    /// The number of packets received since the last call.
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
    // One flipped bit gives a wrong sum. It must not become 0, which means "no checksum".
    frame[at] ^= 0x10;
    frame
}

/// The socket address of a device (`struct sockaddr_ll`).
#[repr(C)]
struct Device {
    family: u16,
    /// In network byte order.
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

// SAFETY: the function receives a pointer to a whole `struct sockaddr_ll`, and its size. `Device` has that layout
// (`repr(C)`, 20 bytes without padding). It is borrowed, so it lives until the function returns.
#[expect(unsafe_code, reason = "rustix has no addresses of devices")]
unsafe impl SocketAddrArg for Device {
    // SAFETY: this function requires nothing of its caller. It is unsafe only because the trait declares it so.
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        const LENGTH: SocketAddrLen = 20;
        const { assert!(size_of::<Device>() == 20) };
        f(std::ptr::from_ref(self).cast(), LENGTH)
    }
}
