//! Ledgers of simulated devices, compared with what a kernel would count.

use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

use super::{Account, Ledger, Reading};
use crate::model::counters::{DeviceCounters, Directions, Traffic};

/// A device with programs attached, as a kernel would run them.
#[derive(Clone, Copy, Default)]
struct Kernel {
    device: DeviceCounters,
    map: Option<Traffic>,
    cuts_in_software: bool,
}

const HEADER: u64 = 54;

impl Kernel {
    fn attach(&mut self) {
        self.map.get_or_insert_default();
    }

    fn pass(&mut self, segments: u64, payload: u64) {
        let bytes = payload + HEADER;
        let wire_bytes = payload + segments * HEADER;
        let (device_packets, device_bytes) = if self.cuts_in_software {
            (segments, wire_bytes)
        } else {
            (1, bytes)
        };
        self.device.packets += device_packets;
        self.device.bytes += device_bytes;
        if let Some(map) = &mut self.map {
            map.packets += 1;
            map.bytes += bytes;
            map.segments += segments;
            map.wire_bytes += wire_bytes;
        }
    }

    /// The hook counts a packet, and it is lost before the driver.
    fn drop_behind_the_hook(&mut self) {
        if let Some(map) = &mut self.map {
            map.packets += 1;
            map.bytes += HEADER;
            map.segments += 1;
            map.wire_bytes += HEADER;
        }
    }

    /// The device counts a packet, but another program comes before ours.
    fn hide(&mut self, payload: u64) {
        self.device.packets += 1;
        self.device.bytes += payload + HEADER;
    }

    fn still(&self) -> Reading {
        Reading {
            before: self.map,
            device: self.device,
            after: self.map,
        }
    }
}

fn packets(account: &Account) -> (u64, u64) {
    (account.totals().packets, account.totals().bytes)
}

#[test]
fn before_programs_are_attached_the_device_speaks_for_itself() {
    let mut kernel = Kernel::default();
    let mut account = Account::default();
    kernel.pass(1, 100);
    account.observe(kernel.still());
    assert_eq!(packets(&account), (1, 154));
    assert_eq!(account.totals().segments, 1);
}

#[test]
fn when_programs_are_taken_off_and_put_on_again_nothing_is_lost_or_counted_twice() {
    let mut kernel = Kernel::default();
    let mut account = Account::default();
    kernel.pass(1, 10);
    kernel.attach();
    account.observe(kernel.still());
    kernel.pass(5, 5000);
    account.observe(kernel.still());
    assert_eq!((account.totals().packets, account.totals().segments), (2, 6));
    kernel.hide(10);
    account.observe(kernel.still());
    assert_eq!(account.programs.map_or(0, |it| it.unseen), 1);
    account.part();
    assert_eq!((account.totals().packets, account.totals().segments), (3, 7));
    kernel.map = None;
    kernel.hide(10);
    account.observe(kernel.still());
    assert_eq!((account.totals().packets, account.totals().segments), (4, 8));
    kernel.attach();
    kernel.pass(3, 3000);
    account.observe(kernel.still());
    assert_eq!((account.totals().packets, account.totals().segments), (5, 11));
    kernel.pass(2, 2000);
    account.observe(kernel.still());
    assert_eq!((account.totals().packets, account.totals().segments), (6, 13));
    assert_eq!(account.programs.map_or(1, |it| it.unseen), 0);
}

/// An earlier netmon has already shown these counts. They would appear as a jump.
#[test]
fn of_a_device_that_was_there_before_netmon_only_packets_and_bytes_go_on() {
    let mut kernel = Kernel::default();
    for _ in 0..100 {
        kernel.pass(1, 100);
    }
    let mut ledger = Ledger::of_older();
    let both = |reading: Reading| Directions {
        receive: reading,
        transmit: reading,
    };
    ledger.observe(both(kernel.still()));
    assert_eq!(
        (ledger.totals().receive.packets, ledger.totals().receive.segments),
        (100, 0)
    );
    assert_eq!(ledger.recent().receive.packets, 0);
    kernel.pass(1, 10);
    kernel.attach();
    kernel.pass(5, 5000);
    ledger.observe(both(kernel.still()));
    kernel.pass(2, 2000);
    let map = kernel.map.map(|map| Directions {
        receive: map,
        transmit: map,
    });
    ledger.close(Directions::default(), map);
    let (totals, recent) = (ledger.totals().receive, ledger.recent().receive);
    assert_eq!((totals.packets, totals.segments), (103, 1 + 5 + 2));
    assert_eq!((recent.packets, recent.bytes), (3, 64 + 5054 + 2054));
}

#[test]
fn an_older_device_that_goes_before_it_was_read_counted_nothing_for_netmon() {
    let mut kernel = Kernel::default();
    kernel.pass(1, 100);
    let mut ledger = Ledger::of_older();
    let last = Directions {
        receive: Some(kernel.device),
        transmit: Some(kernel.device),
    };
    ledger.close(last, None);
    assert_eq!(ledger.totals().receive.packets, 1);
    assert_eq!(
        (ledger.recent().receive.packets, ledger.totals().receive.segments),
        (0, 0)
    );
}

#[test]
fn a_device_that_is_gone_is_followed_by_the_map_to_its_last_packet() {
    let mut kernel = Kernel::default();
    let mut account = Account::default();
    kernel.pass(1, 100);
    kernel.attach();
    account.observe(kernel.still());
    for _ in 0..10 {
        kernel.pass(3, 3000);
    }
    account.close(None, kernel.map);
    assert_eq!(packets(&account), (kernel.device.packets, kernel.device.bytes));
    assert_eq!(account.totals().segments, 31);
}

