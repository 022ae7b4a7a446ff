//! Decodes rtnetlink messages: pure, from bytes to the model.
//!
//! Constants and layouts are those of the kernel's `netlink.h`, `rtnetlink.h`, `if_link.h` and `net_namespace.h`,
//! which never change. If an attribute is missing, too short or unknown, its field stays at "not known".

use std::{io, net::IpAddr};

use crate::model::{
    counters::{DeviceCounters, Directions},
    interface::{Device, DeviceKind, MacAddress},
};

const NETLINK_HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;

const NLA_HEADER_BYTES: usize = 4;
/// Masks out the flags for "nested" and "network byte order".
const NLA_TYPE_MASK: u16 = 0x3fff;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const IFINFO_BYTES: usize = 16;
const IFADDR_BYTES: usize = 8;
const IF_STATS_BYTES: usize = 12;
/// `struct rtgenmsg`, padded.
const RTGEN_BYTES: usize = 4;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_PORT: u16 = 15;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFLA_STATS_LINK_64: u16 = 1;
const NETNSA_NSID: u16 = 1;

const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;

/// One message in a datagram.
#[derive(Debug)]
pub(in crate::netns) enum Message<'a> {
    /// The end of a dump, or of a request without an answer.
    Done,
    /// The dump is inconsistent, because something changed while the kernel made it. The message itself is still
    /// valid.
    Interrupted,
    /// An error.
    Error(io::Error),
    /// Anything else.
    Answer(Answer<'a>),
}

/// A message with content: its type, and the bytes after the netlink header.
#[derive(Clone, Copy, Debug)]
pub(in crate::netns) struct Answer<'a> {
    pub(super) kind: u16,
    pub(super) payload: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The message's type.
    pub(in crate::netns) const fn kind(self) -> u16 {
        self.kind
    }

    /// The bytes after the netlink header.
    pub(in crate::netns) const fn payload(self) -> &'a [u8] {
        self.payload
    }

    /// The attributes after a fixed header of `header` bytes. Iteration ends at one that cannot be decoded.
    pub(in crate::netns) fn attributes(self, header: usize) -> impl Iterator<Item = (u16, &'a [u8])> {
        attributes(self.payload.get(header..).unwrap_or_default())
    }
}

/// Splits a datagram into its messages. Iteration ends at one that is cut off or cannot be decoded.
pub(in crate::netns) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    let mut pending = None;
    std::iter::from_fn(move || {
        if let Some(message) = pending.take() {
            return Some(message);
        }
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let (kind, flags) = (u16_at(rest, 4)?, u16_at(rest, 6)?);
        let payload = rest.get(NETLINK_HEADER_BYTES..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        let message = match kind {
            // The kernel may break off a dump, and says why at its end (`netlink_dump_done`).
            NLMSG_DONE => end(u32_at(payload, 0).unwrap_or_default()),
            // Error code 0 is the kernel's acknowledgement.
            NLMSG_ERROR => end(u32_at(payload, 0)?),
            _ => Message::Answer(Answer { kind, payload }),
        };
        if flags & NLM_F_DUMP_INTR == 0 {
            return Some(message);
        }
        pending = Some(message);
        Some(Message::Interrupted)
    })
}

fn end(code: u32) -> Message<'static> {
    match code.cast_signed() {
        0 => Message::Done,
        code => Message::Error(io::Error::from_raw_os_error(code.wrapping_neg())),
    }
}

/// A device, from `RTM_NEWLINK`.
pub(super) fn device(answer: Answer<'_>) -> Option<Device> {
    (answer.kind == RTM_NEWLINK).then(|| described(answer)).flatten()
}

