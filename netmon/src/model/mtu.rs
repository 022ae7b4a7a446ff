//! By how much a packet grows on its way between nodes.

/// What a tunnel over IPv4 adds to a packet: outer IP, UDP and VXLAN headers, and the inner Ethernet header, which no MTU
/// includes.
pub const VXLAN_OVER_IPV4: u32 = 20 + 8 + 8 + 14;
const VXLAN_OVER_IPV6: u32 = 40 + 8 + 8 + 14;
/// What encryption adds as Docker sets it up (AES-GCM in ESP's transport mode): ESP header, vector, trailer, check
/// value.
pub const ESP: u32 = 8 + 8 + 2 + 8;
/// Encrypted data is padded to a multiple of this many bytes.
const ESP_BLOCK: u32 = 4;

/// By how many bytes the largest packet of a network grows on its way between nodes. `mtu` is the network's, in bytes.
#[must_use]
pub const fn overhead(mtu: u32, is_ipv6: bool, is_encrypted: bool) -> u32 {
    let vxlan = if is_ipv6 { VXLAN_OVER_IPV6 } else { VXLAN_OVER_IPV4 };
    if !is_encrypted {
        return vxlan;
    }
    // From after the outer IP header to the end of ESP's two-byte trailer.
    let behind = mtu.wrapping_add(8 + 8 + 14 + 2) % ESP_BLOCK;
    vxlan + ESP + if behind == 0 { 0 } else { ESP_BLOCK - behind }
}

#[cfg(test)]
mod tests {
    use super::overhead;

    #[test]
    fn what_docker_leaves_room_for_is_what_a_packet_grows_by() {
        // Docker's own MTUs for a node with an MTU of 1500.
        assert_eq!(1450 + overhead(1450, false, false), 1500);
        assert_eq!(1424 + overhead(1424, false, true), 1500);
        assert_eq!(1430 + overhead(1430, true, false), 1500);
    }

    #[test]
    fn encryption_fills_up_to_a_boundary() {
        let sizes: Vec<u32> = (1420..1430).map(|mtu| mtu + overhead(mtu, false, true)).collect();
        assert_eq!(sizes, [1496, 1500, 1500, 1500, 1500, 1504, 1504, 1504, 1504, 1508]);
    }

    #[test]
    fn no_mtu_is_too_large() {
        assert!(overhead(u32::MAX, true, true) < 128);
    }
}
