//! Reads the kernel's own structures, and finds the namespace that something belongs to.
//!
//! The verifier knows the types of the pointers that a tracepoint passes, and of the pointers read through them. Such
//! reads are plain loads, which cost nothing. They read 0 if the pointer is invalid (the kernel's exception table).
//!
//! The offsets are load-time globals (see [`netmon_common::kernel`]). If a field is missing, its offset keeps a value
//! with which the verifier refuses the program.

pub use netmon_common::kernel::UNSET;

use crate::notes::Notes;

/// What can be read from the kernel's memory.
///
/// # Safety
/// Any bytes are a valid value.
pub unsafe trait Integer: Copy {}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        // SAFETY: any bytes are an integer.
        unsafe impl Integer for $integer {}
    )*};
}
integers!(u8, u16, u32, i32, u64, u128);

/// The arguments of a tracepoint, counted from 0. The verifier refuses a program that may read one that the kernel
/// does not have.
pub trait Arguments {
    /// An argument that is a pointer, or a number as large as one.
    fn pointer(&self, index: usize) -> u64;

    /// An argument that is an unsigned number.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the kernel widens smaller arguments")]
    fn number(&self, index: usize) -> u32 {
        self.pointer(index) as u32
    }

    /// An argument that is a signed number.
    #[inline(always)]
    fn signed(&self, index: usize) -> i32 {
        self.number(index).cast_signed()
    }
}

/// The kernel's memory. `bpf` implements it for everything; in tests, it is made of structures that a test has set.
pub trait Memory {
    /// Reads a field through a pointer whose type the verifier knows.
    ///
    /// # Safety
    /// `base` comes from a tracepoint's arguments, or was read by this function as a pointer. The verifier refuses
    /// anything else.
    unsafe fn field<T: Integer>(&self, base: u64, offset: u32) -> T;
    /// Reads a field through a number that may be a pointer; `None` if it is not.
    fn probe<T: Integer>(&self, base: u64, offset: u32) -> Option<T>;
    /// Copies so many words from there. If not all of them can be read, it writes zeros, and does not return 0.
    ///
    /// # Safety
    /// So many words can be written at `to`, which the verifier checks.
    unsafe fn copy(&self, to: *mut u64, words: u32, from: u64) -> u64;
    /// The `struct tcp_sock *` of a socket, as a pointer whose type the verifier knows; 0 if it is no TCP socket.
    fn tcp_socket(&self, socket: u64) -> u64;
}

/// Where the fields are that lead from a device, a socket or a route to a namespace, and to that namespace's cookie.
/// The macro `kernel_globals` defines them for an object.
pub trait Kernel: Memory + Notes {
    /// From a device to its namespace.
    fn device_namespace(&self) -> u32;
    /// A device's ifindex.
    fn device_ifindex(&self) -> u32;
    /// A namespace's cookie.
    fn namespace_cookie(&self) -> u32;
    /// From a namespace to its loopback device.
    fn namespace_loopback(&self) -> u32;
    /// From a socket to its namespace.
    fn socket_namespace(&self) -> u32;
    /// From a route to its device.
    fn route_device(&self) -> u32;
}

/// A namespace and a device in it; 0 means "not known".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) netns: u64,
    pub(crate) ifindex: u32,
}

/// The device's namespace and ifindex; `None` if this is not a device.
///
/// While a packet is in a queue, its device pointer shares memory with other fields, so it may be anything. A real
/// device has a namespace, and the loopback device of that namespace is in the same namespace.
#[inline(always)]
pub(crate) fn of_device(kernel: &impl Kernel, device: u64) -> Option<Interface> {
    if device == 0 {
        return None;
    }
    // SAFETY: `device` was read as a `struct net_device *`. The other pointers are read from it, one from the next.
    unsafe {
        let namespace: u64 = kernel.field(device, kernel.device_namespace());
        if namespace == 0 {
            return None;
        }
        let loopback: u64 = kernel.field(namespace, kernel.namespace_loopback());
        if loopback == 0 || kernel.field::<u64>(loopback, kernel.device_namespace()) != namespace {
            return None;
        }
        Some(Interface {
            netns: kernel.field(namespace, kernel.namespace_cookie()),
            ifindex: kernel.field(device, kernel.device_ifindex()),
        })
    }
}