/// The device in a message.
fn described(answer: Answer<'_>) -> Option<Device> {
    let flags = u32_at(answer.payload, 8)?;
    let kind = if flags & IFF_LOOPBACK == 0 {
        DeviceKind::Other
    } else {
        DeviceKind::Loopback
    };
    let mut device = Device::new(u32_at(answer.payload, 4)?, String::new(), kind);
    device.up = flags & IFF_UP != 0;
    for (kind, value) in answer.attributes(IFINFO_BYTES) {
        match kind {
            IFLA_IFNAME => device.name = printable(value),
            IFLA_ADDRESS => device.mac = mac_address(value),
            IFLA_MTU => device.mtu = u32_at(value, 0).unwrap_or_default(),
            IFLA_MASTER => device.master = u32_at(value, 0),
            IFLA_LINK => device.peer = u32_at(value, 0),
            IFLA_LINKINFO => link_info(value, &mut device),
            _ => {}
        }
    }
    // Children of other devices have it, too: that of their parent.
    device.peer = device.peer.filter(|peer| device.kind == DeviceKind::Veth && *peer != 0);
    Some(device)
}

fn link_info(value: &[u8], device: &mut Device) {
    for (kind, value) in attributes(value) {
        match kind {
            IFLA_INFO_KIND => device.kind = device_kind(value),
            // The kind comes before its data (`rtnl_link_info_fill`).
            IFLA_INFO_DATA if device.kind == DeviceKind::Vxlan => {
                for (kind, value) in attributes(value) {
                    match kind {
                        IFLA_VXLAN_ID => device.vni = u32_at(value, 0),
                        // In network byte order.
                        IFLA_VXLAN_PORT => device.vxlan_port = u16_at(value, 0).map(u16::to_be),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

fn device_kind(name: &[u8]) -> DeviceKind {
    match name.strip_suffix(b"\0").unwrap_or(name) {
        b"veth" => DeviceKind::Veth,
        b"vxlan" => DeviceKind::Vxlan,
        b"macvlan" => DeviceKind::Macvlan,
        b"ipvlan" => DeviceKind::Ipvlan,
        b"bridge" => DeviceKind::Bridge,
        _ => DeviceKind::Other,
    }
}

/// The device's ifindex and one of its addresses, from `RTM_NEWADDR`.
pub(super) fn address(answer: Answer<'_>) -> Option<(u32, IpAddr)> {
    let ifindex = u32_at(answer.payload, 4)?;
    let mut address = None;
    for (kind, value) in answer.attributes(IFADDR_BYTES) {
        match kind {
            // For a point-to-point device, IFA_ADDRESS is the far end and IFA_LOCAL the device's own address.
            IFA_LOCAL => address = ip_address(value),
            IFA_ADDRESS => address = address.or_else(|| ip_address(value)),
            _ => {}
        }
    }
    Some((ifindex, address?))
}

pub(super) fn ip_address(value: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(value) {
        Some(IpAddr::from(bytes))
    } else {
        <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
    }
}

/// A hardware address of six bytes.
pub(super) fn mac_address(value: &[u8]) -> Option<MacAddress> {
    <[u8; 6]>::try_from(value).ok().map(MacAddress)
}

/// A device's ifindex and its statistics, from `RTM_NEWSTATS`.
pub(super) fn statistics(answer: Answer<'_>) -> Option<(u32, Directions<DeviceCounters>)> {
    let ifindex = u32_at(answer.payload, 4)?;
    let counters = answer.attributes(IF_STATS_BYTES).find_map(|(kind, value)| match kind {
        IFLA_STATS_LINK_64 => device_counters(value),
        _ => None,
    })?;
    Some((ifindex, counters))
}

/// `struct rtnl_link_stats64`: newer kernels only append to it.
fn device_counters(value: &[u8]) -> Option<Directions<DeviceCounters>> {
    let at = |index: usize| {
        value
            .get(index * 8..index * 8 + 8)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_ne_bytes)
    };
    let of = |direction: usize| {
        Some(DeviceCounters {
            packets: at(direction)?,
            bytes: at(2 + direction)?,
            errors: at(4 + direction)?,
            dropped: at(6 + direction)?,
        })
    };
    Some(Directions {
        receive: of(0)?,
        transmit: of(1)?,
    })
}

/// The nsid of a namespace, from `RTM_NEWNSID`. `None` while it has none.
pub(super) fn nsid(answer: Answer<'_>) -> Option<i32> {
    answer
        .attributes(RTGEN_BYTES)
        .find_map(|(kind, value)| if kind == NETNSA_NSID { u32_at(value, 0) } else { None })
        .map(u32::cast_signed)
        .filter(|nsid| *nsid >= 0)
}

/// A change of a device that the kernel reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::netns) struct LinkEvent {
    /// The device. These messages contain no addresses.
    pub(in crate::netns) device: Device,
    /// The device was deleted from its namespace, or moved to another one.
    pub(in crate::netns) gone: bool,
    /// The counters at this moment. For a veth whose peer is already deleted, the receive side is unknown: the driver
    /// reads it from the peer (`veth_get_stats64`).
    pub(in crate::netns) counters: Directions<Option<DeviceCounters>>,
}

/// A change of a device, from `RTM_NEWLINK` and `RTM_DELLINK`. A bridge reports its ports in messages of the same
/// types, but of another family. Those are ignored.
pub(in crate::netns) fn link_event(answer: Answer<'_>) -> Option<LinkEvent> {
    if !matches!(answer.kind, RTM_NEWLINK | RTM_DELLINK) || *answer.payload.first()? != 0 {
        return None;
    }
    let device = described(answer)?;
    let mut counters = None;
    let mut peer = 0;
    for (kind, value) in answer.attributes(IFINFO_BYTES) {
        match kind {
            IFLA_STATS64 => counters = device_counters(value),
            IFLA_LINK => peer = u32_at(value, 0).unwrap_or_default(),
            _ => {}
        }
    }
    let receive_known = device.kind != DeviceKind::Veth || peer != 0;
    Some(LinkEvent {
        device,
        gone: answer.kind == RTM_DELLINK,
        counters: Directions {
            receive: counters.map(|counters| counters.receive).filter(|_| receive_known),
            transmit: counters.map(|counters| counters.transmit),
        },
    })
}

/// The attributes of a message or of an attribute, as type and value. Written here because the iterator of the
/// netlink crates lends each value only until the next one.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & NLA_TYPE_MASK;
        let value = rest.get(NLA_HEADER_BYTES..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A device's name as text: its bytes up to the terminating zero, with bytes that are not printable ASCII as `\xNN`.
fn printable(name: &[u8]) -> String {
    name.strip_suffix(b"\0").unwrap_or(name).escape_ascii().to_string()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::{
        super::queues::{neighbours, queue},
        Message, address, device, link_event, messages, nsid, printable, statistics,
    };

    #[test]
    fn two_names_stay_two_names_however_odd_their_bytes() {
        assert_eq!(printable(b"eth0\0"), "eth0");
        assert_eq!(printable(b"\xff\0"), "\\xff");
        assert_eq!(printable(b"\xfe\0"), "\\xfe");
        assert_eq!(printable(b"a\"b\nc\0"), "a\\\"b\\nc");
    }

    #[test]
    fn an_error_carries_the_kernels_reason() {
        let mut bytes = vec![20, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend((-1_i32).to_ne_bytes());
        let reasons: Vec<_> = messages(&bytes)
            .filter_map(|message| match message {
                Message::Error(error) => error.raw_os_error(),
                Message::Done | Message::Interrupted | Message::Answer(_) => None,
            })
            .collect();
        assert_eq!(reasons, [libc::EPERM]);
    }

    proptest! {
        /// For any bytes, decoding ends and does not panic.
        #[test]
        fn no_bytes_can_upset_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..512), kind in 14_u16..100) {
            let mut framed = Vec::from(u32::try_from(bytes.len() + 16).expect("it is short").to_ne_bytes());
            framed.extend(kind.to_ne_bytes());
            framed.extend([0; 10]);
            framed.extend(&bytes);
            for datagram in [&bytes, &framed] {
                for message in messages(datagram) {
                    let Message::Answer(answer) = message else { continue };
                    let _ = (device(answer), address(answer), statistics(answer), nsid(answer), link_event(answer));
                    let _ = (queue(answer), neighbours(answer));
                }
            }
        }
    }
}
