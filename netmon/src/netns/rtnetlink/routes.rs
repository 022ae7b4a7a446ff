//! Decodes rtnetlink messages about FDB entries, neighbours and routes: pure, from bytes to the model.
//!
//! Constants and layouts are those of the kernel's `neighbour.h` and `rtnetlink.h`.

use std::{io, net::IpAddr};

use super::decode::{Answer, ip_address, mac_address, u32_at};
use crate::model::{
    facts::{Forwarding, Neighbour, Route},
    interface::MacAddress,
    inventory::Subnet,
};

pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWNEIGH: u16 = 28;
const NDMSG_BYTES: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
const NTF_EXT_LEARNED: u8 = 0x10;
const RTMSG_BYTES: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
const RT_TABLE_MAIN: u8 = 254;
const RTN_UNICAST: u8 = 1;
const RT_SCOPE_LINK: u8 = 253;

/// A VXLAN device's ifindex and the address of a node (VTEP) that it sends to, from `RTM_NEWNEIGH`.
pub(super) fn remote(answer: Answer<'_>) -> Option<(u32, IpAddr)> {
    if answer.kind != RTM_NEWNEIGH {
        return None;
    }
    let ifindex = u32_at(answer.payload, 4)?;
    let address = answer.attributes(NDMSG_BYTES).find_map(|(kind, value)| match kind {
        NDA_DST => ip_address(value),
        _ => None,
    })?;
    (!address.is_unspecified() && !address.is_multicast()).then_some((ifindex, address))
}

/// To which node a VXLAN device sends what is for a hardware address, from `RTM_NEWNEIGH` of bridges. `None` for an entry
/// of a bridge's own, which leads to no node.
pub(super) fn forwarding(answer: Answer<'_>) -> Option<Forwarding> {
    let (ifindex, node) = remote(answer)?;
    let mac = hardware(answer)?;
    Some(Forwarding { ifindex, mac, node })
}

/// An entry of a neighbour table, from `RTM_NEWNEIGH`.
pub(super) fn neighbour(answer: Answer<'_>) -> Option<Neighbour> {
    if answer.kind != RTM_NEWNEIGH {
        return None;
    }
    let &[family, _, _, _, _, _, _, _, low, high, ..] = answer.payload else {
        return None;
    };
    let state = u16::from_ne_bytes([low, high]);
    if !matches!(family, AF_INET | AF_INET6) || state & NUD_NOARP != 0 {
        return None;
    }
    let address = answer.attributes(NDMSG_BYTES).find_map(|(kind, value)| match kind {
        NDA_DST => ip_address(value),
        _ => None,
    })?;
    Some(Neighbour {
        ifindex: u32_at(answer.payload, 4)?,
        address,
        mac: hardware(answer),
        is_permanent: state & NUD_PERMANENT != 0,
    })
}

fn hardware(answer: Answer<'_>) -> Option<MacAddress> {
    answer.attributes(NDMSG_BYTES).find_map(|(kind, value)| match kind {
        NDA_LLADDR => mac_address(value),
        _ => None,
    })
}

/// The address family of a neighbour that no threshold bounds, from `RTM_NEWNEIGH`.
pub(super) fn exempt(answer: Answer<'_>) -> Option<u8> {
    if answer.kind != RTM_NEWNEIGH {
        return None;
    }
    let &[family, _, _, _, _, _, _, _, low, high, flags, ..] = answer.payload else {
        return None;
    };
    let is_permanent = u16::from_ne_bytes([low, high]) & NUD_PERMANENT != 0;
    (is_permanent || flags & NTF_EXT_LEARNED != 0).then_some(family)
}

/// The device of a route, from `RTM_NEWROUTE`.
pub(super) fn device(answer: Answer<'_>) -> Option<u32> {
    if answer.kind != RTM_NEWROUTE {
        return None;
    }
    answer.attributes(RTMSG_BYTES).find_map(|(kind, value)| match kind {
        RTA_OIF => u32_at(value, 0),
        _ => None,
    })
}

