//! Packets on an interface: one [`Traffic`] a direction, kept by the kernel for every CPU.

/// The map that holds every counter: an array that the daemon maps into its memory and reads without a system call.
pub const MAP: &str = "TRAFFIC";
/// The program on the ingress hook of an interface.
pub const PROGRAM_INGRESS: &str = "traffic_ingress";
/// The program on the egress hook of an interface.
pub const PROGRAM_EGRESS: &str = "traffic_egress";
/// Load-time global: which slot this copy of the programs counts into.
pub const GLOBAL_SLOT: &str = "SLOT";
/// Load-time global: how many slots each CPU has.
pub const GLOBAL_SLOTS: &str = "SLOTS";

/// Directions of a slot, as the interface itself sees them.
pub const DIRECTIONS: u32 = 2;
/// Index of what the interface received (the ingress hook).
pub const RECEIVE: u32 = 0;
/// Index of what the interface sent (the egress hook).
pub const TRANSMIT: u32 = 1;

/// What one CPU saw pass one hook of one interface.
///
/// A socket buffer is what the kernel hands from layer to layer: one packet, or a super-packet of up to 64 KiB that
/// is cut into segments later (GSO) or was put together from several (GRO). A device's own counters count socket
/// buffers, unless the device cannot cut and the kernel cuts before it hands over.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Socket buffers.
    pub packets: u64,
    /// Bytes of the socket buffers, link-layer header included.
    pub bytes: u64,
    /// Packets as on a wire: a super-packet counts as its segments.
    pub segments: u64,
    /// Transmit: bytes as on a wire, the headers of every segment included. Receive: the same as `bytes`, for the
    /// kernel does not say more there.
    pub wire_bytes: u64,
    /// Transmit: the TCP segments among them that sockets here sent, those sent again included. Receive: not counted.
    pub tcp_segments: u64,
}

const _: () = assert!(size_of::<Traffic>() == 40 && align_of::<Traffic>() == 8);

/// Where a CPU keeps a slot's direction: CPUs lie apart, so that no two write to one cache line.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a call from one BPF function to another is what old kernels choke on"
)]
pub const fn index(cpu: u32, slots: u32, slot: u32, direction: u32) -> u32 {
    (cpu * slots + slot) * DIRECTIONS + direction
}

// SAFETY: `repr(C)`, five `u64`, no padding (the assertion above): every bit pattern is a value.
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for the promise that any bytes are a valid value")]
unsafe impl aya::Pod for Traffic {}
