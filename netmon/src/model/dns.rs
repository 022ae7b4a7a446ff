//! What a namespace asked its resolvers, for those who do not read the kernel's maps.

use std::fmt;

use netmon_common::dns::{
    CODE_NOERROR, CODE_NXDOMAIN, CODE_OTHER, CODE_REFUSED, CODE_SERVFAIL, CODES, DURATION_BOUNDS, Dns, TYPE_A,
    TYPE_AAAA, TYPE_OTHER, TYPE_PTR, TYPE_SRV, TYPES, UNIT,
};

use super::histogram::Histogram;

/// The types of queries, each with its index.
pub const QUERY_TYPES: [(&str, usize); TYPES] = [
    ("A", TYPE_A),
    ("AAAA", TYPE_AAAA),
    ("PTR", TYPE_PTR),
    ("SRV", TYPE_SRV),
    ("other", TYPE_OTHER),
];

/// The codes of responses, each with its index.
pub const RESPONSE_CODES: [(&str, usize); CODES] = [
    ("noerror", CODE_NOERROR),
    ("nxdomain", CODE_NXDOMAIN),
    ("servfail", CODE_SERVFAIL),
    ("refused", CODE_REFUSED),
    ("other", CODE_OTHER),
];

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolver {
    /// The engine's resolver, at 127.0.0.11.
    Docker,
    /// Any other.
    Outside,
}

/// The counts of a namespace. Reading them takes a few hundred loads from memory, and no system call.
pub trait DnsCounts: fmt::Debug + Send + Sync {
    /// What it asked since its programs were attached. First counts the queries that have waited for too long.
    fn read(&self) -> DnsReading;
}

/// What a namespace asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsReading {
    /// The engine's resolver, at 127.0.0.11.
    pub docker: Dns,
    /// All other resolvers.
    pub outside: Dns,
}

/// Whether a resolver was asked. Anybody can send a response.
#[must_use]
pub fn is_asked(dns: &Dns) -> bool {
    dns.queries.iter().any(|count| *count > 0)
}

/// Whether queries wait for their response.
#[must_use]
pub fn has_waiting(dns: &Dns) -> bool {
    let Dns {
        queries,
        responses,
        unanswered,
        untracked,
        ..
    } = dns;
    let over = responses.iter().sum::<u64>() + unanswered + untracked;
    queries.iter().sum::<u64>() != over
}

/// The times from a query to its response.
#[must_use]
pub fn durations(dns: &Dns) -> Histogram {
    let microseconds = dns.duration.saturating_mul(UNIT) / 1_000;
    Histogram::of_counts(&DURATION_BOUNDS, dns.durations, microseconds)
}

#[cfg(test)]
mod tests {
    use super::{Dns, QUERY_TYPES, RESPONSE_CODES, durations, is_asked};

    #[test]
    fn each_index_has_one_word() {
        let each = |words: &[(&str, usize)]| {
            let mut indexes: Vec<_> = words.iter().map(|(_, index)| *index).collect();
            indexes.sort_unstable();
            assert_eq!(indexes, (0..words.len()).collect::<Vec<_>>());
        };
        each(&QUERY_TYPES);
        each(&RESPONSE_CODES);
    }

    #[test]
    fn the_sum_of_durations_is_in_microseconds() {
        let mut dns = Dns::default();
        dns.durations[3] = 2;
        // Two responses after a millisecond each, in units of 1,024 ns.
        dns.duration = 2 * 1_000_000 / 1_024;
        let histogram = durations(&dns);
        assert_eq!((histogram.count(), histogram.buckets[3]), (2, (0.001, 2)));
        assert!((1_998..=2_000).contains(&histogram.sum_microseconds), "{histogram:?}");
    }

    #[test]
    fn whoever_sends_responses_to_nobody_is_not_asked() {
        let mut dns = Dns {
            unmatched: 1,
            ..Dns::default()
        };
        assert!(!is_asked(&dns));
        dns.queries[4] = 1;
        assert!(is_asked(&dns));
    }
}
