//! What holds of any traffic, and of any readings of it.

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{Account, First, Kernel, Reading, packets};
use crate::model::counters::Totals;

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass {
        segments: u64,
        payload: u64,
    },
    /// A packet waits between hook and device.
    Begin {
        segments: u64,
        payload: u64,
    },
    Arrive,
    /// Packets that wait are lost. The other one never counts them.
    Lose,
    Hide,
    Attach,
    Detach,
    Read,
    ReadWhilePassing,
    /// The device cannot be read.
    Fail,
    /// The device is not among those that were read.
    Miss,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // In half of all runs there are super-packets.
    prop_oneof![Just(1), Just(20)].prop_flat_map(|segments| prop::collection::vec(step(segments), 0..60))
}

fn step(most_segments: u64) -> impl Strategy<Value = Step> {
    let packet = move || (1..=most_segments, 0..60_000_u64);
    prop_oneof![
        4 => packet().prop_map(|(segments, payload)| Step::Pass { segments, payload }),
        2 => packet().prop_map(|(segments, payload)| Step::Begin { segments, payload }),
        1 => Just(Step::Arrive),
        1 => Just(Step::Lose),
        1 => Just(Step::Hide),
        2 => Just(Step::Attach),
        1 => Just(Step::Detach),
        3 => Just(Step::Read),
        2 => Just(Step::ReadWhilePassing),
        1 => Just(Step::Fail),
        1 => Just(Step::Miss),
    ]
}

/// A device, its account, and what was shown of it.
struct Run {
    kernel: Kernel,
    account: Account,
    first: First,
    last: Totals,
    /// The highest estimate of packets and bytes.
    estimate: (u64, u64),
    /// Received packets on their way to the hook at a first reading. Among super-packets, some may be counted twice.
    doubtful: u64,
}

impl Run {
    fn step(&mut self, step: Step) {
        let Self {
            kernel, account, first, ..
        } = self;
        let is_first = kernel.map.is_some() && !account.is_compared();
        if *first == First::Device && is_first && matches!(step, Step::Read | Step::ReadWhilePassing) {
            self.doubtful += kernel.between.len() as u64;
        }
        match step {
            Step::Pass { segments, payload } => kernel.pass(segments, payload),
            Step::Begin { segments, payload } => kernel.begin(*first, segments, payload),
            Step::Arrive => kernel.arrive(*first),
            Step::Lose => kernel.between.clear(),
            Step::Hide => kernel.hide(10),
            Step::Attach => kernel.attach(),
            Step::Detach => {
                if let Some(map) = kernel.detach() {
                    account.part(map);
                }
            }
            Step::Read => {
                account.observe(kernel.still());
                // What waits at one reading has arrived at the next.
                kernel.arrive(*first);
            }
            Step::ReadWhilePassing => {
                let before = kernel.map;
                kernel.pass(1, 10);
                let device = kernel.device;
                kernel.pass(1, 20);
                let after = kernel.map;
                account.observe(Reading { before, device, after });
                kernel.arrive(*first);
            }
            Step::Fail => {
                if let Some(map) = kernel.map {
                    account.estimate(map);
                    self.estimate = packets(account);
                }
            }
            Step::Miss => {
                if let Some(map) = kernel.map {
                    account.count(map);
                }
            }
        }
        self.check();
    }

    /// Nothing that was shown falls.
    fn check(&mut self) {
        let totals = self.account.totals();
        assert_eq!(totals.highest(self.last), totals, "{:?} was shown", self.last);
        self.last = totals;
    }

    /// The device's own packets and bytes, or the estimate if that was higher.
    fn wanted(&self) -> (u64, u64) {
        let device = self.kernel.device;
        (device.packets.max(self.estimate.0), device.bytes.max(self.estimate.1))
    }
}

proptest! {
    /// Nothing ever falls. A reading shows the device's own counters, and so does the end of a device, with its last
    /// counters or without. Only an estimate may have been higher. No segment is counted twice.
    #[test]
    fn totals_are_the_devices_own_and_never_fall(
        steps in steps(), is_received in any::<bool>(), cuts_in_software in any::<bool>(),
        is_heard in any::<bool>(), tail in 0..20_u64,
    ) {
        let first = if is_received { First::Device } else { First::Hook };
        let mut run = Run {
            kernel: Kernel { cuts_in_software, ..Kernel::default() },
            account: Account::of(first),
            first,
            last: Totals::default(),
            estimate: (0, 0),
            doubtful: 0,
        };
        let is_plain = |step: &Step| {
            !matches!(step, Step::Pass { segments, .. } | Step::Begin { segments, .. } if *segments > 1)
        };
        let is_plain = steps.iter().all(is_plain);
        for step in steps {
            run.step(step);
            if let Step::Read = step {
                prop_assert!(packets(&run.account).0 <= run.wanted().0);
            }
        }
        run.kernel.arrive(first);
        run.step(Step::Attach);
        // Two quiet readings, because a received packet is between device and hook for a moment.
        run.step(Step::Read);
        run.step(Step::Read);
        prop_assert_eq!(packets(&run.account), run.wanted());
        for _ in 0..tail {
            // One segment each, because the traffic may not have shown which measure the device follows.
            run.step(Step::Pass { segments: 1, payload: 1000 });
        }
        if !is_heard {
            run.account.close(None, run.kernel.map);
            run.check();
            prop_assert_eq!(packets(&run.account), run.wanted());
        }
        // Its last counters, in time or late.
        run.step(Step::Hide);
        run.kernel.device.dropped += 1;
        run.account.close(Some(run.kernel.device), run.kernel.map.filter(|_| is_heard));
        run.check();
        prop_assert_eq!(packets(&run.account), run.wanted());
        prop_assert_eq!(run.account.totals().dropped, 1);
        if !cuts_in_software {
            let doubtful = if is_plain { 0 } else { run.doubtful };
            prop_assert!(run.account.known().segments <= run.kernel.segments + doubtful);
        }
    }
}