/// The cookie of a socket's namespace; 0 if there is none.
///
/// # Safety
/// As for [`Memory::field`]: `socket` is a `struct sock *`, of any kind.
#[inline(always)]
pub(crate) unsafe fn of_socket(kernel: &impl Kernel, socket: u64) -> u64 {
    // SAFETY: as promised by the caller.
    unsafe {
        let namespace: u64 = kernel.field(socket, kernel.socket_namespace());
        if namespace == 0 {
            0
        } else {
            kernel.field(namespace, kernel.namespace_cookie())
        }
    }
}

/// The ifindex of the device that a route leads through, if that device is in this namespace; otherwise 0. To the
/// verifier, the route is a plain number.
#[inline(always)]
pub(crate) fn of_route(kernel: &impl Kernel, route: u64, netns: u64) -> u32 {
    let ifindex = || {
        let device: u64 = kernel.probe(route, kernel.route_device())?;
        let namespace: u64 = kernel.probe(device, kernel.device_namespace())?;
        let cookie: u64 = kernel.probe(namespace, kernel.namespace_cookie())?;
        if cookie == netns {
            kernel.probe(device, kernel.device_ifindex())
        } else {
            None
        }
    };
    if route == 0 { 0 } else { ifindex().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Interface, Kernel, of_device, of_route, of_socket};
    use crate::testing::{HERE, NOWHERE, Structures, THERE};

    fn cookie_of_socket(kernel: &Structures, socket: u64) -> u64 {
        // SAFETY: a test's structures can be read at any address.
        unsafe { of_socket(kernel, socket) }
    }

    #[test]
    fn arguments_are_as_wide_as_the_kernel_declares_them() {
        let arguments = &[0xffff_8000_1234_5678, 0x0000_0001_ffff_ffff];
        assert_eq!(arguments.pointer(0), 0xffff_8000_1234_5678);
        assert_eq!((arguments.number(0), arguments.number(1)), (0x1234_5678, u32::MAX));
        assert_eq!((arguments.signed(0), arguments.signed(1)), (0x1234_5678, -1));
    }

    #[test]
    fn a_device_is_known_by_its_namespaces_cookie_and_its_ifindex() {
        let kernel = Structures::default();
        let interface = Interface {
            netns: HERE,
            ifindex: 5,
        };
        assert_eq!(of_device(&kernel, kernel.device(HERE, 5)), Some(interface));
    }

    #[test]
    fn what_has_no_namespace_is_no_device() {
        let kernel = Structures::default();
        for device in [0, NOWHERE, kernel.structure()] {
            assert_eq!(of_device(&kernel, device), None, "{device:#x}");
        }
    }

    #[test]
    fn a_namespace_whose_loopback_device_is_elsewhere_is_none() {
        let kernel = Structures::default();
        let device = kernel.device(HERE, 5);
        for loopback in [kernel.device(THERE, 1), NOWHERE, 0] {
            kernel.point(kernel.namespace(HERE), kernel.namespace_loopback(), loopback);
            assert_eq!(of_device(&kernel, device), None, "{loopback:#x}");
        }
    }

    #[test]
    fn a_socket_is_known_by_its_namespaces_cookie() {
        let kernel = Structures::default();
        assert_eq!(cookie_of_socket(&kernel, kernel.socket(THERE)), THERE);
    }

    #[test]
    fn a_socket_without_a_namespace_has_cookie_0() {
        let kernel = Structures::default();
        // Something at address 0 would be read otherwise.
        assert_eq!(cookie_of_socket(&kernel, kernel.structure()), 0);
    }

    #[test]
    fn a_route_leads_to_a_device_of_the_same_namespace_only() {
        let kernel = Structures::default();
        let route = kernel.route(kernel.device(HERE, 5));
        assert_eq!(
            (of_route(&kernel, route, HERE), of_route(&kernel, route, THERE)),
            (5, 0)
        );
    }

    #[test]
    fn a_number_that_is_no_route_leads_nowhere() {
        let kernel = Structures::default();
        for route in [0, NOWHERE, kernel.route(NOWHERE), kernel.route(kernel.structure())] {
            assert_eq!(of_route(&kernel, route, HERE), 0, "{route:#x}");
        }
    }
}
