//! The families of DNS.

use netmon_common::dns::Dns;

use super::facts::DnsRow;
use crate::{
    model::dns::{QUERY_TYPES, RESPONSE_CODES, durations},
    page::{
        key::Key,
        labels::key_labels,
        limits::{CONTAINER, CONTAINER_TRAFFIC},
        rows::{Rows, schemas},
    },
};

key_labels! {
    /// A container's resolver.
    pub ContainerResolver { container, service, stack, resolver = what }
    /// A container's queries of a type.
    pub ContainerResolverType { container, service, stack, resolver = what, type = detail }
    /// The responses with a code.
    pub ContainerResolverCode { container, service, stack, resolver = what, code = detail }
}

schemas! {
    pub families of super::NAME;
    "DNS" {
        /// A container's queries.
        QUERIES(it in u64) by ContainerResolverType, CONTAINER {
            CONTAINER_DNS_QUERIES: Counter, "netmon_container_dns_queries",
                *it,
                "DNS queries that the container sent, by the type of the question. Queries sent again while they wait are not among them. The resolver is docker, which is the engine's own at 127.0.0.11, or outside, which is any other at port 53. What Docker's resolver does not know, it asks outside, mostly from the container's namespace, so do not add the two. A resolver appears with its first query.";
        }
        /// A container's responses.
        RESPONSES(it in u64) by ContainerResolverCode, CONTAINER {
            CONTAINER_DNS_RESPONSES: Counter, "netmon_container_dns_responses",
                *it,
                "DNS responses to the container's queries, by code. nxdomain: the name does not exist, which is normal where names are searched for in several domains. servfail: the resolver could not find out. refused: it does not answer this client.";
        }
        /// What else a container's resolvers did.
        RESOLVERS(it in Dns) by ContainerResolver, CONTAINER {
            CONTAINER_DNS_UNANSWERED: Counter, "netmon_container_dns_unanswered",
                it.unanswered,
                "DNS queries of the container without a response within five seconds. docker and outside: the resolver outside does not answer. docker alone: the engine does not, or a resolver on the node that it asks.";
            CONTAINER_DNS_RETRIES: Counter, "netmon_container_dns_retries",
                it.retries,
                "DNS queries that the container sent again to the same resolver, with the same port and id, while the first one waited.";
            CONTAINER_DNS_TRUNCATED: Counter, "netmon_container_dns_truncated",
                it.truncated,
                "DNS responses that were cut to fit into a datagram. Clients then ask again over TCP.";
            CONTAINER_DNS_UNTRACKED: Counter, "netmon_container_dns_untracked",
                it.untracked,
                "DNS queries of the container whose response was not waited for any longer, because too many others were waiting. Queries are the sum of responses, unanswered and untracked ones, and of those that still wait.";
            CONTAINER_DNS_UNMATCHED: Counter, "netmon_container_dns_unmatched",
                it.unmatched,
                "DNS responses over UDP to no query that still waited: late or doubled ones, those to queries that were not tracked, and forged ones.";
        }
        /// How fast they answered. A histogram has eighteen series, so it appears only if there is an observation.
        DURATIONS(it in Dns) by ContainerResolver, CONTAINER_TRAFFIC {
            CONTAINER_DNS_DURATION: Histogram, "netmon_container_dns_duration" in Seconds,
                Some(durations(it)),
                "Time from the container's DNS query to its response. If the query was sent again, the time begins with the first one.";
        }
    }
}

/// The rows of a scrape.
pub(crate) fn rows(dns: &[DnsRow]) -> Vec<Rows> {
    let queries = dns.iter().flat_map(|row| {
        let types = QUERY_TYPES.into_iter();
        types.map(|(word, index)| (key(row).detail(word), row.dns.queries[index]))
    });
    let responses = dns.iter().flat_map(|row| {
        let codes = RESPONSE_CODES.into_iter();
        codes.map(|(word, index)| (key(row).detail(word), row.dns.responses[index]))
    });
    let answered = dns
        .iter()
        .filter(|row| row.dns.durations.iter().any(|count| *count > 0));
    vec![
        QUERIES.rows(queries),
        RESPONSES.rows(responses),
        RESOLVERS.rows(dns.iter().map(|row| (key(row), &row.dns))),
        DURATIONS.rows(answered.map(|row| (key(row), &row.dns))),
    ]
}

fn key(row: &DnsRow) -> Key {
    Key::of(&row.identity).what(row.resolver)
}