/// A route that leads somewhere, from `RTM_NEWROUTE`. Of one with several ways, the first.
pub(super) fn route(answer: Answer<'_>) -> Option<Route> {
    let &[family, prefix, _, _, table, _, scope, kind, ..] = answer.payload else {
        return None;
    };
    if answer.kind != RTM_NEWROUTE || kind != RTN_UNICAST {
        return None;
    }
    let mut address = match family {
        AF_INET => IpAddr::from([0; 4]),
        AF_INET6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let mut ifindex = None;
    for (kind, value) in answer.attributes(RTMSG_BYTES) {
        match kind {
            RTA_DST => address = ip_address(value)?,
            RTA_OIF => ifindex = u32_at(value, 0),
            // The length, flags and weight of the first way come before its device (`struct rtnexthop`).
            RTA_MULTIPATH => ifindex = ifindex.or_else(|| u32_at(value, 4)),
            _ => {}
        }
    }
    Some(Route {
        subnet: Subnet { address, prefix },
        ifindex: ifindex?,
        is_link: scope == RT_SCOPE_LINK,
        is_main: table == RT_TABLE_MAIN,
    })
}

/// Whether the kernel's answer says that there is no way to an address: none is known, or one is forbidden or discards
/// packets (`fib_props`).
pub(super) fn is_no_route(error: &io::Error) -> bool {
    let none = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL];
    error.raw_os_error().is_some_and(|code| none.contains(&code))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::samples::attribute;
    use super::{
        AF_INET, AF_INET6, Answer, NTF_EXT_LEARNED, NUD_PERMANENT, RTM_NEWNEIGH, RTM_NEWROUTE, device, exempt,
        is_no_route, remote, route,
    };

    fn neighbour(address: &[u8]) -> Vec<u8> {
        let header = [7, 0, 0, 0, 9, 0, 0, 0, 0x80, 0, 2, 0];
        let mac = [0, 0, 0, 0, 0, 0, 0, 0];
        [&header[..], &attribute(2, &mac), &attribute(1, address)].concat()
    }

    fn read_remote(payload: &[u8]) -> Option<(u32, std::net::IpAddr)> {
        remote(Answer {
            kind: RTM_NEWNEIGH,
            payload,
        })
    }

    #[test]
    fn permanent_and_learnt_neighbours_are_exempt() {
        const REACHABLE: u16 = 0x02;
        const NOARP: u16 = 0x40;
        let of = |family: u8, state: u16, flags: u8| {
            let [low, high] = state.to_ne_bytes();
            let payload = [family, 0, 0, 0, 2, 0, 0, 0, low, high, flags, 0];
            let answer = |kind| Answer {
                kind,
                payload: &payload,
            };
            assert_eq!(exempt(answer(RTM_NEWROUTE)), None);
            exempt(answer(RTM_NEWNEIGH))
        };
        assert_eq!(of(AF_INET, NUD_PERMANENT, 0), Some(AF_INET));
        assert_eq!(of(AF_INET6, REACHABLE, NTF_EXT_LEARNED), Some(AF_INET6));
        assert_eq!(of(AF_INET, REACHABLE, 0), None);
        // Loopback's. The kernel may evict it.
        assert_eq!(of(AF_INET, NOARP, 0), None);
    }

    #[test]
    fn a_forwarding_entry_has_the_node_behind_it() {
        let found = read_remote(&neighbour(&[10, 88, 0, 2]));
        assert_eq!(found, Some((u32::from_ne_bytes([9, 0, 0, 0]), [10, 88, 0, 2].into())));
    }

    #[test]
    fn a_kernel_without_memory_does_not_say_that_there_is_no_route() {
        assert!(is_no_route(&io::Error::from_raw_os_error(libc::ENETUNREACH)));
        for other in [libc::ENOBUFS, libc::ENOMEM, libc::EBUSY] {
            assert!(!is_no_route(&io::Error::from_raw_os_error(other)), "{other}");
        }
    }

    #[test]
    fn nobody_and_everybody_are_no_nodes() {
        for address in [&[0, 0, 0, 0][..], &[239, 1, 1, 1], &[1, 2, 3], &[]] {
            assert_eq!(read_remote(&neighbour(address)), None, "{address:?}");
        }
        assert_eq!(read_remote(&[0; 12]), None);
    }

    #[test]
    fn a_route_leads_to_a_subnet_by_a_device() {
        let header = |table: u8, kind: u8| [2, 8, 0, 0, table, 0, 0, kind, 0, 0, 0, 0];
        let to = attribute(1, &[10, 0, 0, 0]);
        let by = attribute(4, &5_u32.to_ne_bytes());
        let read = |payload: &[u8]| {
            route(Answer {
                kind: RTM_NEWROUTE,
                payload,
            })
            .map(|route| (route.subnet.to_string(), route.ifindex))
        };
        let leads = |subnet: &str, ifindex| Some((subnet.to_owned(), ifindex));
        assert_eq!(read(&[&header(254, 1)[..], &to, &by].concat()), leads("10.0.0.0/8", 5));
        let default = [2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(read(&[&default[..], &by].concat()), leads("0.0.0.0/0", 5));
        let ways = [8, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0];
        let several = attribute(9, &ways);
        assert_eq!(
            read(&[&header(254, 1)[..], &to, &several].concat()),
            leads("10.0.0.0/8", 7)
        );
        // One that discards packets, and one without a device.
        assert_eq!(read(&[&header(254, 6)[..], &to].concat()), None);
        assert_eq!(read(&[&header(254, 1)[..], &to].concat()), None);
    }

    #[test]
    fn a_route_has_a_device_or_none() {
        let header = [2, 32, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        let payload = [
            &header[..],
            &attribute(1, &[10, 0, 0, 1]),
            &attribute(4, &5_u32.to_ne_bytes()),
        ]
        .concat();
        let read = |kind, payload: &[u8]| device(Answer { kind, payload });
        assert_eq!(read(RTM_NEWROUTE, &payload), Some(5));
        assert_eq!(read(RTM_NEWROUTE, &header), None);
        assert_eq!(read(0, &payload), None);
    }
}
