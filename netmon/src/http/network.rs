//! Which network a client comes from: what one client can have many addresses of counts as one.

use std::net::{IpAddr, Ipv6Addr};

/// The network of an address, by its first address. A host has one address of IPv4, and as many of IPv6 as its network
/// has: 2^64 usually.
pub(super) fn of(address: IpAddr) -> IpAddr {
    const HOSTS: u128 = u64::MAX as u128;
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !HOSTS).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::of;

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_of_ipv6_is_one() {
        assert_eq!(of(at("fd00::1")), of(at("fd00::2:3")));
        assert_ne!(of(at("fd00::1")), of(at("fd00:0:0:1::1")));
        assert_ne!(of(at("10.0.0.1")), of(at("10.0.0.2")));
        assert_eq!(of(at("::ffff:10.0.0.1")), at("10.0.0.1"));
    }
}
