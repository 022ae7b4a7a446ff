//! Packets that one of the two, device and hook, has counted, and the other has not.

use super::{Account, First, Kernel, Ledger, Reading, packets, received, sent};
use crate::model::counters::Directions;

/// A burst of received packets, counted by the device and on its way to the hook.
fn burst(kernel: &mut Kernel, packets: u64) {
    for _ in 0..packets {
        kernel.begin(First::Device, 1, 10);
    }
}

fn with_programs(mut account: Account) -> (Kernel, Account) {
    let mut kernel = Kernel::default();
    kernel.attach();
    account.observe(kernel.still());
    (kernel, account)
}

#[test]
fn a_burst_on_its_way_to_the_hook_is_not_counted_twice() {
    let (mut kernel, mut account) = with_programs(received());
    for _ in 0..3 {
        burst(&mut kernel, 800);
        account.observe(kernel.still());
        kernel.arrive(First::Device);
        account.observe(kernel.still());
        assert_eq!(account.totals().segments, kernel.segments);
        assert_eq!(account.unseen(), 0, "nobody hides packets");
    }
}

#[test]
fn a_burst_on_its_way_at_the_first_reading_is_not_counted_twice() {
    let mut kernel = Kernel::default();
    let mut account = received();
    kernel.pass(1, 10);
    kernel.attach();
    burst(&mut kernel, 800);
    account.observe(kernel.still());
    assert!(!account.is_settled(), "one reading does not show it");
    kernel.arrive(First::Device);
    account.observe(kernel.still());
    assert!(account.is_settled());
    kernel.pass(1, 10);
    account.observe(kernel.still());
    assert_eq!(account.totals().segments, 802);
}

#[test]
fn a_burst_on_its_way_at_the_last_reading_is_not_counted_twice() {
    let (mut kernel, mut account) = with_programs(received());
    burst(&mut kernel, 800);
    account.observe(kernel.still());
    kernel.arrive(First::Device);
    kernel.pass(1, 10);
    account.close(None, kernel.map);
    assert_eq!(packets(&account), (kernel.device.packets, kernel.device.bytes));
    assert_eq!(account.totals().segments, 801);
}

#[test]
fn a_burst_on_its_way_while_packets_pass_is_not_counted_twice() {
    let (mut kernel, mut account) = with_programs(received());
    account.observe(kernel.still());
    burst(&mut kernel, 800);
    let (before, device) = (kernel.map, kernel.device);
    kernel.pass(1, 10);
    account.observe(Reading {
        before,
        device,
        after: kernel.map,
    });
    kernel.arrive(First::Device);
    account.close(None, kernel.map);
    assert_eq!(packets(&account), (kernel.device.packets, kernel.device.bytes));
}

#[test]
fn packets_that_another_program_hides_are_believed_at_the_second_reading() {
    let (mut kernel, mut account) = with_programs(received());
    for _ in 0..7 {
        kernel.hide(100);
    }
    account.observe(kernel.still());
    assert_eq!((account.totals().segments, account.unseen()), (0, 0));
    account.observe(kernel.still());
    assert_eq!((account.totals().segments, account.unseen()), (7, 7));
    kernel.pass(1, 10);
    account.close(None, kernel.map);
    assert_eq!(packets(&account), (kernel.device.packets, kernel.device.bytes));
}

#[test]
fn packets_that_were_hidden_before_the_end_are_in_the_last_counters() {
    let (mut kernel, mut account) = with_programs(received());
    kernel.hide(100);
    kernel.pass(4, 4000);
    account.close(Some(kernel.device), kernel.map);
    // The device may have counted the super-packet as two.
    assert_eq!((account.totals().packets, account.totals().segments), (2, 4));
    kernel.hide(100);
    account.close(Some(kernel.device), None);
    assert_eq!((account.totals().packets, account.totals().segments), (3, 5));
}

