//! What was read and what was only estimated, kept apart; and what programs counted before they were detached.

use super::{Account, Kernel, Ledger, Reading, packets, received, sent};
use crate::model::counters::{DeviceCounters, Directions, Traffic};

/// An estimate that is too high: a packet was dropped behind the hook since the last reading.
fn estimated() -> (Kernel, Account) {
    let (mut kernel, mut account) = (Kernel::default(), sent());
    kernel.attach();
    account.observe(kernel.still());
    for _ in 0..10 {
        kernel.pass(1, 10);
    }
    kernel.drop_behind_the_hook();
    account.estimate(kernel.map.expect("programs"));
    assert_eq!(account.totals().packets, 11);
    (kernel, account)
}

#[test]
fn an_estimate_that_was_shown_stays_until_the_device_has_counted_as_much() {
    let (mut kernel, mut account) = estimated();
    account.observe(kernel.still());
    assert_eq!(account.totals().packets, 11);
    for _ in 0..2 {
        kernel.pass(1, 10);
        account.observe(kernel.still());
    }
    assert_eq!(packets(&account), (kernel.device.packets, kernel.device.bytes));
}

#[test]
fn the_last_counters_are_believed_though_an_estimate_was_higher() {
    let (mut kernel, mut account) = estimated();
    kernel.device.dropped = 3;
    account.close(Some(kernel.device), kernel.map);
    assert_eq!((account.totals().packets, account.totals().dropped), (11, 3));
    // Late ones are compared with those, too.
    let (mut kernel, mut account) = estimated();
    account.close(None, kernel.map);
    for _ in 0..5 {
        kernel.hide(10);
    }
    kernel.device.dropped = 3;
    account.close(Some(kernel.device), None);
    assert_eq!((account.totals().packets, account.totals().dropped), (15, 3));
    assert_eq!(packets(&account).0, kernel.device.packets);
    account.close(Some(DeviceCounters::default()), None);
    assert_eq!(packets(&account).0, kernel.device.packets, "these are behind");
}

#[test]
fn an_estimate_hides_nothing_from_the_programs_that_come_next() {
    let (mut kernel, mut account) = estimated();
    account.part(kernel.detach().expect("programs"));
    for _ in 0..5 {
        kernel.hide(10);
    }
    account.observe(kernel.still());
    // The device does not tell whether the packet was dropped or waits, so one of these may have been counted before.
    assert_eq!((account.totals().packets, account.totals().segments), (15, 11 + 4));
    kernel.attach();
    account.observe(kernel.still());
    kernel.pass(3, 3000);
    account.observe(kernel.still());
    assert_eq!((account.totals().packets, account.totals().segments), (16, 15 + 3));
}

#[test]
fn an_estimate_teaches_nothing_of_how_the_device_counts() {
    let mut kernel = Kernel {
        cuts_in_software: true,
        ..Kernel::default()
    };
    let mut account = sent();
    kernel.attach();
    account.observe(kernel.still());
    kernel.pass(10, 10_000);
    account.estimate(kernel.map.expect("programs"));
    kernel.pass(10, 10_000);
    account.observe(kernel.still());
    kernel.pass(10, 10_000);
    account.close(None, kernel.map);
    assert_eq!(packets(&account), (kernel.device.packets, kernel.device.bytes));
}

#[test]
fn of_a_device_that_is_gone_programs_still_tell_the_segments() {
    let (mut kernel, mut account) = (Kernel::default(), received());
    kernel.attach();
    account.observe(kernel.still());
    kernel.pass(5, 5_000);
    account.count(kernel.map.expect("programs"));
    let totals = account.totals();
    assert_eq!((totals.packets, totals.segments, totals.tcp_segments), (0, 5, 5));
    account.close(Some(kernel.device), kernel.map);
    assert_eq!((account.totals().packets, account.totals().segments), (1, 5));
}

#[test]
fn what_programs_counted_since_the_last_reading_is_not_lost_when_they_are_detached() {
    for mut account in [sent(), received()] {
        let mut kernel = Kernel::default();
        kernel.pass(1, 10);
        kernel.attach();
        account.observe(kernel.still());
        account.observe(kernel.still());
        kernel.pass(5, 5_000);
        account.part(kernel.detach().expect("programs"));
        let both = |account: &Account| (account.totals().segments, account.totals().tcp_segments);
        assert_eq!(both(&account), (6, 5));
        account.observe(kernel.still());
        assert_eq!(both(&account), (6, 5), "the same packets");
        kernel.hide(10);
        account.observe(kernel.still());
        assert_eq!(both(&account), (7, 5));
        // These programs are detached before any reading.
        kernel.attach();
        kernel.pass(5, 5_000);
        account.part(kernel.detach().expect("programs"));
        account.observe(kernel.still());
        assert_eq!(both(&account), (8, 10), "a super-packet of unknown segments");
    }
}

#[test]
fn programs_that_no_reading_has_seen_are_compared_with_the_last_counters() {
    for mut account in [sent(), received()] {
        let mut kernel = Kernel::default();
        kernel.pass(1, 10);
        account.observe(kernel.still());
        kernel.attach();
        kernel.pass(5, 5_000);
        account.close(Some(kernel.device), kernel.map);
        let totals = account.totals();
        assert_eq!((totals.packets, totals.segments, totals.tcp_segments), (2, 6, 5));
    }
}

#[test]
fn a_device_that_returns_goes_on_from_what_was_shown_and_is_compared_with_what_was_read() {
    let (mut kernel, _) = estimated();
    let both = |reading: Reading| Directions {
        receive: reading,
        transmit: reading,
    };
    let mut ledger = Ledger::default();
    let at_rest = Reading {
        before: kernel.map.map(|_| Traffic::default()),
        device: DeviceCounters::default(),
        after: kernel.map.map(|_| Traffic::default()),
    };
    ledger.observe(both(at_rest));
    ledger.observe(both(at_rest));
    ledger.close(
        Directions::default(),
        kernel.map.map(|map| Directions {
            receive: map,
            transmit: map,
        }),
    );
    let sum = |then: &Ledger, now: &Ledger| then.recent().transmit.packets + now.recent().transmit.packets;
    let mut returned = ledger.returned().expect("it was read");
    assert_eq!((returned.totals().transmit.packets, sum(&ledger, &returned)), (11, 11));
    kernel.map = None;
    returned.observe(both(kernel.still()));
    assert_eq!((returned.totals().transmit.packets, sum(&ledger, &returned)), (11, 11));
    for _ in 0..5 {
        kernel.pass(1, 10);
    }
    let last = Directions {
        receive: Some(kernel.device),
        transmit: Some(kernel.device),
    };
    returned.close(last, None);
    assert_eq!((returned.totals().transmit.packets, sum(&ledger, &returned)), (15, 15));
    assert_eq!(returned.totals().transmit.segments, 4, "since it returned");
    assert!(Ledger::of_older().returned().is_none());
}
