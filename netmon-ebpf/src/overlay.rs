//! Counts the packets that this node and others exchange through the tunnels of overlay networks, and lets every
//! packet pass.
//!
//! Owns the map of tunnels. The programs are attached to the devices that lead to other nodes, where a packet has its
//! outer headers. Only there are all three facts visible: the network (its VNI), the remote node, and whether the
//! packet is encrypted.
//!
//! Kernel facts relied on:
//!
//! - The network header is set on ingress and egress (`__netif_receive_skb_core`, `ip_finish_output2`). So devices
//!   without a link-layer header work, too.
//! - Encrypted packets pass here only as ESP. On egress they were encrypted before. On ingress, a packet decrypted
//!   afterwards does not pass again.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
#[expect(
    unsafe_code,
    reason = "a kernel program is given raw pointers, and its symbols are what the kernel loads"
)]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over by value")]
#[expect(
    clippy::inline_always,
    reason = "a call of another function of ours is not portable: see the check of objects in the build"
)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a direction is 0 or 1, and what is loaded at once has a few bytes"
)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "borrowed it stays where it is; handed over it is copied to the stack, with a call"
)]
#[expect(unreachable_pub, reason = "the entry points are reached through their symbols")]
mod programs {
    use core::mem::MaybeUninit;

    use aya_ebpf::{
        bindings::{BPF_F_NO_PREALLOC, TC_ACT_UNSPEC, bpf_hdr_start_off::BPF_HDR_START_NET},
        helpers::generated::bpf_skb_load_bytes_relative,
        macros::{classifier, map},
        maps::{Array, PerCpuArray, PerCpuHashMap},
        programs::TcContext,
    };
    use netmon_common::{
        overlay::{ESP, Key, MAX_ENTRIES, OF_STRANGERS, Outer, VXLAN},
        traffic::{RECEIVE, TRANSMIT},
    };

    #[map]
    static OVERLAY: PerCpuHashMap<Key, Outer> = PerCpuHashMap::with_max_entries(MAX_ENTRIES, BPF_F_NO_PREALLOC);
    #[map]
    static OVERLAY_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
    #[map]
    static OVERLAY_STRANGERS: Array<u32> = Array::with_max_entries(1, 0);
    #[map]
    static PORT: Array<u32> = Array::with_max_entries(1, 0);

    /// The initial counts of a tunnel. They are a static, because a structure built on the stack becomes a call of
    /// `memset`.
    static ZERO: Outer = Outer::ZERO;

    /// The packet goes on to the other attached programs: with tcx this is `TCX_NEXT`, with clsact "no verdict".
    const PASS: i32 = TC_ACT_UNSPEC;

    /// `ETH_P_IP` and `ETH_P_IPV6`, in the byte order of the packet.
    const IPV4: u32 = 0x0800_u16.to_be() as u32;
    const IPV6: u32 = 0x86dd_u16.to_be() as u32;
    const UDP_PROTOCOL: u8 = 17;
    const ESP_PROTOCOL: u8 = 50;
    const IPV6_HEADER: u32 = 40;
    /// The fragment offset: all bits of its field except the flags.
    const FRAGMENT_PLACE: u16 = 0x1fff;
    /// A flag in the first byte of a VXLAN header: the header has a VNI.
    const HAS_VNI: u8 = 0x08;
    /// The VLAN id: all bits of a VLAN tag except the priority. The id 0 is no VLAN.
    const VLAN_ID: u32 = 0xfff;
    /// `PACKET_OTHERHOST`: the packet is seen only because the device is promiscuous.
    const OTHER_HOST: u32 = 3;

    #[classifier]
    pub fn overlay_ingress(ctx: TcContext) -> i32 {
        count(&ctx, RECEIVE);
        PASS
    }

    #[classifier]
    pub fn overlay_egress(ctx: TcContext) -> i32 {
        count(&ctx, TRANSMIT);
        PASS
    }

