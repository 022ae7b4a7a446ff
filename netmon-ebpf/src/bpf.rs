//! The kernel's side of the traits: its helpers, maps and contexts, as aya has them. Also what every object has besides
//! its programs, and macros for what an object has of its own. The binaries and this module alone name aya.

use core::{
    ffi::c_void,
    mem::MaybeUninit,
    panic::PanicInfo,
    ptr::{self, read_volatile, write_volatile},
};

use aya_ebpf::{
    Global,
    bindings::{BPF_NOEXIST, TC_ACT_UNSPEC, bpf_hdr_start_off::BPF_HDR_START_NET},
    helpers::{
        bpf_get_current_task_btf, bpf_get_smp_processor_id, bpf_probe_read_kernel, bpf_skc_to_tcp_sock,
        generated::{self, bpf_map_lookup_percpu_elem, bpf_sk_fullsock, bpf_skb_load_bytes_relative},
    },
    maps,
    programs::{BtfTracePointContext, RawTracePointContext, TcContext},
};

use netmon_common::refusal;

use crate::{
    kernel::{Arguments, Integer, Memory, UNSET},
    maps::{Added, Array, Map},
    packet::{Packet, Sender},
};

/// What a program at a hook returns. The packet goes on to the other attached programs: with tcx this is `TCX_NEXT`,
/// with clsact "no verdict".
pub const PASS: i32 = TC_ACT_UNSPEC;

/// Errors of the kernel (`include/uapi/asm-generic/errno-base.h`).
const E2BIG: i32 = -7;
const ENOMEM: i32 = -12;
const EEXIST: i32 = -17;

/// The licence that the kernel asks for; see the package's manifest. Every object gets it by linking the library.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Defines load-time globals, each with the method of the object's trait that reads it.
#[macro_export]
macro_rules! globals {
    ($($method:ident: $type:ty = $name:ident or $default:expr;)*) => {$(
        #[inline(always)]
        fn $method(&self) -> $type {
            #[unsafe(no_mangle)]
            static $name: ::aya_ebpf::Global<$type> = ::aya_ebpf::Global::new($default);
            $name.load()
        }
    )*};
}

/// Defines load-time globals for offsets, each with the method of the object's trait that reads it.
#[macro_export]
macro_rules! offsets {
    ($($method:ident: $name:ident;)*) => {
        $crate::globals! {$(
            $method: u32 = $name or $crate::kernel::UNSET;
        )*}
    };
}

/// Defines load-time globals that are lists of numbers, each with the method of the object's trait that reads one.
#[macro_export]
macro_rules! lists {
    ($($method:ident: $name:ident[$length:expr];)*) => {$(
        #[inline(always)]
        fn $method(&self, index: usize) -> u32 {
            #[unsafe(no_mangle)]
            static $name: ::aya_ebpf::Global<[u32; $length]> = ::aya_ebpf::Global::new([$crate::kernel::UNSET; $length]);
            $crate::bpf::element(&$name, index)
        }
    )*};
}

/// Defines load-time globals for a bit set of 256 reasons, with the method of the object's trait that reads one word.
#[macro_export]
macro_rules! bit_set {
    ($method:ident: $first:ident, $second:ident, $third:ident, $fourth:ident) => {
        #[inline(always)]
        fn $method(&self, word: u32) -> u64 {
            #[unsafe(no_mangle)]
            static $first: ::aya_ebpf::Global<u64> = ::aya_ebpf::Global::new(0);
            #[unsafe(no_mangle)]
            static $second: ::aya_ebpf::Global<u64> = ::aya_ebpf::Global::new(0);
            #[unsafe(no_mangle)]
            static $third: ::aya_ebpf::Global<u64> = ::aya_ebpf::Global::new(0);
            #[unsafe(no_mangle)]
            static $fourth: ::aya_ebpf::Global<u64> = ::aya_ebpf::Global::new(0);
            match word {
                0 => $first.load(),
                1 => $second.load(),
                2 => $third.load(),
                3 => $fourth.load(),
                _ => 0,
            }
        }
    };
}

/// Defines the globals of every object that reads the kernel's structures.
#[macro_export]
macro_rules! kernel_globals {
    ($object:ty) => {
        impl $crate::kernel::Kernel for $object {
            $crate::offsets! {
                device_namespace: DEVICE_NAMESPACE;
                device_ifindex: DEVICE_IFINDEX;
                namespace_cookie: NAMESPACE_COOKIE;
                namespace_loopback: NAMESPACE_LOOPBACK;
                socket_namespace: SOCKET_NAMESPACE;
                route_device: ROUTE_DEVICE;
            }
        }
    };
}

