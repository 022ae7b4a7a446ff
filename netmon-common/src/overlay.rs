//! What passes between nodes: the outside of overlay networks' tunnels, by network and remote node.

/// The map that holds the counts: a hash by [`Key`], of [`Outer`] for every CPU.
pub const MAP: &str = "OVERLAY";
/// What did not fit into the map: one `u64` for every CPU.
pub const MAP_LOST: &str = "OVERLAY_LOST";
/// The map that holds how many keys there are that the daemon did not make: one `u32`. Those of tunnels that it knows it
/// makes before anything passes.
pub const MAP_STRANGERS: &str = "OVERLAY_STRANGERS";
/// The map with what the daemon tells: at index 0 the UDP port of VXLAN, which a Swarm can choose.
pub const MAP_PORT: &str = "PORT";
/// The program on the ingress hook of a device that leads to other nodes.
pub const PROGRAM_INGRESS: &str = "overlay_ingress";
/// The program on its egress hook.
pub const PROGRAM_EGRESS: &str = "overlay_egress";

/// How many keys the map has room for: two directions of every network with every node that has a part in it.
pub const MAX_ENTRIES: u32 = 16_384;
/// How many of them may be of tunnels that the daemon does not know.
pub const OF_STRANGERS: u32 = MAX_ENTRIES / 4;

/// Of [`Key::kind`]: a tunnel's packet that anybody on the way can read.
pub const VXLAN: u16 = 0;
/// Of [`Key::kind`]: an encrypted packet (ESP). Whose network it belongs to is part of what is encrypted.
pub const ESP: u16 = 1;

/// What is told apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The other node's address, an IPv4 one as its IPv6 form (`::ffff:a.b.c.d`).
    pub remote: [u8; 16],
    /// The tunnel's network identifier; 0 for [`ESP`].
    pub vni: u32,
    /// [`VXLAN`] or [`ESP`].
    pub kind: u16,
    /// [`crate::traffic::RECEIVE`] or [`crate::traffic::TRANSMIT`], in 16 bits.
    pub direction: u16,
}

/// What one CPU saw of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outer {
    /// Packets as on a wire: a super-packet counts as its segments.
    pub packets: u64,
    /// Bytes, link-layer header included; of a super-packet's headers only the first.
    pub bytes: u64,
}

impl Outer {
    /// Nothing yet.
    pub const ZERO: Self = Self { packets: 0, bytes: 0 };

    /// Adds what another CPU saw.
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

    // SAFETY: `repr(C)`, integers and arrays of them, no padding (the assertions above): every bit pattern is a value.
    unsafe impl aya::Pod for Key {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Outer {}
}
