//! Packets on an interface: one [`Traffic`] per direction and CPU.

/// The map of all counters: an array that the daemon maps into its memory and reads without a system call.
pub const MAP: &str = "TRAFFIC";
/// The program on the ingress hook of an interface.
pub const PROGRAM_INGRESS: &str = "traffic_ingress";
/// The program on the egress hook of an interface.
pub const PROGRAM_EGRESS: &str = "traffic_egress";
/// Load-time global: the slot that this copy of the programs counts into.
pub const GLOBAL_SLOT: &str = "SLOT";
/// Load-time global: the number of slots of each CPU.
pub const GLOBAL_SLOTS: &str = "SLOTS";

/// The number of directions of a slot. A direction is the interface's own.
pub const DIRECTIONS: u32 = 2;
/// Index of received packets (the ingress hook).
pub const RECEIVE: u32 = 0;
/// Index of transmitted packets (the egress hook).
pub const TRANSMIT: u32 = 1;

/// The counts of one CPU at one hook of one interface.
///
/// A socket buffer is the unit that the kernel's layers pass on: one packet, or a super-packet of up to 64 KiB. A
/// super-packet is either cut into segments later (GSO) or was assembled from several packets (GRO).
///
/// A device's own counters count socket buffers. The exception is a device that cannot cut: the kernel then cuts
/// before it hands the packets over.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Socket buffers.
    pub packets: u64,
    /// Bytes of the socket buffers, including the link-layer header.
    pub bytes: u64,
    /// Packets as on a wire: a super-packet counts as its segments.
    pub segments: u64,
    /// Transmit: bytes as on a wire, including the headers of every segment. Receive: the same as `bytes`, because
    /// the kernel does not provide more there.
    pub wire_bytes: u64,
    /// Transmit: segments that the namespace's TCP sent, including retransmitted ones. Those of raw and packet sockets
    /// are not TCP's. Receive: not counted.
    pub tcp_segments: u64,
}

const _: () = assert!(size_of::<Traffic>() == 40 && align_of::<Traffic>() == 8);

/// The index of a CPU's counters for one direction of a slot. Each CPU has its own range, so that no two CPUs write
/// to one cache line.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a call from one BPF function to another is what old kernels choke on"
)]
pub const fn index(cpu: u32, slots: u32, slot: u32, direction: u32) -> u32 {
    (cpu * slots + slot) * DIRECTIONS + direction
}

// SAFETY: `repr(C)`, five `u64`, no padding (the assertion above). So every bit pattern is a value.
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for the promise that any bytes are a valid value")]
unsafe impl aya::Pod for Traffic {}
