//! What netmon's builds before filters had marks leave on a device, and what tells that one of them runs.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, ensure};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use netmon_tests::netns::Netns;

/// `RTMGRP_LINK` of `linux/rtnetlink.h`.
const LINK_GROUP: u32 = 1;
/// `BPF_PROG_LOAD` and `BPF_PROG_TYPE_SCHED_CLS` of `linux/bpf.h`.
const LOAD: libc::c_long = 5;
const SCHED_CLS: u32 = 3;
/// `RTM_NEWTFILTER` of `linux/rtnetlink.h`.
const NEW_FILTER: u16 = 44;
/// The two hooks of clsact (`linux/pkt_sched.h`).
const SIDES: [(&str, u32); 2] = [("traffic_ingress", 0xffff_fff2), ("traffic_egress", 0xffff_fff3)];

/// An older netmon that runs. Every build listens to messages about devices in the node's namespace.
pub(super) struct Running(#[expect(dead_code, reason = "it is open as long as that netmon runs")] Socket);

impl Running {
    pub(super) fn start(node: &Netns) -> anyhow::Result<Self> {
        node.within(|| {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, LINK_GROUP))?;
            Ok(Self(socket))
        })
    }
}

/// Puts its filters on a device. The kernel chose their handles: 1, and then what is free.
pub(super) fn attach(netns: &Netns, device: &str) -> anyhow::Result<()> {
    netns.run(&format!("tc qdisc add dev {device} clsact"))?;
    let ifindex = u32::try_from(netns.ifindex(device)?)?;
    netns.within(|| SIDES.into_iter().try_for_each(|(name, hook)| add(name, hook, ifindex)))
}

fn add(name: &str, hook: u32, ifindex: u32) -> anyhow::Result<()> {
    let program = load(name)?;
    let options = [
        attribute(6, &program.as_raw_fd().to_ne_bytes()),
        attribute(7, format!("{name}\0").as_bytes()),
        // `TCA_BPF_FLAGS`: what the program returns is the verdict.
        attribute(8, &1_u32.to_ne_bytes()),
    ]
    .concat();
    // Priority 1, for all protocols, as netmon has it.
    let info = 1_u32 << 16 | u32::from(0x0003_u16.to_be());
    let body = [
        &[0; 4][..],
        &ifindex.to_ne_bytes(),
        &0_u32.to_ne_bytes(),
        &hook.to_ne_bytes(),
        &info.to_ne_bytes(),
        &attribute(1, b"bpf\0"),
        &attribute(2, &options),
    ]
    .concat();
    let mut message = Vec::from(u32::try_from(body.len() + 16)?.to_ne_bytes());
    message.extend(NEW_FILTER.to_ne_bytes());
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    message.extend(u16::try_from(flags)?.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.send(&message, 0)?;
    let (answer, _sender) = socket.recv_from_full()?;
    let error = answer.get(16..20).context("the kernel's answer is short")?;
    ensure!(error == [0; 4], "the kernel refuses the filter: {error:?}");
    Ok(())
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// A program of this name that lets everything pass: `r0 = TC_ACT_UNSPEC; exit`.
#[expect(unsafe_code, reason = "no library of the tests loads programs")]
fn load(name: &str) -> anyhow::Result<OwnedFd> {
    let instructions: [u64; 2] = [0xffff_ffff_0000_00b7, 0x95].map(u64::to_le);
    let licence = c"GPL";
    let mut bytes = [0_u8; 16];
    let end = name.len().min(bytes.len() - 1);
    bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
    let attributes = Attributes {
        kind: SCHED_CLS,
        count: 2,
        instructions: instructions.as_ptr() as u64,
        licence: licence.as_ptr() as u64,
        rest: [0; 6],
        name: bytes,
    };
    // SAFETY: the kernel reads no more than the given size of the structure, which is `bpf_attr` as far as that. The
    // pointers in it are to values that outlive the call: two instructions, and a text that ends with a zero.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, LOAD, &raw const attributes, size_of::<Attributes>()) };
    ensure!(fd >= 0, "no program: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just made this descriptor, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd)?) })
}

/// The first part of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct Attributes {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    /// The verifier's log, the kernel's version, flags.
    rest: [u32; 6],
    name: [u8; 16],
}
