//! Devices that are never at rest while they are read.

use super::{Account, Kernel, Reading, packets, received, sent};
use crate::model::counters::Traffic;

/// A packet: its segments and payload.
type Packet = (u64, u64);

const PLAIN: Packet = (1, 1_400);
const SUPER: Packet = (20, 28_000);

/// A reading. So many of these packets pass after the first reading of the map, and so many before the last one.
fn busy(kernel: &mut Kernel, (before_device, after_device): (u64, u64), packet: Packet) -> Reading {
    let pass = |kernel: &mut Kernel, count| (0..count).for_each(|_| kernel.pass(packet.0, packet.1));
    let before = kernel.map;
    pass(kernel, before_device);
    let device = kernel.device;
    pass(kernel, after_device);
    Reading {
        before,
        device,
        after: kernel.map,
    }
}

fn detached(kernel: &mut Kernel, account: &mut Account) {
    let map: Traffic = kernel.detach().expect("programs are attached");
    account.part(map);
    account.observe(kernel.still());
}

/// Only one of the two programs was taken off, and netmon detaches the other one.
#[test]
fn what_passed_since_the_last_reading_at_rest_is_not_counted_twice_when_programs_are_detached() {
    for mut account in [sent(), received()] {
        let mut kernel = Kernel {
            cuts_in_software: true,
            ..Kernel::default()
        };
        kernel.attach();
        account.observe(kernel.still());
        account.observe(kernel.still());
        for _ in 0..100 {
            (0..1_000).for_each(|_| kernel.pass(SUPER.0, SUPER.1));
            let reading = busy(&mut kernel, (2, 2), SUPER);
            account.observe(reading);
        }
        detached(&mut kernel, &mut account);
        // A queue may have been between the two.
        let (shown, passed) = (account.totals().segments, kernel.segments);
        assert!((passed - 1_000..=passed + 100).contains(&shown), "{shown} of {passed}");
    }
}

#[test]
fn packets_that_were_dropped_behind_the_hook_are_not_waited_for_when_programs_are_detached() {
    let (mut kernel, mut account) = (Kernel::default(), sent());
    kernel.attach();
    account.observe(kernel.still());
    for _ in 0..50 {
        for _ in 0..2_000 {
            kernel.pass(PLAIN.0, PLAIN.1);
            kernel.drop_behind_the_hook();
        }
        let reading = busy(&mut kernel, (2, 2), PLAIN);
        account.observe(reading);
    }
    detached(&mut kernel, &mut account);
    (0..50_000).for_each(|_| kernel.pass(PLAIN.0, PLAIN.1));
    account.observe(kernel.still());
    let missing = kernel.segments.checked_sub(account.totals().segments);
    assert!(missing.is_some_and(|missing| missing <= 1_002), "{missing:?}");
}

/// It was learnt that the device counts what goes on the wire. Later it does so for a tenth of the packets only.
#[test]
fn at_most_a_queue_of_packets_is_taken_for_counted_twice() {
    let (mut kernel, mut account) = (Kernel::default(), received());
    (0..1_000_000).for_each(|_| kernel.pass(PLAIN.0, PLAIN.1));
    kernel.attach();
    account.observe(kernel.still());
    account.observe(kernel.still());
    kernel.cuts_in_software = true;
    kernel.pass(2, 3_000);
    account.observe(kernel.still());
    let mix = |kernel: &mut Kernel| {
        for number in 0..10_000 {
            kernel.cuts_in_software = number % 10 == 0;
            kernel.pass(SUPER.0, SUPER.1);
        }
    };
    for _ in 0..2 {
        mix(&mut kernel);
        account.observe(kernel.still());
    }
    mix(&mut kernel);
    detached(&mut kernel, &mut account);
    kernel.attach();
    account.observe(kernel.still());
    account.observe(kernel.still());
    (0..10_000).for_each(|_| kernel.pass(PLAIN.0, PLAIN.1));
    account.observe(kernel.still());
    let missing = kernel.segments.checked_sub(account.totals().segments);
    assert!(missing.is_some_and(|missing| missing <= 1_000), "{missing:?}");
}

/// The thread that read was not run for a while between the device and the map.
#[test]
fn packets_of_the_first_readings_window_are_not_missing_at_the_end() {
    let (mut kernel, mut account) = (Kernel::default(), received());
    (0..1_000).for_each(|_| kernel.pass(PLAIN.0, PLAIN.1));
    kernel.attach();
    let reading = busy(&mut kernel, (5, 2_500), PLAIN);
    account.observe(reading);
    for _ in 0..1_000 {
        (0..100).for_each(|_| kernel.pass(PLAIN.0, PLAIN.1));
        let reading = busy(&mut kernel, (5, 5), PLAIN);
        account.observe(reading);
    }
    (0..5_000).for_each(|_| kernel.pass(PLAIN.0, PLAIN.1));
    account.close(None, kernel.map);
    let missing = kernel.device.packets.checked_sub(packets(&account).0);
    assert!(missing.is_some_and(|missing| missing <= 10), "{missing:?}");
}
