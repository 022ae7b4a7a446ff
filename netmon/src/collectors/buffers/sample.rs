//! Queues and tables for the golden page.

use std::sync::Arc;

use super::{
    facts::{BufferRows, QueueRow},
    families,
};
use crate::{
    collectors::sample::web,
    model::buffers::{Conntrack, ContainerBuffers, ExemptNeighbours, Neighbours, NodeBuffers, Queue, Softnet},
    page::rows::Rows,
};

/// Values in every queue and table.
pub(super) fn rows() -> Vec<Rows> {
    let queue = |kind: &str, drops| Queue {
        kind: kind.to_owned(),
        drops,
        overlimits: drops + 1,
        backlog_bytes: drops + 2,
    };
    families::rows(&BufferRows {
        containers: vec![(
            web(),
            ContainerBuffers {
                conntrack_entries: Some(7),
                listen_backlog_limit: Some(4096),
            },
        )],
        queues: vec![QueueRow {
            identity: web(),
            network: "shop_front".into(),
            interface: "eth0".to_owned(),
            queue: queue("tbf", 10),
        }],
        node: Some(Arc::new(NodeBuffers {
            softnet: Softnet {
                processed: 1000,
                dropped: 1,
                times_squeezed: 2,
            },
            queues: vec![("eth0".to_owned(), queue("fq_codel", 20))],
            conntrack: Some(Conntrack {
                entries: 100,
                limit: 262_144,
                drops: 3,
                early_drops: 4,
                insert_failures: 5,
            }),
            neighbours: vec![Neighbours {
                family: "ipv4",
                entries: 12,
                thresholds: [128, 512, 1024],
                full: 6,
            }],
            tcp_memory_bytes: 4096,
            udp_memory_bytes: 8192,
            sysctls: vec![("net.core.rmem_max", 212_992)],
        })),
        exempt_neighbours: ExemptNeighbours { ipv4: 4, ipv6: 0 },
    })
}
