//! Stand-ins for what programs get from the kernel: structures, maps and packets, made of a test's memory.

mod tables;

use std::{cell::RefCell, collections::BTreeMap, ptr};

pub(crate) use self::tables::{Table, causes};
use crate::{
    kernel::{Arguments, Integer, Kernel, Memory},
    notes::Notes,
    packet::{Packet, Sender},
};

/// Cookies of two namespaces.
pub(crate) const HERE: u64 = 0x1001;
pub(crate) const THERE: u64 = 0x1002;
/// An address that nothing is at.
pub(crate) const NOWHERE: u64 = 0xdead_0000;

/// The size of every structure.
const SIZE: usize = 512;

/// Structures of a kernel. Their addresses are numbers, which lead nowhere in the test's own memory.
#[derive(Debug, Default)]
pub(crate) struct Structures {
    bytes: RefCell<BTreeMap<u64, [u8; SIZE]>>,
    /// The addresses of namespaces, by their cookies.
    namespaces: RefCell<BTreeMap<u64, u64>>,
    /// What was noted.
    pub(crate) notes: RefCell<Vec<(u32, u64, u32)>>,
}

impl Structures {
    /// A structure whose bytes are 0.
    pub(crate) fn structure(&self) -> u64 {
        let mut bytes = self.bytes.borrow_mut();
        let address = 0xffff_0000_0000_0000 + 0x1000 * bytes.len() as u64;
        bytes.insert(address, [0; SIZE]);
        address
    }

    /// Sets a field.
    pub(crate) fn write(&self, base: u64, offset: u32, field: impl AsRef<[u8]>) {
        let (field, offset) = (field.as_ref(), offset as usize);
        let mut bytes = self.bytes.borrow_mut();
        let structure = bytes.get_mut(&base).expect("no structure is at this address");
        structure[offset..offset + field.len()].copy_from_slice(field);
    }

    /// Sets a field that is a pointer.
    pub(crate) fn point(&self, base: u64, offset: u32, to: u64) {
        self.write(base, offset, to.to_ne_bytes());
    }

    /// A namespace, whose loopback device is in it.
    pub(crate) fn namespace(&self, cookie: u64) -> u64 {
        let known = self.namespaces.borrow().get(&cookie).copied();
        known.unwrap_or_else(|| {
            let namespace = self.structure();
            self.namespaces.borrow_mut().insert(cookie, namespace);
            self.write(namespace, self.namespace_cookie(), cookie.to_ne_bytes());
            self.point(namespace, self.namespace_loopback(), self.device(cookie, 1));
            namespace
        })
    }

    /// A device in a namespace.
    pub(crate) fn device(&self, netns: u64, ifindex: u32) -> u64 {
        let device = self.structure();
        self.point(device, self.device_namespace(), self.namespace(netns));
        self.write(device, self.device_ifindex(), ifindex.to_ne_bytes());
        device
    }

    /// A socket in a namespace.
    pub(crate) fn socket(&self, netns: u64) -> u64 {
        let socket = self.structure();
        self.point(socket, self.socket_namespace(), self.namespace(netns));
        socket
    }

    /// A route through a device.
    pub(crate) fn route(&self, device: u64) -> u64 {
        let route = self.structure();
        self.point(route, self.route_device(), device);
        route
    }
}

impl Memory for Structures {
    // SAFETY: asks nothing of the caller.
    unsafe fn field<T: Integer>(&self, base: u64, offset: u32) -> T {
        // The kernel reads 0 if a pointer is invalid.
        self.probe(base, offset).unwrap_or_else(|| {
            // SAFETY: any bytes are a valid value.
            unsafe { std::mem::zeroed() }
        })
    }

    fn probe<T: Integer>(&self, base: u64, offset: u32) -> Option<T> {
        let address = base.wrapping_add(u64::from(offset));
        let bytes = self.bytes.borrow();
        let (start, structure) = bytes.range(..=address).next_back()?;
        let at = usize::try_from(address - start).ok()?;
        let field = structure.get(at..)?.get(..size_of::<T>())?;
        // SAFETY: these are as many bytes as the value has, and any bytes are a valid value.
        Some(unsafe { ptr::read_unaligned(field.as_ptr().cast()) })
    }

    // SAFETY: the caller promises what the trait asks.
    unsafe fn copy(&self, to: *mut u64, words: u32, from: u64) -> u64 {
        let read = (0..words).map(|word| self.probe::<u64>(from, 8 * word));
        let read = read.collect::<Option<Vec<_>>>();
        let failed = u64::from(read.is_none());
        let read = read.unwrap_or_else(|| vec![0; words as usize]);
        // SAFETY: as promised by the caller.
        unsafe { ptr::copy_nonoverlapping(read.as_ptr(), to, read.len()) };
        failed
    }

    /// In these tests, a socket is its own `struct tcp_sock`, and all sockets are TCP's.
    fn tcp_socket(&self, socket: u64) -> u64 {
        socket
    }
}

impl Notes for Structures {
    fn wants_notes(&self) -> bool {
        true
    }

