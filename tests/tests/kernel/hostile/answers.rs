//! Forged answers to netmon's requests to the kernel.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{anyhow, ensure};
use netmon_tests::traffic;
use rustix::net::{AddressFamily, SendFlags, SocketType, netlink::SocketAddrNetlink, sendto, socket};

use super::Scene;

/// How many pages are fetched meanwhile. For each page netmon asks in every namespace.
const PAGES: usize = 300;
/// One message of a multi-part answer: a header, and a device without attributes (linux/netlink.h,
/// linux/rtnetlink.h).
const LENGTH: u32 = 32;
const RTM_NEWLINK: u16 = 16;
const NLM_F_MULTI: u16 = 2;

/// An administrator of a namespace may write to any netlink socket in it. The port id of netmon's socket is netmon's
/// process id.
#[test]
fn answers_that_a_container_gives_in_the_kernels_place_are_refused() -> anyhow::Result<()> {
    let scene = Scene::new(&[])?;
    let netmon = SocketAddrNetlink::new(scene.netmon.pid(), 0);
    let mut message = Vec::new();
    message.extend(LENGTH.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_MULTI.to_ne_bytes());
    message.resize(LENGTH as usize, 0);
    let over = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        let answering = scope.spawn(|| {
            scene.hostile.within(|| {
                // The protocol is rtnetlink, whose number is 0.
                let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
                let mut taken = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    // This fails most of the time: netmon's socket exists only for a moment.
                    taken += u64::from(sendto(&socket, &message, SendFlags::DONTWAIT, &netmon).is_ok());
                }
                Ok(taken)
            })
        });
        let asked = (0..PAGES).try_for_each(|_| scene.netmon.page().map(drop));
        over.store(true, Ordering::Relaxed);
        let taken = answering.join().map_err(|_| anyhow!("the container panicked"))?;
        asked.and(taken)
    })?;
    // Between its creation and its connection to the kernel, a socket accepts messages, which netmon discards. A
    // socket that accepted them for all of its life would accept a dozen.
    ensure!(taken < 2 * PAGES as u64, "netmon's sockets took {taken} answers");
    traffic::ping(&scene.a.netns, scene.b.address, 20)?;
    scene.is_unharmed().map(drop)
}
