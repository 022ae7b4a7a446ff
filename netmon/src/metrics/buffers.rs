//! Queues and tables, and their limits.

use std::{fmt, sync::Arc};

use super::{
    catalog,
    family::Page,
    labels::{Container, Family, InterfaceQueue, NodeQueue, Rows, Sysctl, Threshold},
};
use crate::model::{
    buffers::{Conntrack, ContainerBuffers, Neighbours, NodeBuffers, Queue, Softnet},
    inventory::Identity,
    snapshot::{BufferRows, QueueRow},
};

/// The names of the kernel's three thresholds.
const THRESHOLDS: [&str; 3] = ["gc_thresh1", "gc_thresh2", "gc_thresh3"];

/// Writes the families of the node and of the containers.
pub(super) fn encode(page: &mut Page<'_>, buffers: &BufferRows) -> fmt::Result {
    encode_node(page, buffers)?;
    encode_containers(page, buffers)
}

fn encode_node(page: &mut Page<'_>, buffers: &BufferRows) -> fmt::Result {
    let Some(node) = &buffers.node else { return Ok(()) };
    let NodeBuffers {
        softnet,
        queues,
        conntrack,
        neighbours,
        tcp_memory_bytes,
        udp_memory_bytes,
        sysctls,
    } = &**node;
    let Softnet {
        processed,
        dropped,
        times_squeezed,
    } = softnet;
    catalog::NODE_SOFTNET_PROCESSED.encode_value(page, *processed)?;
    catalog::NODE_SOFTNET_DROPPED.encode_value(page, *dropped)?;
    catalog::NODE_SOFTNET_TIMES_SQUEEZED.encode_value(page, *times_squeezed)?;
    encode_queues(page, queues)?;
    if let Some(conntrack) = conntrack {
        encode_conntrack(page, conntrack)?;
    }
    encode_neighbours(page, neighbours)?;
    catalog::NODE_TCP_MEMORY.encode_value(page, *tcp_memory_bytes)?;
    catalog::NODE_UDP_MEMORY.encode_value(page, *udp_memory_bytes)?;
    let sysctls = Rows::new(sysctls.iter().map(|(name, value)| (Sysctl { name }.block(), *value)));
    catalog::NODE_SYSCTL.encode(page, sysctls.each(|value| *value))
}

fn encode_queues(page: &mut Page<'_>, queues: &[(String, Queue)]) -> fmt::Result {
    let queues = Rows::new(queues.iter().map(|(interface, queue)| {
        let kind = &queue.kind;
        (NodeQueue { interface, kind }.block(), queue)
    }));
    catalog::NODE_QDISC_DROPS.encode(page, queues.each(|queue| u64::from(queue.drops)))?;
    catalog::NODE_QDISC_OVERLIMITS.encode(page, queues.each(|queue| u64::from(queue.overlimits)))?;
    catalog::NODE_QDISC_BACKLOG.encode(page, queues.each(|queue| u64::from(queue.backlog_bytes)))
}

fn encode_conntrack(page: &mut Page<'_>, conntrack: &Conntrack) -> fmt::Result {
    let Conntrack {
        entries,
        limit,
        drops,
        early_drops,
        insert_failures,
    } = conntrack;
    catalog::NODE_CONNTRACK_ENTRIES.encode_value(page, *entries)?;
    catalog::NODE_CONNTRACK_LIMIT.encode_value(page, *limit)?;
    catalog::NODE_CONNTRACK_DROPS.encode_value(page, *drops)?;
    catalog::NODE_CONNTRACK_EARLY_DROPS.encode_value(page, *early_drops)?;
    catalog::NODE_CONNTRACK_INSERT_FAILURES.encode_value(page, *insert_failures)
}

fn encode_neighbours(page: &mut Page<'_>, neighbours: &[Neighbours]) -> fmt::Result {
    let tables = Rows::new(neighbours.iter().map(|table| {
        let family = table.family;
        (Family { family }.block(), table)
    }));
    catalog::NODE_NEIGHBOUR_ENTRIES.encode(page, tables.each(|table| table.entries))?;
    catalog::NODE_NEIGHBOUR_TABLE_FULL.encode(page, tables.each(|table| table.full))?;
    let limits = neighbours.iter().flat_map(|table| {
        let family = table.family;
        let limit = move |(threshold, limit)| (Threshold { family, threshold }.block(), limit);
        THRESHOLDS.into_iter().zip(table.thresholds).map(limit)
    });
    let limits = Rows::new(limits);
    catalog::NODE_NEIGHBOUR_LIMIT.encode(page, limits.each(|limit| *limit))
}

fn encode_containers(page: &mut Page<'_>, buffers: &BufferRows) -> fmt::Result {
    let block = |identity: &Arc<Identity>| {
        Container {
            container: &identity.container,
            service: &identity.service,
            stack: &identity.stack,
        }
        .block()
    };
    let rows = buffers
        .containers
        .iter()
        .map(|(identity, buffers)| (block(identity), buffers));
    let rows = Rows::new(rows);
    let of = |figure: fn(&ContainerBuffers) -> Option<u64>| {
        let rows = rows.each(move |buffers| figure(buffers));
        rows.filter_map(|(labels, figure)| Some((labels, figure?)))
            .collect::<Vec<_>>()
    };
    catalog::CONTAINER_CONNTRACK_ENTRIES.encode(page, of(|it| it.conntrack_entries))?;
    catalog::CONTAINER_LISTEN_BACKLOG_LIMIT.encode(page, of(|it| it.listen_backlog_limit))?;

    let queues = Rows::new(buffers.queues.iter().map(|row| {
        let QueueRow {
            identity,
            network,
            interface,
            queue,
        } = row;
        let labels = InterfaceQueue {
            container: &identity.container,
            service: &identity.service,
            stack: &identity.stack,
            network,
            interface,
            kind: &queue.kind,
        };
        (labels.block(), queue)
    }));
    catalog::CONTAINER_QDISC_DROPS.encode(page, queues.each(|queue| u64::from(queue.drops)))
}