/// Defines the methods of the object's trait that lead to its maps.
#[macro_export]
macro_rules! maps {
    ($($method:ident: $trait:ident<$($type:ty),*> = $name:ident;)*) => {$(
        #[inline(always)]
        fn $method(&self) -> &impl $crate::maps::$trait<$($type),*> {
            &$name
        }
    )*};
}

/// Defines how an object writes notes: to aya-log's ring buffer. It is a macro, because an object that links aya-log has
/// this buffer, and the objects that are loaded for every interface must not.
#[macro_export]
macro_rules! notes {
    ($object:ty) => {
        impl $crate::notes::Notes for $object {
            #[inline(always)]
            fn wants_notes(&self) -> bool {
                ::aya_log_ebpf::macro_support::level_enabled(::aya_log_ebpf::macro_support::Level::Debug)
            }

            #[inline(always)]
            fn note(&self, note: u32, netns: u64, number: u32) {
                netmon_note(note, netns, number);
            }
        }

        /// The one function that programs may call: the build knows its name. Its code is long and is hardly ever run.
        #[inline(never)]
        fn netmon_note(note: u32, netns: u64, number: u32) {
            ::aya_log_ebpf::debug!((), "{} {} {}", note, netns, number);
        }
    };
}

macro_rules! hash_maps {
    ($($map:ident),*) => {$(
        impl<K, V> Map<K, V> for maps::$map<K, V> {
            #[inline(always)]
            fn find(&self, key: &K) -> Option<*mut V> {
                self.get_ptr_mut(key)
            }

            #[inline(always)]
            fn add(&self, key: &K, value: &V) -> Added {
                // `htab_map_update_elem` and `alloc_htab_elem` of kernel/bpf/hashtab.c.
                match self.insert(key, value, u64::from(BPF_NOEXIST)) {
                    Ok(()) => Added::Created,
                    Err(EEXIST) => Added::Exists,
                    Err(E2BIG) => Added::Refused(refusal::FULL),
                    Err(ENOMEM) => Added::Refused(refusal::NO_MEMORY),
                    Err(_) => Added::Refused(refusal::OTHER),
                }
            }
        }
    )*};
}
hash_maps!(HashMap, PerCpuHashMap);

macro_rules! arrays {
    ($($map:ident),*) => {$(
        impl<V> Array<V> for maps::$map<V> {
            #[inline(always)]
            fn at(&self, index: u32) -> Option<*mut V> {
                self.get_ptr_mut(index)
            }
        }
    )*};
}
arrays!(Array, PerCpuArray);

/// The CPU that the program runs on. It stays on it.
#[inline(always)]
#[must_use]
pub fn cpu() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_smp_processor_id() }
}

/// An element of a load-time global; [`UNSET`] beyond the end.
#[inline(always)]
#[must_use]
pub fn element<const N: usize>(list: &'static Global<[u32; N]>, index: usize) -> u32 {
    if index >= N {
        return UNSET;
    }
    // SAFETY: the global is transparent, and the element is within it. The load is volatile, because the loader has
    // changed the value that the compiler knows.
    unsafe { read_volatile(ptr::from_ref(list).cast::<u32>().add(index)) }
}

/// The task that runs the program, as a pointer whose type the verifier knows (since 5.11).
#[inline(always)]
#[must_use]
pub fn current_task() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task_btf() as u64 }
}

/// Turns a pointer into a number, which the verifier lets the program calculate with. The way leads through a map's value;
/// nothing is left there.
#[inline(always)]
#[must_use]
pub fn number_of<T>(pointer: *const T, through: &maps::PerCpuArray<u64>) -> u64 {
    let Some(value) = through.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the value exists while the program runs, and belongs to this CPU alone.
    unsafe {
        write_volatile(value, pointer as u64);
        let number = read_volatile(value);
        write_volatile(value, 0);
        number
    }
}

/// The address of a per-CPU array's first value on another CPU (since 5.19); 0 if there is no such CPU.
#[inline(always)]
#[must_use]
pub fn value_on<T>(array: *const maps::PerCpuArray<T>, cpu: u32, through: &maps::PerCpuArray<u64>) -> u64 {
    let first = 0_u32;
    // SAFETY: the array is a map, and the key is as long as the map's keys are.
    let value = unsafe { bpf_map_lookup_percpu_elem(array.cast_mut().cast(), (&raw const first).cast(), cpu) };
    if value.is_null() { 0 } else { number_of(value, through) }
}