#[test]
fn the_kernels_own_farewell_is_believed_before_the_map() {
    let mut kernel = Kernel::default();
    let mut account = Account::default();
    kernel.attach();
    account.observe(kernel.still());
    kernel.pass(1, 10);
    kernel.drop_behind_the_hook();
    account.close(Some(kernel.device), kernel.map);
    assert_eq!(packets(&account), (1, 64));
}

#[test]
fn a_farewell_that_forgot_something_is_not_believed() {
    let mut kernel = Kernel::default();
    let mut account = Account::default();
    kernel.attach();
    kernel.pass(1, 10);
    account.observe(kernel.still());
    kernel.pass(1, 10);
    account.close(Some(DeviceCounters::default()), kernel.map);
    assert_eq!(packets(&account), (2, 128));
}

#[test]
fn packets_that_another_program_hides_count_as_one_segment_each() {
    let mut kernel = Kernel::default();
    let mut account = Account::default();
    kernel.attach();
    kernel.pass(5, 5000);
    account.observe(kernel.still());
    for _ in 0..7 {
        kernel.hide(100);
    }
    kernel.pass(2, 2000);
    account.observe(kernel.still());
    assert_eq!(packets(&account).0, 9);
    // The device may have counted the super-packet as two. Six packets are surely hidden, so the sum is never too high.
    assert_eq!(account.totals().segments, 5 + 7 + 1);
}

#[test]
fn packets_on_their_way_between_hook_and_device_are_not_overlooked() {
    let mut kernel = Kernel::default();
    let mut account = Account::default();
    kernel.attach();
    account.observe(kernel.still());
    for _ in 0..3 {
        // Forty packets wait in the device's queue during the reading, and are sent afterwards.
        for _ in 0..40 {
            kernel.drop_behind_the_hook();
        }
        account.observe(kernel.still());
        kernel.device.packets += 40;
        account.observe(kernel.still());
        assert_eq!(
            (account.totals().packets, account.totals().segments),
            packets_and_segments(&kernel)
        );
    }
    for _ in 0..3 {
        // The device counted one packet that has not reached the hook. For a moment it may be a hidden one.
        kernel.device.packets += 1;
        account.observe(kernel.still());
        kernel.drop_behind_the_hook();
        account.observe(kernel.still());
    }
    let (packets, segments) = packets_and_segments(&kernel);
    assert_eq!(account.totals().packets, packets);
    assert!((segments..=segments + 1).contains(&account.totals().segments));

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
    assert!(account.totals().segments >= before + 5_000 - 1_000 - 1);
}

fn packets_and_segments(kernel: &Kernel) -> (u64, u64) {
    (kernel.device.packets, kernel.map.map_or(0, |map| map.segments))
}

#[test]
fn a_reading_in_the_middle_of_traffic_is_off_by_no_more_than_what_passed_meanwhile() {
    let mut kernel = Kernel::default();
    let mut account = Account::default();
    kernel.pass(1, 10);
    kernel.attach();
    let before = kernel.map;
    kernel.pass(1, 10);
    let device = kernel.device;
    kernel.pass(1, 10);
    account.observe(Reading {
        before,
        device,
        after: kernel.map,
    });
    assert!(!account.is_settled());
    account.observe(kernel.still());
    assert!(account.is_settled());
    kernel.pass(1, 10);
    account.close(None, kernel.map);
    assert_eq!(packets(&account), (kernel.device.packets, kernel.device.bytes));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass { segments: u64, payload: u64 },
    Drop,
    Read,
    ReadWhilePassing,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..20_u64, 0..60_000_u64).prop_map(|(segments, payload)| Step::Pass { segments, payload }),
        1 => Just(Step::Drop),
        2 => Just(Step::Read),
        2 => Just(Step::ReadWhilePassing),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// After a quiet reading, the last total equals the device's own counters, and no total ever falls. This holds
    /// for any traffic, drops and times of reading.
    #[test]
    fn totals_are_the_devices_own_and_never_fall(
        steps in steps(), attach_at in 0..30_usize, cuts_in_software in any::<bool>(), tail in 0..20_u64,
    ) {
        let mut kernel = Kernel { cuts_in_software, ..Kernel::default() };
        let mut account = Account::default();
        let mut last = account.totals();
        for (at, step) in steps.into_iter().enumerate() {
            if at == attach_at {
                kernel.attach();
            }
            match step {
                Step::Pass { segments, payload } => kernel.pass(segments, payload),
                Step::Drop => kernel.drop_behind_the_hook(),
                Step::Read => account.observe(kernel.still()),
                Step::ReadWhilePassing => {
                    let before = kernel.map;
                    kernel.pass(1, 10);
                    let device = kernel.device;
                    kernel.pass(1, 20);
                    account.observe(Reading { before, device, after: kernel.map });
                }
            }
            let totals = account.totals();
            assert!(totals.packets >= last.packets && totals.bytes >= last.bytes && totals.segments >= last.segments);
            last = totals;
        }
        kernel.attach();
        account.observe(kernel.still());
        for _ in 0..tail {
            // One segment each, because the traffic may not have shown which measure the device follows.
            kernel.pass(1, 1000);
        }
        account.close(None, kernel.map);
        prop_assert_eq!(packets(&account), (kernel.device.packets, kernel.device.bytes));
    }
}
