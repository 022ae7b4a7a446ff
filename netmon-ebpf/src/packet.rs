//! What a program at a device's hook sees of a packet.

/// `ETH_P_IP` and `ETH_P_IPV6`, in the byte order of the packet.
pub(crate) const IPV4: u16 = 0x0800_u16.to_be();
pub(crate) const IPV6: u16 = 0x86dd_u16.to_be();
/// The same, as a hook's context has them.
pub(crate) const CONTEXT_IPV4: u32 = IPV4 as u32;
pub(crate) const CONTEXT_IPV6: u32 = IPV6 as u32;
pub(crate) const ETHERNET_HEADER: u32 = 14;
pub(crate) const IPV6_HEADER: u32 = 40;
/// The offset of a part of a datagram: all bits of its field but the flags.
pub(crate) const FRAGMENT_PLACE: u16 = 0x1fff;
/// The offset of the field in the IP header that names the protocol inside.
pub(crate) const IPV4_PROTOCOL: u32 = 9;
pub(crate) const IPV6_NEXT_HEADER: u32 = 6;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// `SOCK_STREAM` and `SOCK_RAW`.
pub(crate) const STREAM: u32 = 1;
pub(crate) const RAW: u32 = 3;

/// What sends a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// No socket: the packet was forwarded, or the kernel itself sends it.
    #[default]
    None,
    /// A socket with a port above every protocol's number.
    OfPort,
    /// A request for a connection, or a connection in `TIME_WAIT`. These are no full sockets.
    Small,
    /// A full socket.
    Full {
        /// Its type (`SOCK_STREAM` and so on).
        kind: u32,
        /// Its protocol (`IPPROTO_TCP` and so on).
        protocol: u32,
    },
}

impl Sender {
    /// What the field for the port of a socket says, without a look at the rest of the socket. A raw socket has its
    /// protocol there (`inet_create` in `net/ipv4/af_inet.c`). A packet socket has 0, and so has a TCP socket that was
    /// closed.
    #[inline(always)]
    #[must_use]
    pub fn by_port(port: u32) -> Option<Self> {
        // Linux has protocols that have no number of eight bits. They end at 262 (`IPPROTO_MAX` in include/uapi/linux/in.h),
        // and this leaves room for more, below the port of HTTPS.
        const HIGHEST_PROTOCOL: u32 = 319;
        (port > HIGHEST_PROTOCOL).then_some(Self::OfPort)
    }
}

/// A socket buffer at a hook (`struct __sk_buff`): one packet, or a super-packet.
pub trait Packet {
    /// The network protocol, in the byte order of the packet.
    fn protocol(&self) -> u32;
    /// Whom the frame is for (`PACKET_HOST` and so on).
    fn kind(&self) -> u32;
    /// The VLAN tag, with its priority; 0 if there is none.
    fn vlan(&self) -> u32;
    /// The length in bytes, including the link-layer header.
    fn length(&self) -> u32;
    /// The length as on a wire, including the headers of every segment. Egress only.
    fn wire_length(&self) -> u32;
    /// `gso_segs`: how many segments a super-packet has; 0 for an ordinary packet.
    fn gso_segments(&self) -> u32;
    /// The socket of this host that the packet belongs to.
    fn sender(&self) -> Sender;
    /// The byte at an offset from the link-layer header. `None` if it is not in the packet's linear part.
    fn byte(&self, offset: u32) -> Option<u8>;
    /// The bytes at an offset from the beginning of the IP header. `None` if they are not in the packet's linear part
    /// (`bpf_skb_load_bytes_relative`).
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
    /// The bytes at an offset from the link-layer header, in whatever part of the packet. `None` if it ends before.
    fn copy<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
    /// The same without a helper. `None` also if they are not in the linear part, or beyond the first 16 KiB.
    fn head<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
    /// The same, with a helper only if one is needed.
    #[inline(always)]
    fn bytes<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        match self.head(offset) {
            Some(bytes) => Some(bytes),
            None => self.copy(offset),
        }
    }
}

/// The number of packets that this is on a wire, from its `gso_segs`.
#[inline(always)]
pub(crate) fn on_a_wire(gso_segments: u32) -> u64 {
    if gso_segments > 1 { u64::from(gso_segments) } else { 1 }
}

/// An IPv4 address in its IPv6 form (`::ffff:a.b.c.d`).
#[inline(always)]
pub(crate) fn in_ipv6_form([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::{IPV4, IPV6, in_ipv6_form, on_a_wire};

    #[test]
    fn a_packet_without_segments_is_one_packet() {
        assert_eq!([0, 1].map(on_a_wire), [1, 1]);
    }

    #[test]
    fn a_super_packet_is_as_many_packets_as_it_has_segments() {
        assert_eq!([2, 44, 65_535].map(on_a_wire), [2, 44, 65_535]);
    }

    #[test]
    fn protocols_are_as_they_are_in_the_packet() {
        assert_eq!(IPV4.to_ne_bytes(), [0x08, 0x00]);
        assert_eq!(IPV6.to_ne_bytes(), [0x86, 0xdd]);
    }

    #[test]
    fn the_ipv6_form_is_the_mapped_address() {
        let address = Ipv4Addr::new(10, 0, 255, 1);
        assert_eq!(Ipv6Addr::from(in_ipv6_form(address.octets())), address.to_ipv6_mapped());
    }
}