#[test]
fn a_packet_that_waits_in_the_devices_queue_is_not_overlooked() {
    let (mut kernel, mut account) = with_programs(sent());
    for _ in 0..3 {
        for _ in 0..40 {
            kernel.begin(First::Hook, 1, 10);
        }
        account.observe(kernel.still());
        kernel.arrive(First::Hook);
        account.observe(kernel.still());
        assert_eq!(account.totals().packets, kernel.device.packets);
        assert_eq!(account.totals().segments, kernel.segments);
    }
    // Drops behind the hook compensate for hidden packets, but at most for as many as a queue holds.
    for _ in 0..5_000 {
        kernel.drop_behind_the_hook();
    }
    account.observe(kernel.still());
    for _ in 0..5_000 {
        kernel.hide(10);
    }
    let before = account.totals().segments;
    account.observe(kernel.still());
    assert!(account.totals().segments >= before + 5_000 - 1_000);
}

#[test]
fn a_packet_that_waits_in_the_queue_at_the_first_reading_is_counted_once() {
    let mut kernel = Kernel::default();
    let mut account = sent();
    kernel.attach();
    for _ in 0..40 {
        kernel.begin(First::Hook, 1, 10);
    }
    account.observe(kernel.still());
    kernel.arrive(First::Hook);
    account.observe(kernel.still());
    account.observe(kernel.still());
    assert_eq!(account.totals().segments, 40);
}

#[test]
fn packets_that_wait_in_the_queue_when_programs_are_detached_are_counted_once() {
    let (mut kernel, mut account) = with_programs(sent());
    for _ in 0..40 {
        kernel.begin(First::Hook, 1, 10);
    }
    account.observe(kernel.still());
    account.part(kernel.detach().expect("programs"));
    kernel.attach();
    account.observe(kernel.still());
    kernel.arrive(First::Hook);
    account.observe(kernel.still());
    account.observe(kernel.still());
    assert_eq!(
        (account.totals().packets, account.totals().segments),
        (kernel.device.packets, kernel.segments)
    );
}

#[test]
fn what_the_first_reading_took_for_super_packets_is_corrected_when_the_device_is_known() {
    let mut kernel = Kernel {
        cuts_in_software: true,
        ..Kernel::default()
    };
    let mut account = sent();
    kernel.attach();
    for _ in 0..3 {
        kernel.pass(10, 10_000);
        account.observe(kernel.still());
    }
    assert_eq!(account.totals().segments, 30);
    kernel.pass(10, 10_000);
    account.close(None, kernel.map);
    assert_eq!(packets(&account), (kernel.device.packets, kernel.device.bytes));
}

#[test]
fn a_burst_on_its_way_is_not_counted_twice_though_it_arrives_among_super_packets() {
    for cuts_in_software in [false, true] {
        let mut kernel = Kernel {
            cuts_in_software,
            ..Kernel::default()
        };
        let mut account = received();
        kernel.attach();
        account.observe(kernel.still());
        kernel.pass(10, 10_000);
        account.observe(kernel.still());
        for _ in 0..3 {
            burst(&mut kernel, 8);
            account.observe(kernel.still());
            kernel.arrive(First::Device);
            kernel.pass(10, 10_000);
            kernel.pass(10, 10_000);
            account.observe(kernel.still());
        }
        account.observe(kernel.still());
        assert_eq!(account.totals().segments, kernel.segments, "cut: {cuts_in_software}");
    }
}

#[test]
fn received_packets_come_to_the_device_first_and_sent_ones_to_the_hook() {
    let mut ledger = Ledger::default();
    let (mut receive, mut transmit) = (Kernel::default(), Kernel::default());
    let read = |ledger: &mut Ledger, receive: &Kernel, transmit: &Kernel| {
        ledger.observe(Directions {
            receive: receive.still(),
            transmit: transmit.still(),
        });
    };
    receive.attach();
    transmit.attach();
    read(&mut ledger, &receive, &transmit);
    for _ in 0..2 {
        receive.begin(First::Device, 1, 10);
        transmit.begin(First::Hook, 1, 10);
        read(&mut ledger, &receive, &transmit);
        receive.arrive(First::Device);
        transmit.arrive(First::Hook);
        read(&mut ledger, &receive, &transmit);
    }
    let totals = ledger.totals();
    assert_eq!((totals.receive.segments, totals.transmit.segments), (2, 2));
    assert_eq!(ledger.unseen(), 0);
}
