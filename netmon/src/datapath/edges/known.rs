//! The prefixes of addresses that are in a key although they are beyond a gateway. Records what the kernel's map has, which is
//! not always what was wanted. Must not know whose they are.

use std::collections::BTreeSet;

use aya::maps::{
    MapData,
    lpm_trie::{Key, LpmTrie},
};
use netmon_common::edges::{MAP_KNOWN, MAX_KNOWN};

use super::EdgesMap;
use crate::{
    datapath::{
        DatapathError,
        addresses::octets,
        store::{Store, note, removed},
    },
    model::inventory::Subnet,
};

/// What the programs know.
#[derive(Debug, Default)]
pub(super) struct Known {
    prefixes: BTreeSet<Subnet>,
    /// How many of those that were wanted last the map does not have.
    left_out: u64,
    refused: u64,
}

impl Known {
    /// How many the map has.
    pub(super) fn count(&self) -> u64 {
        self.prefixes.len() as u64
    }

    /// How often a prefix found no room.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// Brings the map to what is `wanted`. What is too much at its end is left out. Goes on after an error, and returns the
    /// first.
    fn set(
        &mut self,
        map: &mut impl Store<Subnet, u8>,
        wanted: impl IntoIterator<Item = Subnet>,
    ) -> Result<(), DatapathError> {
        let (mut chosen, mut left_out) = (BTreeSet::new(), 0_u64);
        for prefix in wanted {
            if chosen.len() < MAX_KNOWN as usize {
                chosen.insert(prefix);
            } else if !chosen.contains(&prefix) {
                left_out += 1;
            }
        }
        let mut result = Ok(());
        self.prefixes.retain(|prefix| {
            let is_wanted = chosen.remove(prefix);
            is_wanted || !note(&mut result, map.remove(*prefix))
        });
        for prefix in chosen {
            if note(&mut result, map.write(prefix, 0)) {
                self.prefixes.insert(prefix);
            } else {
                left_out += 1;
            }
        }
        // What is left out is tried again by each call. It counts once.
        self.refused += left_out.saturating_sub(self.left_out);
        self.left_out = left_out;
        result
    }
}

impl Store<Subnet, u8> for LpmTrie<&mut MapData, [u8; 16], u8> {
    fn write(&mut self, key: Subnet, value: u8) -> Result<(), DatapathError> {
        self.insert(&in_trie(key), value, 0).map_err(DatapathError::map)
    }

    fn remove(&mut self, key: Subnet) -> Result<(), DatapathError> {
        removed(Self::remove(self, &in_trie(key)))
    }
}

impl EdgesMap {
    /// Gives the programs the prefixes of addresses to keep, the most important first.
    ///
    /// # Errors
    /// The kernel does not take all of them. What it does not take is counted, and is tried again by the next call.
    pub fn set_known(&mut self, prefixes: impl IntoIterator<Item = Subnet>) -> Result<(), DatapathError> {
        let map = self.attached.map_mut(MAP_KNOWN)?;
        let mut map: LpmTrie<&mut MapData, _, _> = map.try_into().map_err(DatapathError::map)?;
        self.known.set(&mut map, prefixes)
    }
}

/// The key of a prefix. The IPv6 form of an IPv4 address has 96 bits before it.
fn in_trie(prefix: Subnet) -> Key<[u8; 16]> {
    let before = if prefix.address.is_ipv4() { 96 } else { 0 };
    Key::new(before + u32::from(prefix.prefix), octets(prefix.address))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use netmon_common::edges::MAX_KNOWN;

    use super::{Known, in_trie};
    use crate::{datapath::store::tests::Memory, model::inventory::Subnet};

    fn prefix(text: &str) -> Subnet {
        text.parse().expect("a prefix")
    }

    #[test]
    fn a_prefix_of_ipv4_is_one_of_its_ipv6_form() {
        for (text, bits, address) in [
            ("10.0.0.0/8", 104, "::ffff:10.0.0.0"),
            ("192.0.2.7/32", 128, "::ffff:192.0.2.7"),
            ("2001:db8::/32", 32, "2001:db8::"),
        ] {
            let key = in_trie(prefix(text));
            let address: Ipv6Addr = address.parse().expect("an address");
            assert_eq!((key.prefix_len(), key.data()), (bits, address.octets()), "{text}");
        }
    }

    #[test]
    fn what_the_kernel_did_not_take_is_written_later_and_counted_once() {
        let (mut map, mut known) = (Memory::default(), Known::default());
        let [one, two, three] = ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"].map(prefix);
        map.refused = vec![two];
        for _ in 0..2 {
            assert!(known.set(&mut map, [one, two]).is_err());
            assert_eq!(map.values.keys().copied().collect::<Vec<_>>(), [one]);
            assert_eq!((known.count(), known.refused()), (1, 1));
        }
        map.refused.clear();
        known.set(&mut map, [three, two]).expect("nothing is refused");
        assert_eq!(map.values.keys().copied().collect::<Vec<_>>(), [two, three]);
        assert_eq!((known.count(), known.refused()), (2, 1));
    }

    #[test]
    fn the_first_have_room() {
        let (mut map, mut known) = (Memory::default(), Known::default());
        let all = (0..MAX_KNOWN + 3).rev();
        let all = all.map(|number| Subnet {
            address: IpAddr::from(number.to_be_bytes()),
            prefix: 32,
        });
        let [first, last] = [MAX_KNOWN + 2, 2].map(|number| IpAddr::from(number.to_be_bytes()));
        known.set(&mut map, all).expect("nothing is refused");
        assert_eq!((known.count(), known.refused()), (u64::from(MAX_KNOWN), 3));
        let has = |address| map.values.contains_key(&Subnet { address, prefix: 32 });
        assert!(has(first) && !has(last));
    }
}
