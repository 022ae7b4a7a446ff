//! Answers to what netmon asks the kernel, from somebody else.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{anyhow, ensure};
use netmon_tests::traffic;
use rustix::net::{AddressFamily, SendFlags, SocketType, netlink::SocketAddrNetlink, sendto, socket};

use super::Scene;

/// How many pages are made meanwhile, for each of which every namespace is asked.
const PAGES: usize = 300;
/// A message of a list that goes on: a header, and a device of which nothing is said (linux/netlink.h, linux/rtnetlink.h).
const LENGTH: u32 = 32;
const RTM_NEWLINK: u16 = 16;
const NLM_F_MULTI: u16 = 2;

/// Whoever administers a namespace may write to any netlink socket in it, and the number of netmon's is its process'.
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
                // rtnetlink's, which is the protocol number 0.
                let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
                let mut taken = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    // No such socket, most of the time: netmon has it only for a moment.
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
    // Each has its number a moment before it is connected to the kernel, and what comes then is thrown away. For as long as
    // it is open it would take a dozen.
    ensure!(taken < 2 * PAGES as u64, "netmon's sockets took {taken} answers");
    traffic::ping(&scene.a.netns, scene.b.address, 20)?;
    scene.is_unharmed().map(drop)
}