macro_rules! arguments {
    ($($context:ident),*) => {$(
        impl Arguments for $context {
            #[inline(always)]
            fn pointer(&self, index: usize) -> u64 {
                self.arg(index)
            }
        }
    )*};
}
arguments!(BtfTracePointContext, RawTracePointContext);

impl<O> Memory for O {
    // SAFETY: the caller promises what the trait asks.
    #[inline(always)]
    unsafe fn field<T: Integer>(&self, base: u64, offset: u32) -> T {
        // SAFETY: the verifier proves that the field lies within the structure, and the kernel handles the fault of an
        // invalid pointer. The load is volatile because the kernel writes meanwhile, and so that it stays behind its
        // guard.
        unsafe { read_volatile((base as *const u8).wrapping_add(offset as usize).cast()) }
    }

    #[inline(always)]
    fn probe<T: Integer>(&self, base: u64, offset: u32) -> Option<T> {
        // SAFETY: the helper checks the address, and reads nothing if it is invalid. Any bytes are a valid `T`,
        // because only integers are read.
        unsafe { bpf_probe_read_kernel((base as *const u8).wrapping_add(offset as usize).cast()) }.ok()
    }

    // SAFETY: the caller promises what the trait asks.
    #[inline(always)]
    unsafe fn copy(&self, to: *mut u64, words: u32, from: u64) -> u64 {
        // SAFETY: as promised by the caller. The helper checks the address that it reads.
        unsafe { generated::bpf_probe_read_kernel(to.cast(), words * 8, from as *const c_void).cast_unsigned() }
    }

    #[inline(always)]
    fn tcp_socket(&self, socket: u64) -> u64 {
        // SAFETY: the helper returns null if this is not a TCP socket. Otherwise it returns a `struct tcp_sock *`.
        unsafe { bpf_skc_to_tcp_sock(socket as *mut _) as u64 }
    }
}

/// Reads a field of the context.
macro_rules! of_context {
    ($context:ident.$($field:ident).+) => {
        // SAFETY: `skb` is the context that the kernel passed to the program. It is valid for the call, and this
        // program type may read these fields.
        unsafe { (*$context.skb.skb).$($field).+ }
    };
}

impl Packet for TcContext {
    #[inline(always)]
    fn protocol(&self) -> u32 {
        of_context!(self.protocol)
    }

    #[inline(always)]
    fn kind(&self) -> u32 {
        of_context!(self.pkt_type)
    }

    #[inline(always)]
    fn vlan(&self) -> u32 {
        if of_context!(self.vlan_present) == 0 {
            0
        } else {
            of_context!(self.vlan_tci)
        }
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        of_context!(self.len)
    }

    #[inline(always)]
    fn wire_length(&self) -> u32 {
        of_context!(self.wire_len)
    }

    #[inline(always)]
    fn gso_segments(&self) -> u32 {
        of_context!(self.gso_segs)
    }

    #[inline(always)]
    fn sender(&self) -> Sender {
        let socket = of_context!(self.__bindgen_anon_2.sk);
        if socket.is_null() {
            return Sender::None;
        }
        // The helper costs more than all the rest that counts a packet, and hardly any packet needs it.
        // SAFETY: every socket has a port, or 0, and the verifier turns this into a load of it.
        if let Some(sender) = Sender::by_port(unsafe { read_volatile(&raw const (*socket).src_port) }) {
            return sender;
        }
        // SAFETY: the helper takes any socket, and returns null if it is no full one.
        let full = unsafe { bpf_sk_fullsock(socket) };
        if full.is_null() {
            return Sender::Small;
        }
        // SAFETY: a full socket is valid for the program's run. The loads are volatile, because the verifier accepts
        // only those of single fields.
        unsafe {
            Sender::Full {
                kind: read_volatile(&raw const (*full).type_),
                protocol: read_volatile(&raw const (*full).protocol),
            }
        }
    }

    #[inline(always)]
    fn byte(&self, offset: u32) -> Option<u8> {
        let at = self.data() + offset as usize;
        if at < self.data_end() {
            // SAFETY: the byte is within the packet's linear part, which the verifier enforces.
            Some(unsafe { *(at as *const u8) })
        } else {
            None
        }
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        #[expect(clippy::cast_possible_truncation, reason = "what is loaded at once has a few bytes")]
        let length = N as u32;
        // SAFETY: the helper writes as many bytes as there are, or fails. Any value of a byte is valid.
        unsafe {
            let status = bpf_skb_load_bytes_relative(
                self.skb.skb.cast(),
                offset,
                bytes.as_mut_ptr().cast(),
                length,
                BPF_HDR_START_NET,
            );
            if status == 0 { Some(bytes.assume_init()) } else { None }
        }
    }
}
