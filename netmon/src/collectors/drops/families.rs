//! The families of packets that the kernel dropped.

use std::sync::Arc;

use crate::{
    collectors::drops::facts::{DropRow, DropRows},
    page::{
        key::Key,
        labels::key_labels,
        limits::{CAUSED, SHOWN},
        rows::{Rows, schemas},
    },
};

key_labels! {
    /// Dropped packets of a container.
    pub ContainerDrop { container, service, stack, network, reason = what }
    /// Dropped packets of a network.
    pub NetworkDrop { network, reason = what }
    /// Dropped packets without a known owner.
    pub UnattributedDrop { reason = what, cause = detail }
}

schemas! {
    pub families of super::NAME;
    "Drops" {
        /// Of containers.
        CONTAINERS(it in u64) by ContainerDrop, CAUSED {
            CONTAINER_PACKET_DROPS: Counter, "netmon_container_packet_drops",
                *it,
                "Packets that the kernel dropped in the container's namespace, by the kernel's drop reason. A super-packet counts as its segments. The network is empty for loopback and for devices of no Docker network. docs/design/drops.md lists the reasons that are no loss and are left out.";
        }
        /// Of overlay networks.
        OVERLAYS(it in u64) by NetworkDrop, SHOWN {
            OVERLAY_PACKET_DROPS: Counter, "netmon_overlay_packet_drops",
                *it,
                "Packets that the kernel dropped in the overlay network's own namespace on this node, between the containers' interfaces and the tunnels to other nodes.";
        }
        /// Of load balancers.
        LOAD_BALANCERS(it in u64) by NetworkDrop, SHOWN {
            LOAD_BALANCER_PACKET_DROPS: Counter, "netmon_load_balancer_packet_drops",
                *it,
                "Packets that the kernel dropped in the network's load balancer on this node. The routing mesh (ingress) is one of them.";
        }
        /// Of the node.
        NODE(it in u64) by NetworkDrop, SHOWN {
            NODE_PACKET_DROPS: Counter, "netmon_node_packet_drops",
                *it,
                "Packets that the kernel dropped in the node's own namespace. The network is the one whose bridge they passed; it is empty for the node's other devices.";
        }
        /// Of nobody known.
        UNATTRIBUTED(it in u64) by UnattributedDrop, SHOWN {
            UNATTRIBUTED_DROPS: Counter, "netmon_unattributed_drops",
                *it,
                "Dropped packets that belong to no known container or network, by cause. no_namespace: the packet named neither device nor socket. foreign_namespace: the namespace is not the engine's. unnamed: the engine did not name the container. no_place: there is no reason, and the kernel hides the function. map_full: the kernel map was full. The reasons of the kernel's subsystems are then one, (other).";
        }
    }
}

/// The rows of a scrape.
pub(crate) fn rows(drops: &DropRows) -> Vec<Rows> {
    let DropRows {
        containers,
        overlays,
        load_balancers,
        node,
        unattributed,
    } = drops;
    let row = |row: &DropRow| {
        let key = Key::default().on(&row.network).what(Arc::clone(&row.reason));
        (key, row.packets)
    };
    vec![
        CONTAINERS.rows(containers.iter().map(|(identity, row)| {
            let key = Key::of(identity).on(&row.network).what(Arc::clone(&row.reason));
            (key, row.packets)
        })),
        OVERLAYS.rows(overlays.iter().map(row)),
        LOAD_BALANCERS.rows(load_balancers.iter().map(row)),
        NODE.rows(node.iter().map(row)),
        UNATTRIBUTED.rows(unattributed.iter().map(|row| {
            let key = Key::default().what(Arc::clone(&row.reason)).detail(row.cause.as_str());
            (key, row.packets)
        })),
    ]
}
