//! The fields of kernel structures that the programs read, by name.
//!
//! Offsets differ from kernel to kernel, and Rust's compiler emits no relocations for them. So each program has a
//! load-time global for each field that it reads. The daemon sets it from the running kernel's own type information
//! (BTF).
//!
//! The verifier checks each access against the same information. A program with a wrong offset is refused when it is
//! loaded, so it can never read another field.

/// The value of an offset that is not set. It is larger than any structure, so that the verifier refuses a program that
/// reads there.
pub const UNSET: u32 = 0xffff;

/// A field that programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The load-time global for the offset in bytes.
    pub global: &'static str,
    /// The structure.
    pub structure: &'static str,
    /// The member, with dots between levels. Members of anonymous members are found by their own names.
    pub member: &'static str,
}

/// Creates a [`Field`]; a shorthand for tables.
#[must_use]
pub const fn field(global: &'static str, structure: &'static str, member: &'static str) -> Field {
    Field {
        global,
        structure,
        member,
    }
}

/// The fields that lead from a device, a socket or a route to a namespace, and to that namespace's cookie.
pub const NAMESPACE: &[Field] = &[
    field("DEVICE_NAMESPACE", "net_device", "nd_net.net"),
    field("DEVICE_IFINDEX", "net_device", "ifindex"),
    field("NAMESPACE_COOKIE", "net", "net_cookie"),
    field("NAMESPACE_LOOPBACK", "net", "loopback_dev"),
    field("SOCKET_NAMESPACE", "sock", "__sk_common.skc_net.net"),
    field("ROUTE_DEVICE", "dst_entry", "dev"),
];
