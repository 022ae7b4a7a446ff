//! Reads the kernel's own structures, and finds the namespace that something belongs to.
//!
//! The verifier knows the types of the pointers that a tracepoint passes, and of the pointers read through them. Such
//! reads are plain loads, which cost nothing. They read 0 if the pointer is invalid (the kernel's exception table).
//!
//! The offsets are load-time globals (see [`netmon_common::kernel`]). If a field is missing, its offset keeps a value
//! with which the verifier refuses the program.

use core::ptr::read_volatile;

use aya_ebpf::Global;

/// The value of an offset before it is set. It is larger than any structure, so that the verifier refuses the
/// program.
const UNSET: u32 = 0xffff;

/// A global for an offset, which the daemon sets.
pub(crate) const fn offset() -> Global<u32> {
    Global::new(UNSET)
}

#[unsafe(no_mangle)]
pub(crate) static DEVICE_NAMESPACE: Global<u32> = offset();
#[unsafe(no_mangle)]
pub(crate) static DEVICE_IFINDEX: Global<u32> = offset();
#[unsafe(no_mangle)]
pub(crate) static NAMESPACE_COOKIE: Global<u32> = offset();
#[unsafe(no_mangle)]
static NAMESPACE_LOOPBACK: Global<u32> = offset();
#[unsafe(no_mangle)]
static SOCKET_NAMESPACE: Global<u32> = offset();
#[unsafe(no_mangle)]
pub(crate) static ROUTE_DEVICE: Global<u32> = offset();

/// A namespace and a device in it; 0 means "not known".
#[derive(Clone, Copy)]
pub(crate) struct Interface {
    pub(crate) netns: u64,
    pub(crate) ifindex: u32,
}

/// Reads a field through a pointer whose type the verifier knows.
///
/// # Safety
/// `base` comes from a tracepoint's arguments, or was read by this function as a pointer. The verifier refuses
/// anything else.
#[inline(always)]
pub(crate) unsafe fn field<T: Copy>(base: u64, offset: &Global<u32>) -> T {
    // SAFETY: the verifier proves that the field lies within the structure, and the kernel handles the fault of an
    // invalid pointer. The load is volatile because the kernel writes meanwhile, and so that it stays behind its
    // guard.
    unsafe { read_volatile((base as *const u8).wrapping_add(offset.load() as usize).cast()) }
}

/// The device's namespace and ifindex; `None` if this is not a device.
///
/// While a packet is in a queue, its device pointer shares memory with other fields, so it may be anything. A real
/// device has a namespace, and the loopback device of that namespace is in the same namespace.
#[inline(always)]
pub(crate) fn of_device(device: u64) -> Option<Interface> {
    if device == 0 {
        return None;
    }
    // SAFETY: `device` was read as a `struct net_device *`. The other pointers are read from it, one from the next.
    unsafe {
        let namespace: u64 = field(device, &DEVICE_NAMESPACE);
        if namespace == 0 {
            return None;
        }
        let loopback: u64 = field(namespace, &NAMESPACE_LOOPBACK);
        if loopback == 0 || field::<u64>(loopback, &DEVICE_NAMESPACE) != namespace {
            return None;
        }
        Some(Interface {
            netns: field(namespace, &NAMESPACE_COOKIE),
            ifindex: field(device, &DEVICE_IFINDEX),
        })
    }
}

/// The cookie of a socket's namespace; 0 if there is none.
///
/// # Safety
/// As for [`field`]: `socket` is a `struct sock *`, of any kind.
#[inline(always)]
pub(crate) unsafe fn of_socket(socket: u64) -> u64 {
    // SAFETY: as promised by the caller.
    unsafe {
        let namespace: u64 = field(socket, &SOCKET_NAMESPACE);
        if namespace == 0 {
            0
        } else {
            field(namespace, &NAMESPACE_COOKIE)
        }
    }
}