    #[inline(always)]
    fn count(ctx: &TcContext, direction: u32) {
        // SAFETY: `skb` is the context that the kernel passed to the program. It is valid for the call, and this
        // program type may read these fields.
        let (protocol, kind, length, segments, vlan) = unsafe {
            let skb = ctx.skb.skb;
            let vlan = if (*skb).vlan_present == 0 { 0 } else { (*skb).vlan_tci };
            ((*skb).protocol, (*skb).pkt_type, (*skb).len, (*skb).gso_segs, vlan)
        };
        // A packet with a VLAN tag is on its way to or from the VLAN's device, and passes there, too.
        if vlan & VLAN_ID != 0 || direction == RECEIVE && kind == OTHER_HOST {
            return;
        }
        let (remote, next, header) = match protocol {
            IPV4 => {
                let Some(ip) = load::<[u8; 20]>(ctx, 0) else { return };
                // Only the first fragment has the headers that show the tunnel.
                if u16::from_be_bytes([ip[6], ip[7]]) & FRAGMENT_PLACE != 0 {
                    return;
                }
                let [a, b, c, d] = if direction == RECEIVE {
                    [ip[12], ip[13], ip[14], ip[15]]
                } else {
                    [ip[16], ip[17], ip[18], ip[19]]
                };
                let remote = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d];
                (remote, ip[9], u32::from(ip[0] & 0xf) * 4)
            }
            IPV6 => {
                let Some(next) = load::<u8>(ctx, 6) else { return };
                let at = if direction == RECEIVE { 8 } else { 24 };
                let Some(remote) = load::<[u8; 16]>(ctx, at) else {
                    return;
                };
                (remote, next, IPV6_HEADER)
            }
            _ => return,
        };
        let (vni, kind) = match next {
            UDP_PROTOCOL => {
                // The UDP header, and the VXLAN header behind it.
                let Some(udp) = load::<[u8; 16]>(ctx, header) else {
                    return;
                };
                let port = u32::from(u16::from_be_bytes([udp[2], udp[3]]));
                // SAFETY: the map's value lives as long as the map.
                let is_vxlan = PORT.get(0).is_some_and(|wanted| *wanted == port) && udp[8] & HAS_VNI != 0;
                if !is_vxlan {
                    return;
                }
                (u32::from_be_bytes([0, udp[12], udp[13], udp[14]]), VXLAN)
            }
            ESP_PROTOCOL => (0, ESP),
            _ => return,
        };
        let key = Key {
            remote,
            vni,
            kind,
            direction: direction as u16,
        };
        let mut outer = OVERLAY.get_ptr_mut(&key);
        if outer.is_none() && has_room() && OVERLAY.insert(&key, &ZERO, 0).is_ok() {
            outer = OVERLAY.get_ptr_mut(&key);
        }
        let packets = if segments > 1 { u64::from(segments) } else { 1 };
        // SAFETY: the value exists while the program runs. This CPU's value has no other writer: the hooks run with
        // bottom halves off, and the direction is part of the key.
        unsafe {
            if let Some(outer) = outer {
                (*outer).packets += packets;
                (*outer).bytes += u64::from(length);
            } else if let Some(lost) = OVERLAY_LOST.get_ptr_mut(0) {
                *lost += packets;
            }
        }
    }

    /// Reserves room for one unknown tunnel. Anybody can write any address and VNI into a packet, and such packets
    /// must not use the room of known tunnels. The daemon corrects the number when it reads.
    #[inline(always)]
    fn has_room() -> bool {
        let Some(strangers) = OVERLAY_STRANGERS.get_ptr_mut(0) else {
            return false;
        };
        // SAFETY: the map's value lives as long as the map. Others may write meanwhile, and then there is one key too
        // many.
        unsafe {
            let has_room = *strangers < OF_STRANGERS;
            *strangers += u32::from(has_room);
            has_room
        }
    }

    /// Reads at an offset from the beginning of the IP header. `None` if the packet ends before.
    #[inline(always)]
    fn load<T: Copy>(ctx: &TcContext, offset: u32) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes as many bytes as `value` has, or fails. Every caller's type consists of bytes,
        // for which any value is valid.
        unsafe {
            let status = bpf_skb_load_bytes_relative(
                ctx.skb.skb.cast(),
                offset,
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                BPF_HDR_START_NET,
            );
            if status == 0 { Some(value.assume_init()) } else { None }
        }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

/// On the host this is an empty program, so that the crate stays a workspace member that every tool can check.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
