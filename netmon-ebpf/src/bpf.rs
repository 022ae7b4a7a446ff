//! The kernel's side of the traits: its helpers, maps and contexts, as aya has them. Also what every object has besides
//! its programs. The binaries and this module alone name aya.

mod objects;
mod packet;

pub use self::packet::{pass_on, told};

use core::{
    ffi::c_void,
    panic::PanicInfo,
    ptr::{self, read_volatile, write_volatile},
};

use aya_ebpf::{
    Global,
    bindings::{BPF_NOEXIST, BPF_SK_STORAGE_GET_F_CREATE, TC_ACT_UNSPEC},
    btf_maps::SkStorage,
    helpers::{
        bpf_get_current_task_btf, bpf_get_smp_processor_id, bpf_jiffies64, bpf_ktime_get_ns, bpf_probe_read_kernel,
        bpf_skc_to_tcp_sock,
        generated::{self, bpf_map_lookup_percpu_elem, bpf_sk_storage_get},
    },
    maps::{self, LpmTrie, lpm_trie},
    programs::{BtfTracePointContext, RawTracePointContext},
};

use netmon_common::refusal;

use crate::{
    kernel::{Arguments, Integer, Memory, UNSET},
    maps::{Added, Array, Map, Prefixes, Storage},
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

impl Prefixes for LpmTrie<[u8; 16], u8> {
    #[inline(always)]
    fn has(&self, address: [u8; 16]) -> bool {
        self.get(lpm_trie::Key::new(128, address)).is_some()
    }
}

impl<V> Storage<V> for SkStorage<V> {
    #[inline(always)]
    fn of(&self, socket: u64) -> Option<*mut V> {
        storage(self, socket, 0)
    }

    #[inline(always)]
    fn create(&self, socket: u64) -> Option<*mut V> {
        storage(self, socket, BPF_SK_STORAGE_GET_F_CREATE.into())
    }
}

/// The storage of a socket. aya's own method takes the context of another kind of program.
#[inline(always)]
fn storage<V>(map: &SkStorage<V>, socket: u64, flags: u64) -> Option<*mut V> {
    let map = ptr::from_ref(map).cast_mut().cast();
    // SAFETY: the map is one of socket storage. The helper takes any socket that the verifier knows as one, and returns
    // null if it is no full one. Without a value, new storage is zeros.
    let value: *mut V = unsafe { bpf_sk_storage_get(map, socket as *mut _, ptr::null_mut(), flags) }.cast();
    if value.is_null() { None } else { Some(value) }
}

/// The context of an iterator over the storage of sockets (`struct bpf_iter__bpf_sk_storage_map`).
#[repr(C)]
struct Stored<V> {
    meta: u64,
    map: u64,
    socket: u64,
    value: *const V,
}

/// The socket that an iterator passes, and a copy of its value in the map, which the program may not write. `None` at the
/// end.
#[inline(always)]
#[must_use]
pub fn stored<V: Copy>(context: *mut c_void, _: &SkStorage<V>) -> Option<(u64, V)> {
    let context: *const Stored<V> = context.cast();
    // SAFETY: the kernel passes this context to programs of this kind. The loads are volatile, because the verifier accepts
    // only those of single fields.
    let (socket, value) = unsafe {
        (
            read_volatile(&raw const (*context).socket),
            read_volatile(&raw const (*context).value),
        )
    };
    if socket == 0 || value.is_null() {
        return None;
    }
    // SAFETY: the value is the map's, and is readable while the program runs. Others write it meanwhile; only numbers are
    // read.
    Some((socket, unsafe { read_volatile(value) }))
}

/// The socket that an iterator over TCP sockets passes (`struct bpf_iter__tcp`); 0 at the end.
#[inline(always)]
#[must_use]
pub fn passed(context: *mut c_void) -> u64 {
    // SAFETY: the kernel passes this context to programs of this kind: two pointers, of which the second is the socket. The
    // load is volatile, because the verifier accepts only those of single fields.
    unsafe { read_volatile(context.cast::<u64>().add(1)) }
}

/// The time in jiffies (since 5.5).
#[inline(always)]
#[must_use]
pub fn jiffies() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_jiffies64() }
}

/// The time since boot in nanoseconds, without the time that the machine slept.
#[inline(always)]
#[must_use]
pub fn nanoseconds() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

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
