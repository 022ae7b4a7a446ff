//! Traffic between nodes: the outer packets of overlay networks' tunnels, by network and remote node.

/// The map of the counts: a hash map by [`Key`], with an [`Outer`] for every CPU.
pub const MAP: &str = "OVERLAY";
/// The map of packets that found no room in [`MAP`]: an array by the cause ([`crate::refusal`]), with a `u64` for every
/// CPU.
pub const MAP_LOST: &str = "OVERLAY_LOST";
/// The map with the number of keys of unknown tunnels: one `u32`. The daemon creates the keys of known tunnels before
/// any traffic.
pub const MAP_STRANGERS: &str = "OVERLAY_STRANGERS";
/// The map with the daemon's settings. Index 0 is the UDP port of VXLAN, which a Swarm can choose.
pub const MAP_PORT: &str = "PORT";
/// The program on the ingress hook of a device that leads to other nodes.
pub const PROGRAM_INGRESS: &str = "overlay_ingress";
/// The program on its egress hook.
pub const PROGRAM_EGRESS: &str = "overlay_egress";

/// The maximum number of keys in the map. Every network has two for every node that takes part in it, one per
/// direction.
pub const MAX_ENTRIES: u32 = 16_384;
/// How many of these keys may belong to unknown tunnels.
pub const OF_STRANGERS: u32 = MAX_ENTRIES / 4;

/// A value of [`Key::kind`]: a VXLAN packet in the clear.
pub const VXLAN: u16 = 0;
/// A value of [`Key::kind`]: an encrypted packet (ESP). Its network is not visible, because the VNI is encrypted.
pub const ESP: u16 = 1;

/// The key of a count.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The other node's address. An IPv4 address is in its IPv6 form (`::ffff:a.b.c.d`).
    pub remote: [u8; 16],
    /// The tunnel's VNI; 0 for [`ESP`].
    pub vni: u32,
    /// [`VXLAN`] or [`ESP`].
    pub kind: u16,
    /// [`crate::traffic::RECEIVE`] or [`crate::traffic::TRANSMIT`], in 16 bits.
    pub direction: u16,
}

/// The counts of one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outer {
    /// Packets as on a wire: a super-packet counts as its segments.
    pub packets: u64,
    /// Bytes, including the link-layer header. Of a super-packet, only the first segment's headers count.
    pub bytes: u64,
}

impl Outer {
    /// All counts at 0.
    pub const ZERO: Self = Self { packets: 0, bytes: 0 };

    /// Adds another CPU's counts.
    pub const fn accumulate(&mut self, other: &Self) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }
}

const _: () = assert!(size_of::<Key>() == 24 && align_of::<Key>() == 4);
const _: () = assert!(size_of::<Outer>() == 16 && align_of::<Outer>() == 8);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for the promise that any bytes are a valid value")]
mod user {
    use super::{Key, Outer};

    // SAFETY: `repr(C)`, integers and arrays of them, no padding (the assertions above). So every bit pattern is a
    // value.
    unsafe impl aya::Pod for Key {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Outer {}
}
