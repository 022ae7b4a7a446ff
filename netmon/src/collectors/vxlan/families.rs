//! The families of the VXLAN devices of overlay networks.

use crate::{
    collectors::vxlan::facts::VxlanRow,
    model::counters::{Directions, Totals},
    page::{
        key::{Key, Word},
        labels::key_labels,
        limits::SHOWN,
        rows::{Rows, schemas},
    },
};

key_labels! {
    /// The VXLAN device of an overlay network.
    pub Vxlan { network, interface = what }
}

schemas! {
    pub families of super::NAME;
    "Overlay networks" {
        /// The VXLAN device of an overlay network.
        DEVICES(it in Directions<Totals>) by Vxlan, SHOWN {
            VXLAN_RECEIVE_BYTES: Counter, "netmon_vxlan_receive" in Bytes,
                it.receive.bytes,
                "Bytes of the network's packets from other nodes, without outer headers, as this node's VXLAN device counts them.";
            VXLAN_TRANSMIT_BYTES: Counter, "netmon_vxlan_transmit" in Bytes,
                it.transmit.bytes,
                "Bytes of the network's packets to other nodes, without outer headers, as this node's VXLAN device counts them.";
            VXLAN_RECEIVE_PACKETS: Counter, "netmon_vxlan_receive_packets",
                it.receive.packets,
                "The network's packets from other nodes, as this node's VXLAN device counts them.";
            VXLAN_TRANSMIT_PACKETS: Counter, "netmon_vxlan_transmit_packets",
                it.transmit.packets,
                "The network's packets to other nodes, as this node's VXLAN device counts them.";
            VXLAN_RECEIVE_SEGMENTS: Counter, "netmon_vxlan_receive_segments",
                it.receive.segments,
                "The network's packets from other nodes, as they were on the wire. A super-packet counts as its segments.";
            VXLAN_TRANSMIT_SEGMENTS: Counter, "netmon_vxlan_transmit_segments",
                it.transmit.segments,
                "The network's packets to other nodes, as they are on the wire. A super-packet counts as its segments.";
            VXLAN_RECEIVE_ERRORS: Counter, "netmon_vxlan_receive_errors",
                it.receive.errors,
                "Receive errors that this node's VXLAN device counted.";
            VXLAN_TRANSMIT_ERRORS: Counter, "netmon_vxlan_transmit_errors",
                it.transmit.errors,
                "Transmit errors that this node's VXLAN device counted.";
            VXLAN_RECEIVE_PACKETS_DROPPED: Counter, "netmon_vxlan_receive_packets_dropped",
                it.receive.dropped,
                "Packets from other nodes that this node's VXLAN device dropped.";
            VXLAN_TRANSMIT_PACKETS_DROPPED: Counter, "netmon_vxlan_transmit_packets_dropped",
                it.transmit.dropped,
                "Packets to other nodes that this node's VXLAN device dropped. Among them are those to addresses without a forwarding entry.";
        }
    }
}

/// The rows of a scrape.
pub(crate) fn rows(devices: &[VxlanRow]) -> Vec<Rows> {
    vec![DEVICES.rows(devices.iter().map(|row| {
        let key = Key::default().on(&row.network).what(Word::told(&row.device.name));
        (key, &row.totals)
    }))]
}
