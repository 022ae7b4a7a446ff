//! Queries for the golden page.

use netmon_common::dns::Dns;

use super::{
    facts::{DnsRow, RESOLVERS},
    families,
};
use crate::{collectors::sample::web, page::rows::Rows};

/// A container that asked both resolvers. The one outside did not answer.
pub(super) fn rows() -> Vec<Rows> {
    let mut docker = Dns {
        queries: [20, 10, 2, 1, 0],
        responses: [25, 5, 1, 0, 0],
        unanswered: 1,
        retries: 3,
        truncated: 1,
        untracked: 1,
        unmatched: 2,
        ..Dns::default()
    };
    docker.durations[1] = 30;
    docker.durations[12] = 1;
    docker.duration = 1_000_000;
    let outside = Dns {
        queries: [1, 0, 0, 0, 0],
        unanswered: 1,
        ..Dns::default()
    };
    let dns = RESOLVERS.into_iter().zip([docker, outside]);
    let rows: Vec<_> = dns
        .map(|(resolver, dns)| DnsRow {
            identity: web(),
            resolver,
            dns,
        })
        .collect();
    families::rows(&rows)
}
