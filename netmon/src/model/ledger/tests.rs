//! Ledgers of simulated devices, compared with what a kernel would count.

mod between;
mod busy;
mod estimates;
mod properties;

use super::{Account, First, Ledger, Reading};
use crate::model::counters::{DeviceCounters, Directions, Traffic};

/// A device with programs attached, as a kernel would run them.
#[derive(Clone, Default)]
struct Kernel {
    device: DeviceCounters,
    map: Option<Traffic>,
    cuts_in_software: bool,
    /// Packets that one of the two has counted, and the other has not: their segments and payload.
    between: Vec<(u64, u64)>,
    /// All segments of all packets.
    segments: u64,
}

const HEADER: u64 = 54;

impl Kernel {
    fn attach(&mut self) {
        self.map.get_or_insert_default();
    }

    /// Programs are taken off. Returns what they counted.
    fn detach(&mut self) -> Option<Traffic> {
        self.map.take()
    }

    fn pass(&mut self, segments: u64, payload: u64) {
        self.segments += segments;
        self.at_device(segments, payload);
        self.at_hook(segments, payload);
    }

    fn at_device(&mut self, segments: u64, payload: u64) {
        let (packets, bytes) = if self.cuts_in_software {
            (segments, payload + segments * HEADER)
        } else {
            (1, payload + HEADER)
        };
        self.device.packets += packets;
        self.device.bytes += bytes;
    }

    fn at_hook(&mut self, segments: u64, payload: u64) {
        if let Some(map) = &mut self.map {
            map.packets += 1;
            map.bytes += payload + HEADER;
            map.segments += segments;
            map.wire_bytes += payload + segments * HEADER;
            map.tcp_segments += segments;
        }
    }

    /// A packet comes as far as the first of the two.
    fn begin(&mut self, first: First, segments: u64, payload: u64) {
        self.segments += segments;
        self.between.push((segments, payload));
        match first {
            First::Device => self.at_device(segments, payload),
            First::Hook => self.at_hook(segments, payload),
        }
    }

    /// All such packets come to the other one.
    fn arrive(&mut self, first: First) {
        for (segments, payload) in std::mem::take(&mut self.between) {
            match first {
                First::Device => self.at_hook(segments, payload),
                First::Hook => self.at_device(segments, payload),
            }
        }
    }

    /// The hook counts a packet, and it is lost before the driver.
    fn drop_behind_the_hook(&mut self) {
        self.segments += 1;
        self.at_hook(1, 0);
    }

    /// The device counts a packet, but another program comes before ours.
    fn hide(&mut self, payload: u64) {
        self.segments += 1;
        self.at_device(1, payload);
    }

    fn still(&self) -> Reading {
        Reading {
            before: self.map,
            device: self.device,
            after: self.map,
        }
    }
}

fn sent() -> Account {
    Account::of(First::Hook)
}

fn received() -> Account {
    Account::of(First::Device)
}

fn packets(account: &Account) -> (u64, u64) {
    (account.totals().packets, account.totals().bytes)
}

#[test]
fn before_programs_are_attached_the_device_speaks_for_itself() {
    let mut kernel = Kernel::default();
    let mut account = sent();
    kernel.pass(1, 100);
    account.observe(kernel.still());
    assert_eq!(packets(&account), (1, 154));
    assert_eq!(account.totals().segments, 1);
}

#[test]
fn when_programs_are_taken_off_and_put_on_again_nothing_is_lost_or_counted_twice() {
    let mut kernel = Kernel::default();
    let mut account = sent();
    kernel.pass(1, 10);
    kernel.attach();
    account.observe(kernel.still());
    kernel.pass(5, 5000);
    account.observe(kernel.still());
    assert_eq!((account.totals().packets, account.totals().segments), (2, 6));
    kernel.hide(10);
    account.observe(kernel.still());
    assert_eq!(account.unseen(), 1);
    account.part(kernel.detach().expect("programs"));
    assert_eq!((account.totals().packets, account.totals().segments), (3, 7));
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
    assert_eq!(account.unseen(), 0);
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
    let mut account = sent();
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
    let mut account = sent();
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
    let mut account = sent();
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
    let mut account = sent();
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
fn a_reading_in_the_middle_of_traffic_is_off_by_no_more_than_what_passed_meanwhile() {
    let mut kernel = Kernel::default();
    let mut account = sent();
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