    fn note(&self, note: u32, netns: u64, number: u32) {
        self.notes.borrow_mut().push((note, netns, number));
    }
}

impl Kernel for Structures {
    fn device_namespace(&self) -> u32 {
        8
    }

    fn device_ifindex(&self) -> u32 {
        20
    }

    fn namespace_cookie(&self) -> u32 {
        24
    }

    fn namespace_loopback(&self) -> u32 {
        32
    }

    fn socket_namespace(&self) -> u32 {
        40
    }

    fn route_device(&self) -> u32 {
        48
    }
}

/// Gives an object the structures of one of its fields.
macro_rules! with_structures {
    ($object:ty: $field:ident) => {
        impl crate::kernel::Memory for $object {
            // SAFETY: the caller promises what the trait asks.
            unsafe fn field<T: crate::kernel::Integer>(&self, base: u64, offset: u32) -> T {
                // SAFETY: as promised by the caller.
                unsafe { self.$field.field(base, offset) }
            }

            fn probe<T: crate::kernel::Integer>(&self, base: u64, offset: u32) -> Option<T> {
                self.$field.probe(base, offset)
            }

            // SAFETY: the caller promises what the trait asks.
            unsafe fn copy(&self, to: *mut u64, words: u32, from: u64) -> u64 {
                // SAFETY: as promised by the caller.
                unsafe { self.$field.copy(to, words, from) }
            }

            fn tcp_socket(&self, socket: u64) -> u64 {
                self.$field.tcp_socket(socket)
            }
        }

        impl crate::notes::Notes for $object {
            fn wants_notes(&self) -> bool {
                self.$field.wants_notes()
            }

            fn note(&self, note: u32, netns: u64, number: u32) {
                self.$field.note(note, netns, number);
            }
        }

        impl crate::kernel::Kernel for $object {
            fn device_namespace(&self) -> u32 {
                self.$field.device_namespace()
            }

            fn device_ifindex(&self) -> u32 {
                self.$field.device_ifindex()
            }

            fn namespace_cookie(&self) -> u32 {
                self.$field.namespace_cookie()
            }

            fn namespace_loopback(&self) -> u32 {
                self.$field.namespace_loopback()
            }

            fn socket_namespace(&self) -> u32 {
                self.$field.socket_namespace()
            }

            fn route_device(&self) -> u32 {
                self.$field.route_device()
            }
        }
    };
}

/// Defines methods that return a number.
macro_rules! numbers {
    ($($method:ident = $value:expr;)*) => {$(
        fn $method(&self) -> u32 {
            $value
        }
    )*};
}

pub(crate) use {numbers, with_structures};

/// Reading an argument that there is none of is a fault: the verifier would refuse the program.
impl<const N: usize> Arguments for &[u64; N] {
    fn pointer(&self, index: usize) -> u64 {
        self[index]
    }
}

/// A socket buffer. By default it is an ordinary packet that was forwarded, and all of it can be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    /// From the link-layer header on.
    pub(crate) bytes: Vec<u8>,
    /// The length of the link-layer header.
    pub(crate) link: usize,
    /// How many bytes are in the linear part.
    pub(crate) linear: usize,
    pub(crate) kind: u32,
    pub(crate) vlan: u32,
    pub(crate) gso_segments: u32,
    pub(crate) wire_length: u32,
    pub(crate) sender: Sender,
    pub(crate) protocol: u32,
}

impl Frame {
    /// An Ethernet frame with this protocol and what is behind the Ethernet header.
    pub(crate) fn ethernet(protocol: [u8; 2], inside: &[u8]) -> Self {
        let mut bytes = vec![0xee; 12];
        bytes.extend(protocol);
        bytes.extend(inside);
        let [first, second] = protocol;
        Self {
            link: 14,
            linear: bytes.len(),
            wire_length: u32::try_from(bytes.len()).expect("the frame is small"),
            protocol: u32::from(u16::from_ne_bytes([first, second])),
            bytes,
            ..Self::default()
        }
    }
}

impl Packet for &Frame {
    fn protocol(&self) -> u32 {
        self.protocol
    }

    fn kind(&self) -> u32 {
        self.kind
    }

    fn vlan(&self) -> u32 {
        self.vlan
    }

    fn length(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("the frame is small")
    }

    fn wire_length(&self) -> u32 {
        self.wire_length
    }

    fn gso_segments(&self) -> u32 {
        self.gso_segments
    }

    fn sender(&self) -> Sender {
        self.sender
    }

    fn byte(&self, offset: u32) -> Option<u8> {
        self.bytes[..self.linear].get(offset as usize).copied()
    }

    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let linear = &self.bytes[..self.linear.min(self.bytes.len())];
        let inside = linear.get(self.link + offset as usize..)?;
        inside.first_chunk().copied()
    }

    fn copy<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.bytes.get(offset as usize..)?.first_chunk().copied()
    }

    fn head<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let linear = &self.bytes[..self.linear.min(self.bytes.len())];
        linear.get(offset as usize..)?.first_chunk().copied()
    }
}
