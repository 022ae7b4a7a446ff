//! What the kernel programs counted lately, for checks: the difference between a reading and one of a few looks ago.
//! Must not know what is a fault.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use netmon_common::dns::{CODE_NOERROR, CODE_NXDOMAIN, CODE_OTHER, CODE_REFUSED, CODE_SERVFAIL, DURATION_BOUNDS, Dns};

use crate::{
    datapath::{DatapathError, SharedTracepoints, overlay::SharedOverlay},
    model::{
        counters::Directions,
        dns::{DnsCounts, DnsReading, Resolver, is_asked},
        facts::{Asked, Moved, Unread},
        interface::NetnsId,
        inventory::ContainerId,
        overlay::Tunnel,
    },
};

/// How many looks "lately" is: with a look each 15 s, half a minute. A fault that was mended is seen for that long.
const LOOKS: usize = 2;

/// In microseconds.
const A_SECOND: u32 = 1_000_000;

/// Reads the programs' counts, and remembers the last readings.
#[derive(Debug)]
pub struct Movement {
    tracepoints: SharedTracepoints,
    overlay: SharedOverlay,
    /// The last ones, the oldest first.
    readings: VecDeque<Reading>,
}

#[derive(Clone, Debug)]
struct Reading {
    at: Instant,
    tunnels: BTreeMap<Tunnel, Directions<u64>>,
    node_drops: BTreeMap<(u32, Arc<str>), u64>,
    asked: BTreeMap<(ContainerId, Resolver), Asked>,
}

/// Where containers' queries are counted.
pub(super) type Askers = Vec<(ContainerId, Arc<dyn DnsCounts>)>;

impl Movement {
    /// What these programs count. Nothing was read yet.
    #[must_use]
    pub fn new(tracepoints: SharedTracepoints, overlay: SharedOverlay) -> Self {
        Self {
            tracepoints,
            overlay,
            readings: VecDeque::new(),
        }
    }

    /// Reads, and says what was counted since. `node` is the node's namespace.
    pub(super) fn read(&mut self, node: Option<NetnsId>, askers: &Askers, now: Instant) -> Result<Moved, Unread> {
        let mut reading = self.reading(node, now).map_err(|error| Unread(error.to_string()))?;
        for (id, counts) in askers {
            let DnsReading { docker, outside } = counts.read();
            for (resolver, dns) in [(Resolver::Docker, docker), (Resolver::Outside, outside)] {
                if is_asked(&dns) {
                    reading.asked.insert((Arc::clone(id), resolver), asked(&dns));
                }
            }
        }
        let moved = self.readings.front().map(|before| reading.since(before));
        self.readings.push_back(reading);
        while self.readings.len() > LOOKS {
            self.readings.pop_front();
        }
        Ok(moved.unwrap_or_default())
    }

    /// Programs that are not there count nothing: the configuration or the kernel has none, which is said elsewhere.
    fn reading(&mut self, node: Option<NetnsId>, at: Instant) -> Result<Reading, DatapathError> {
        let mut reading = Reading {
            at,
            tunnels: BTreeMap::new(),
            node_drops: BTreeMap::new(),
            asked: BTreeMap::new(),
        };
        if let Some(map) = &mut *self.overlay.lock() {
            let tunnels = map.read()?.tunnels.into_iter();
            let packets = |(tunnel, counts): (Tunnel, Directions<_>)| (tunnel, counts.map(packets));
            reading.tunnels = tunnels.map(packets).collect();
        }
        let mut tracepoints = self.tracepoints.lock();
        if let (Some(map), Some(node)) = (&mut tracepoints.drops, node) {
            let drops = map.read()?.counted.into_iter();
            for drop in drops.filter(|drop| drop.interface.netns == node) {
                let reason = Arc::from(map.reason(drop.reason));
                *reading.node_drops.entry((drop.interface.ifindex, reason)).or_default() += drop.packets;
            }
        }
        Ok(reading)
    }
}

