//! The kernel programs themselves. They count what the device counts, and no other program on the device can hide
//! packets from them.

use anyhow::{Context as _, ensure};
use netmon::{
    datapath::{
        Datapath,
        host::{Host, Mode},
    },
    model::{
        counters::Directions,
        programs::{Counts as _, Others},
    },
};
use netmon_tests::{figures::Figures, sh, traffic};

use crate::world::{Cable, DEVICE, Member, World, agree, best_mode, modes, quiet, ready};

#[test]
fn programs_count_packets_and_bytes_as_the_device_does() -> anyhow::Result<()> {
    let best = Host::detect()?.mode();
    for mode in [best, Mode::Clsact] {
        for cable in [Cable::Veth, Cable::Bridge, Cable::Macvlan, Cable::Vxlan] {
            let mut world = World::new()?;
            let (a, b) = world.pair(cable)?;
            quiet(&[&a, &b])?;
            let mut datapath = Datapath::load(Host::detect()?, mode, 16, true, Others::unknown())?;
            let ifindex = u32::try_from(a.netns.ifindex(DEVICE)?)?;
            // Filters of clsact have to be detached in the same namespace.
            a.netns.within(|| {
                let before = a.figures()?;
                let attachment = datapath.attach(DEVICE, ifindex, None, &Directions::default())?;
                traffic::ping(&a.netns, b.address, 100)?;
                traffic::udp(&a.netns, &b.netns, b.address, 50, 4000)?;
                traffic::udp(&b.netns, &a.netns, a.ipv6_address, 50, 4000)?;
                traffic::tcp(&a.netns, &b.netns, b.address, 10_000_000)?;
                traffic::tcp(&b.netns, &a.netns, a.address, 10_000_000)?;
                let device = a.figures()?.since(before);
                let map = attachment.counters().context("an interface has counters")?.read();
                drop(attachment.detach_here());
                let programs = Figures {
                    receive_packets: map.receive.packets,
                    receive_bytes: map.receive.bytes,
                    transmit_packets: map.transmit.packets,
                    transmit_bytes: map.transmit.bytes,
                };
                ensure!(
                    programs == device,
                    "{cable:?}, {mode:?}: the programs counted {programs:?}, the device {device:?}"
                );
                Ok(())
            })?;
        }
    }
    Ok(())
}

#[test]
fn another_program_that_lets_nothing_pass_hides_nothing() -> anyhow::Result<()> {
    for mode in modes()? {
        for foreign_first in [true, false] {
            let mut world = World::new()?;
            let (a, b) = world.pair(Cable::Bridge)?;
            if foreign_first {
                drop_all(&a)?;
            }
            let netmon = world.netmon(&[&format!("--bpf.attach={mode}")])?;
            ready(&netmon, 2)?;
            if !foreign_first {
                drop_all(&a)?;
            }
            quiet(&[&a, &b])?;
            let segments = |page: &netmon_tests::page::Page| {
                page.count(
                    "netmon_container_network_receive_segments_total",
                    &[("container", "a"), ("network", "net")],
                )
            };
            // What was hidden already has its segments at the second of two readings.
            netmon.page()?;
            let (page, before) = agree(&netmon, &a, "net")?;
            let before = (segments(&page)?, before);
            b.netns
                .run(&format!("ping -q -c 20 -i 0.002 -W 1 {}", a.address))
                .err()
                .context("pings were answered: nothing is dropped")?;
            let (_, after) = agree(&netmon, &a, "net")?;
            let received = after.since(before.1).receive_packets;
            ensure!(received == 20, "the device counted {after:?}");
            // A received packet that only the device has counted may be on its way to the hook. It is known to be hidden
            // when the next reading shows it, too.
            netmon.page_until("the segments of what is hidden", |page| {
                let more = segments(page)? - before.0;
                // Neighbours may have asked for the address meanwhile.
                let received = page.interface("a", "net")?.since(before.1).receive_packets;
                ensure!(
                    more == received,
                    "{mode}, foreign program {}: {more} of {received} packets have segments",
                    if foreign_first { "first" } else { "later" },
                );
                Ok(())
            })?;
        }
    }
    Ok(())
}

#[test]
fn tcx_is_used_where_it_is_and_refused_in_a_sentence_where_it_is_not() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let _pair = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&["--bpf.attach=tcx"])?;
    if best_mode()? == "tcx" {
        ready(&netmon, 2)?;
        netmon.page()?.one(
            "netmon_bpf_program_info",
            &[
                ("program", "traffic_ingress"),
                ("attach_point", "receive"),
                ("mode", "tcx"),
            ],
        )?;
        return Ok(());
    }
    netmon.page_until("the failures to be counted", |page| {
        let failures = page.count("netmon_attach_failures_total", &[("reason", "attach")])?;
        ensure!(failures == 2, "{failures} of 2");
        Ok(())
    })?;
    ensure!(netmon.log().contains("cannot attach to the"), "{}", netmon.log());
    Ok(())
}

/// Adds a filter that is not netmon's. It has the highest priority, and drops every received packet.
fn drop_all(member: &Member) -> anyhow::Result<()> {
    // This fails if netmon has already created the qdisc.
    let _made = member.netns.run(&format!("tc qdisc add dev {DEVICE} clsact"));
    // In classic BPF, which needs no compiler: "return 2", which is TC_ACT_SHOT.
    let filter = format!("tc filter add dev {DEVICE} ingress pref 1 protocol all bpf da bytecode");
    sh::output(member.netns.command(&filter).arg("1,6 0 0 2")).map(drop)
}
