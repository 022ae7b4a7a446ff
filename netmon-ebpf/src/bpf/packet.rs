//! A socket buffer at a device's hook, and how a program passes it on to another one.

use core::{
    ffi::c_void,
    mem::MaybeUninit,
    ptr::{read_volatile, write_volatile},
};

use aya_ebpf::{
    bindings::bpf_hdr_start_off::BPF_HDR_START_NET,
    helpers::generated::{bpf_sk_fullsock, bpf_skb_load_bytes, bpf_skb_load_bytes_relative},
    maps,
    programs::TcContext,
};

use crate::packet::{Packet, Sender};

/// Runs the only program of an array on this packet, in place of the rest of the calling one. Tells it a word through a map,
/// which no other program on this CPU uses meanwhile: the hooks run with bottom halves off. Without such a program, the
/// calling one goes on.
#[inline(always)]
pub fn pass_on(context: &TcContext, word: u64, through: &maps::PerCpuArray<u64>, programs: &maps::ProgramArray) {
    if let Some(value) = through.get_ptr_mut(0) {
        // SAFETY: the value exists while the program runs, and belongs to this CPU alone.
        unsafe { write_volatile(value, word) };
        // SAFETY: nothing of the calling program is used after this.
        unsafe { programs.tail_call(context, 0) };
    }
}

/// The word that the calling program has told, which is told once; 0 if there is none.
#[inline(always)]
#[must_use]
pub fn told(through: &maps::PerCpuArray<u64>) -> u64 {
    let Some(value) = through.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: as above.
    unsafe { value.replace(0) }
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
        let skb = self.skb.skb.cast();
        // SAFETY: the helper writes as many bytes as there are, or fails.
        unsafe { filled(|to, length| bpf_skb_load_bytes_relative(skb, offset, to, length, BPF_HDR_START_NET)) }
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let skb = self.skb.skb.cast();
        // SAFETY: as above.
        unsafe { filled(|to, length| bpf_skb_load_bytes(skb, offset, to, length)) }
    }

    #[inline(always)]
    fn head<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        // The verifier wants to know that it is no more than that.
        const MOST: usize = 0x3fff;
        let at = self.data() + (offset as usize & MOST);
        if offset as usize <= MOST && at + N <= self.data_end() {
            // SAFETY: the bytes are within the packet's linear part, which the verifier enforces.
            return Some(unsafe { *(at as *const [u8; N]) });
        }
        None
    }
}

/// Bytes that a helper writes.
///
/// # Safety
/// The helper gets a place and a length. It writes all of these bytes, or returns an error.
#[inline(always)]
unsafe fn filled<const N: usize>(helper: impl FnOnce(*mut c_void, u32) -> i64) -> Option<[u8; N]> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    #[expect(clippy::cast_possible_truncation, reason = "what is loaded at once has a few bytes")]
    let status = helper(bytes.as_mut_ptr().cast(), N as u32);
    if status != 0 {
        return None;
    }
    // SAFETY: the helper wrote all of them, as promised by the caller. Any value of a byte is valid.
    Some(unsafe { bytes.assume_init() })
}