/// What became of queries.
fn asked(dns: &Dns) -> Asked {
    let Dns {
        responses,
        unanswered,
        durations,
        ..
    } = dns;
    let is_slow = |(_, bound): &(usize, &u32)| **bound > A_SECOND;
    let first_slow = DURATION_BOUNDS.iter().enumerate().find(is_slow).map_or(0, |(at, _)| at);
    Asked {
        answered: responses[CODE_NOERROR] + responses[CODE_NXDOMAIN] + responses[CODE_OTHER],
        unanswered: *unanswered,
        servfail: responses[CODE_SERVFAIL],
        refused: responses[CODE_REFUSED],
        slow: durations[first_slow..].iter().sum(),
    }
}

const fn packets(counts: crate::model::overlay::OuterCounts) -> u64 {
    counts.packets
}

impl Reading {
    fn since(&self, before: &Self) -> Moved {
        let tunnels = self.tunnels.iter().map(|(tunnel, counts)| {
            let old = before.tunnels.get(tunnel).copied().unwrap_or_default();
            let more = Directions {
                receive: counts.receive.saturating_sub(old.receive),
                transmit: counts.transmit.saturating_sub(old.transmit),
            };
            (*tunnel, more)
        });
        let asked = self.asked.iter().map(|(key, asked)| {
            let old = before.asked.get(key).copied().unwrap_or_default();
            (key.clone(), asked.since(&old))
        });
        let node_drops = self.node_drops.iter().map(|(key, count)| {
            let old = before.node_drops.get(key).copied().unwrap_or_default();
            (key.clone(), count.saturating_sub(old))
        });
        Moved {
            time: self.at.saturating_duration_since(before.at),
            tunnels: tunnels.collect(),
            node_drops: node_drops.filter(|(_, count)| *count > 0).collect(),
            asked: asked.filter(|(_, asked)| asked.all() > 0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::Arc,
        time::{Duration, Instant},
    };

    use netmon_common::dns::Dns;

    use super::{Reading, asked};
    use crate::model::{
        counters::Directions,
        overlay::{Tunnel, TunnelKind},
    };

    fn reading(at: Instant, [receive, transmit]: [u64; 2], drops: &[(u32, u64)]) -> Reading {
        let tunnel = Tunnel {
            kind: TunnelKind::Vxlan { vni: 4097 },
            remote: [192, 0, 2, 2].into(),
        };
        Reading {
            at,
            tunnels: [(tunnel, Directions { receive, transmit })].into(),
            node_drops: drops
                .iter()
                .map(|(ifindex, count)| ((*ifindex, Arc::from("X")), *count))
                .collect(),
            asked: BTreeMap::new(),
        }
    }

    #[test]
    fn what_was_counted_since_is_the_difference_and_never_below_zero() {
        let begin = Instant::now();
        let before = reading(begin, [5, 100], &[(3, 7), (4, 9)]);
        let now = reading(begin + Duration::from_mins(1), [8, 20], &[(3, 10), (4, 9), (5, 2)]);
        let moved = now.since(&before);
        assert_eq!(moved.time, Duration::from_mins(1));
        let counts: Vec<_> = moved.tunnels.values().map(|it| (it.receive, it.transmit)).collect();
        // The tunnel's count was deleted meanwhile.
        assert_eq!(counts, [(3, 0)]);
        let drops: Vec<_> = moved
            .node_drops
            .iter()
            .map(|((ifindex, _), count)| (*ifindex, *count))
            .collect();
        assert_eq!(drops, [(3, 3), (5, 2)]);
    }

    #[test]
    fn queries_are_told_apart_by_what_became_of_them() {
        let mut dns = Dns {
            unanswered: 7,
            ..Dns::default()
        };
        dns.responses = [1, 2, 4, 8, 16];
        dns.durations[12] = 100;
        dns.durations[13] = 3;
        dns.durations[15] = 2;
        let asked = asked(&dns);
        assert_eq!((asked.answered, asked.unanswered), (1 + 2 + 16, 7));
        assert_eq!((asked.servfail, asked.refused, asked.slow), (4, 8, 5));
        assert_eq!(asked.all(), 38);
    }
}
