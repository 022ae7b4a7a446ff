//! Where the running kernel keeps what the programs read: fields of its structures, by name.
//!
//! Offsets differ from kernel to kernel, and Rust's compiler emits no relocations for them. So each program has a
//! load-time global for each field that it reads, and the daemon sets it to what the running kernel's own type
//! information (BTF) says. The verifier checks each access against that same information: a wrong offset is refused
//! when the program is loaded, it can never read something else.

/// A field that programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The load-time global that takes its offset in bytes.
    pub global: &'static str,
    /// The structure.
    pub structure: &'static str,
    /// The member, with dots between levels. Members of anonymous members are found by their own name.
    pub member: &'static str,
}

/// Shorthand for tables.
#[must_use]
pub const fn field(global: &'static str, structure: &'static str, member: &'static str) -> Field {
    Field {
        global,
        structure,
        member,
    }
}

/// Where a namespace is found: from a device or a socket to its namespace, and that namespace's cookie.
pub const NAMESPACE: &[Field] = &[
    field("DEVICE_NAMESPACE", "net_device", "nd_net.net"),
    field("DEVICE_IFINDEX", "net_device", "ifindex"),
    field("NAMESPACE_COOKIE", "net", "net_cookie"),
    field("NAMESPACE_LOOPBACK", "net", "loopback_dev"),
    field("SOCKET_NAMESPACE", "sock", "__sk_common.skc_net.net"),
    field("ROUTE_DEVICE", "dst_entry", "dev"),
];
