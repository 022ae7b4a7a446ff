//! The addresses that the programs know, by namespace. Records what the kernel's map has, which is not always what was
//! wanted.

use std::{collections::BTreeMap, net::IpAddr};

use netmon_common::connection::Address;

use crate::{
    datapath::{
        DatapathError,
        store::{Store, note},
    },
    model::interface::NetnsId,
};

/// How many addresses of one namespace the programs get. Docker gives a container two for each network.
const OF_NAMESPACE: usize = 128;

/// What the programs know.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    namespaces: BTreeMap<NetnsId, OfNamespace>,
    refused: u64,
}

/// One namespace's addresses.
#[derive(Debug, Default)]
struct OfNamespace {
    /// Those that the map has, each with the ifindex there.
    known: BTreeMap<[u8; 16], u32>,
    /// How many the map does not have.
    left_out: u64,
}

impl Addresses {
    /// How many the map has.
    pub(super) fn count(&self) -> u64 {
        self.namespaces.values().map(|its| its.known.len() as u64).sum()
    }

    /// How often an address found no room: in the map, or among those of its namespace.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// Brings the map to what a namespace has now. Goes on after an error, and returns the first. What could not be
    /// written or removed is tried again by the next call.
    pub(super) fn set(
        &mut self,
        map: &mut impl Store<Address, u32>,
        netns: NetnsId,
        addresses: impl IntoIterator<Item = (IpAddr, u32)>,
    ) -> Result<(), DatapathError> {
        let mut wanted: BTreeMap<[u8; 16], u32> = BTreeMap::new();
        let mut left_out = 0_u64;
        for (address, ifindex) in addresses {
            let address = octets(address);
            if wanted.len() < OF_NAMESPACE || wanted.contains_key(&address) {
                wanted.insert(address, ifindex);
            } else {
                left_out += 1;
            }
        }
        let key = |address: &[u8; 16]| Address {
            netns: netns.0,
            address: *address,
        };
        let mut result = Ok(());
        let OfNamespace {
            mut known,
            left_out: before,
        } = self.namespaces.remove(&netns).unwrap_or_default();
        known.retain(|address, _| wanted.contains_key(address) || !note(&mut result, map.remove(key(address))));
        for (address, ifindex) in wanted {
            if known.get(&address) == Some(&ifindex) {
                continue;
            }
            if note(&mut result, map.write(key(&address), ifindex)) {
                known.insert(address, ifindex);
            } else {
                left_out += 1;
            }
        }
        // What is left out is tried again at every look. It counts once.
        self.refused += left_out.saturating_sub(before);
        if !known.is_empty() || left_out > 0 {
            self.namespaces.insert(netns, OfNamespace { known, left_out });
        }
        result
    }

    /// Removes the addresses of the namespaces that are `gone`. Goes on after an error, and returns the first.
    pub(super) fn forget(
        &mut self,
        map: &mut impl Store<Address, u32>,
        gone: impl Fn(NetnsId) -> bool,
    ) -> Result<(), DatapathError> {
        let gone: Vec<NetnsId> = self.namespaces.keys().copied().filter(|netns| gone(*netns)).collect();
        let emptied = gone.into_iter().map(|netns| self.set(map, netns, []));
        emptied.fold(Ok(()), Result::and)
    }
}

/// The address in the form that the programs have all addresses in: IPv6.
pub(super) const fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use netmon_common::connection::Address;

    use super::{Addresses, OF_NAMESPACE, octets};
    use crate::{datapath::store::tests::Memory, model::interface::NetnsId};

    const NETNS: NetnsId = NetnsId(1);

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn key(last: u8) -> Address {
        Address {
            netns: NETNS.0,
            address: octets(address(last)),
        }
    }

    /// Which addresses the map has, and on which devices.
    fn has(map: &Memory<Address, u32>) -> Vec<(u8, u32)> {
        let all = map.values.iter();
        all.map(|(key, ifindex)| (key.address[15], *ifindex)).collect()
    }

    #[test]
    fn what_the_kernel_did_not_take_is_written_later_and_counted_once() {
        let (mut map, mut addresses) = (Memory::default(), Addresses::default());
        let wanted = [(address(1), 5), (address(2), 5), (address(3), 6)];
        map.refused = vec![key(2)];
        for _ in 0..2 {
            assert!(addresses.set(&mut map, NETNS, wanted).is_err());
            assert_eq!(has(&map), [(1, 5), (3, 6)], "the others are written");
            assert_eq!((addresses.count(), addresses.refused()), (2, 1));
        }
        map.refused.clear();
        assert!(addresses.set(&mut map, NETNS, wanted).is_ok());
        assert_eq!(has(&map), [(1, 5), (2, 5), (3, 6)]);
        assert_eq!((addresses.count(), addresses.refused()), (3, 1));
        let calls = map.calls;
        assert!(addresses.set(&mut map, NETNS, wanted).is_ok());
        assert_eq!(map.calls, calls, "nothing has changed");
    }

    #[test]
    fn what_the_kernel_did_not_remove_ends_nothing_else_and_is_removed_later() {
        let (mut map, mut addresses) = (Memory::default(), Addresses::default());
        let old = [(address(1), 5), (address(2), 5)];
        assert!(addresses.set(&mut map, NETNS, old).is_ok());
        map.refused = vec![key(1)];
        assert!(addresses.set(&mut map, NETNS, [(address(3), 6)]).is_err());
        assert_eq!(has(&map), [(1, 5), (3, 6)]);
        assert_eq!((addresses.count(), addresses.refused()), (2, 0), "it is still there");
        assert!(addresses.forget(&mut map, |_| true).is_err());
        assert_eq!(has(&map), [(1, 5)]);
        map.refused.clear();
        assert!(addresses.forget(&mut map, |_| true).is_ok());
        assert_eq!((has(&map), addresses.count()), (vec![], 0));
        assert!(addresses.namespaces.is_empty());
    }

    #[test]
    fn a_device_that_could_not_be_written_is_the_former_one() {
        let (mut map, mut addresses) = (Memory::default(), Addresses::default());
        assert!(addresses.set(&mut map, NETNS, [(address(1), 5)]).is_ok());
        map.refused = vec![key(1)];
        assert!(addresses.set(&mut map, NETNS, [(address(1), 6)]).is_err());
        map.refused.clear();
        assert!(addresses.set(&mut map, NETNS, [(address(1), 6)]).is_ok());
        assert_eq!(has(&map), [(1, 6)]);
    }

    #[test]
    fn what_is_over_a_namespaces_limit_is_counted() {
        let (mut map, mut addresses) = (Memory::default(), Addresses::default());
        let limit = u8::try_from(OF_NAMESPACE).expect("it is small");
        let first = |count: u8| (0..count).map(|last| (address(last), 5));
        assert!(addresses.set(&mut map, NETNS, first(limit)).is_ok());
        assert_eq!((addresses.count(), addresses.refused()), (limit.into(), 0));
        for _ in 0..2 {
            assert!(addresses.set(&mut map, NETNS, first(limit + 3)).is_ok());
            assert_eq!((addresses.count(), addresses.refused()), (limit.into(), 3));
        }
        assert!(addresses.forget(&mut map, |_| true).is_ok());
        assert_eq!((map.values.len(), addresses.refused()), (0, 3));
    }
}
