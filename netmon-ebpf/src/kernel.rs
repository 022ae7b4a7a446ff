//! Reading the kernel's own structures, and finding the namespace that something belongs to.
//!
//! Pointers that a tracepoint hands over have a type that the verifier knows, and so has what they point to. Such reads
//! are plain loads, which cost nothing, and which read 0 if the pointer is no good (the kernel's exception table). The
//! offsets are load-time globals (see [`netmon_common::kernel`]); a field that is not there leaves a value with which
//! the program is refused.

use core::ptr::read_volatile;

use aya_ebpf::Global;

/// What an offset is before it is set: larger than any structure, so that the verifier refuses the program.
const UNSET: u32 = 0xffff;

/// An offset that the daemon sets.
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

/// A namespace and a device in it; 0 is "not known".
#[derive(Clone, Copy)]
pub(crate) struct Interface {
    pub(crate) netns: u64,
    pub(crate) ifindex: u32,
}

/// Reads a field through a pointer whose type the verifier knows.
///
/// # Safety
/// `base` comes from a tracepoint's arguments, or was read by this function as a pointer; the verifier refuses anything
/// else.
#[inline(always)]
pub(crate) unsafe fn field<T: Copy>(base: u64, offset: &Global<u32>) -> T {
    // SAFETY: the verifier proves that the field lies within the structure, and the kernel catches a pointer that is
    // none. Volatile, for the kernel writes meanwhile, and so that the load stays where its guard is.
    unsafe { read_volatile((base as *const u8).wrapping_add(offset.load() as usize).cast()) }
}

/// The device's namespace and number; nothing if this is no device.
///
/// A packet's device shares its place with other things while the packet lies in a queue, so it may be anything. What
/// is a device has a namespace, and that namespace has a loopback device, which is in that namespace.
#[inline(always)]
pub(crate) fn of_device(device: u64) -> Option<Interface> {
    if device == 0 {
        return None;
    }
    // SAFETY: `device` was read as a `struct net_device *`, and so on from pointer to pointer.
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
/// As [`field`]: `socket` is a `struct sock *`, of whichever kind.
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
