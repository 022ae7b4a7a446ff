//! The families of traffic between nodes.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    collectors::{
        labels::Reason,
        overlay::facts::{OverlayNetworkRow, OverlayRow, OverlayRows, PeerRow},
    },
    model::{counters::Directions, overlay::OuterCounts},
    page::{
        key::{Key, Word},
        labels::{Block, key_labels, label_sets},
        limits::{PEER, PEER_FACTS, SHOWN},
        rows::{Rows, schemas},
    },
};

key_labels! {
    /// A network's traffic to or from another node.
    pub Peer { network, peer = what }
    /// One direction of a network's traffic with another node.
    pub PeerDirection { network, peer = what, direction = detail }
    /// Encrypted traffic with another node.
    pub EncryptedPeer { peer = what }
    /// An overlay network.
    pub OverlayNetwork { network }
    /// A device that leads to other nodes.
    pub Underlay { interface = what }
}

label_sets! {
    /// More facts about another node.
    pub PeerInfo { peer, address, hostname, node_id }
}

schemas! {
    pub families of super::NAME;
    "Overlay networks" {
        /// Unencrypted traffic of a network with another node.
        CLEAR(it in Directions<OuterCounts>) by Peer, PEER {
            OVERLAY_RECEIVE_BYTES: Counter, "netmon_overlay_receive" in Bytes,
                it.receive.bytes,
                "Bytes from the other node through the network's tunnel, outer headers included, as the network card received them. A super-packet counts its headers once; an IP-fragmented packet counts its first fragment only. Encrypted packets are not in it.";
            OVERLAY_TRANSMIT_BYTES: Counter, "netmon_overlay_transmit" in Bytes,
                it.transmit.bytes,
                "Bytes to the other node through the network's tunnel, outer headers included, as handed to the network card. A super-packet counts its headers once; an IP-fragmented packet counts its first fragment only. Encrypted packets are not in it.";
            OVERLAY_RECEIVE_PACKETS: Counter, "netmon_overlay_receive_packets",
                it.receive.packets,
                "Packets from the other node through the network's tunnel, as they were on the wire. Encrypted packets are not in it.";
            OVERLAY_TRANSMIT_PACKETS: Counter, "netmon_overlay_transmit_packets",
                it.transmit.packets,
                "Packets to the other node through the network's tunnel, as they are on the wire. Encrypted packets are not in it.";
        }
        /// Packets of a network that should be encrypted.
        CLEARTEXT(it in u64) by PeerDirection, PEER {
            OVERLAY_CLEARTEXT_PACKETS: Counter, "netmon_overlay_cleartext_packets",
                *it,
                "Packets of an encrypted network that passed between nodes in clear text. It must stay 0.";
        }
        /// Encrypted traffic with another node.
        ENCRYPTED(it in Directions<OuterCounts>) by EncryptedPeer, PEER {
            OVERLAY_ESP_RECEIVE_BYTES: Counter, "netmon_overlay_esp_receive" in Bytes,
                it.receive.bytes,
                "Encrypted bytes (ESP) from a node that an encrypted network reaches, outer headers included. ESP hides which network a packet belongs to.";
            OVERLAY_ESP_TRANSMIT_BYTES: Counter, "netmon_overlay_esp_transmit" in Bytes,
                it.transmit.bytes,
                "Encrypted bytes (ESP) to a node that an encrypted network reaches, outer headers included. ESP hides which network a packet belongs to.";
            OVERLAY_ESP_RECEIVE_PACKETS: Counter, "netmon_overlay_esp_receive_packets",
                it.receive.packets,
                "Encrypted packets (ESP) from a node that an encrypted network reaches. ESP hides which network a packet belongs to.";
            OVERLAY_ESP_TRANSMIT_PACKETS: Counter, "netmon_overlay_esp_transmit_packets",
                it.transmit.packets,
                "Encrypted packets (ESP) to a node that an encrypted network reaches. ESP hides which network a packet belongs to.";
        }
        /// An overlay network.
        NETWORKS(it in OverlayNetworkRow) by OverlayNetwork, SHOWN {
            OVERLAY_MTU: Gauge, "netmon_overlay_mtu" in Bytes,
                it.mtu_bytes,
                "MTU of the network: that of its VXLAN device on this node. Where there are several, the smallest.";
            OVERLAY_OVERHEAD: Gauge, "netmon_overlay_overhead" in Bytes,
                it.overhead_bytes,
                "Bytes that the tunnel adds to each packet of the network: VXLAN and outer headers (50 over IPv4, 70 over IPv6), and encryption if the network has it. Together with the network's MTU it must fit into the underlay's.";
        }
        /// A device that leads to other nodes.
        UNDERLAY(it in u32) by Underlay, SHOWN {
            UNDERLAY_MTU: Gauge, "netmon_underlay_mtu" in Bytes,
                *it,
                "MTU of the node's device that leads to other nodes.";
        }
        /// Another node.
        PEERS(() in ()) by PeerInfo, PEER_FACTS {
            OVERLAY_PEER_INFO: Info, "netmon_overlay_peer",
                (),
                "Another node: its name here (peer), the address it sends from, and its hostname and id if this node's engine knows them.";
        }
    }
    "Networks and the node" {
        /// Errors of encryption.
        XFRM(it in u64) by Reason, SHOWN {
            NODE_XFRM_ERRORS: Counter, "netmon_node_xfrm_errors",
                *it,
                "Packets that the node dropped because of an IPsec error, by the kernel's name for it, since boot. Encrypted overlay networks use IPsec.";
        }
    }
}

/// The rows of a scrape.
pub(crate) fn rows(overlay: &OverlayRows) -> Vec<Rows> {
    let OverlayRows {
        is_counted,
        clear,
        encrypted,
        networks,
        underlay,
        peers,
        xfrm_errors,
    } = overlay;
    let strangers = clear.iter().filter(|row| row.is_stranger).map(|row| &row.peer);
    let strangers = strangers.chain(encrypted.iter().filter(|row| row.is_stranger).map(|row| &row.peer));
    let strangers: BTreeSet<&str> = strangers.map(|peer| &**peer).collect();
    let is_known = |key: &Key| !strangers.contains(&*key.what);

    let of_clear = |row: &OverlayRow| Key::default().on(&row.network).what(Arc::clone(&row.peer));
    let cleartext = clear.iter().filter(|row| row.must_be_encrypted).flat_map(|row| {
        [
            ("receive", row.counts.receive.packets),
            ("transmit", row.counts.transmit.packets),
        ]
        .map(|(direction, packets)| (of_clear(row).detail(direction), packets))
    });
    let of_peer = |peer: &Arc<str>| Key::default().what(Arc::clone(peer));
    let errors = xfrm_errors.iter().flat_map(|errors| errors.iter());
    let mut rows = vec![
        NETWORKS.rows(networks.iter().map(|row| (Key::default().on(&row.network), row))),
        UNDERLAY.rows(
            underlay
                .iter()
                .map(|row| (Key::default().what(Word::told(&row.interface)), row.mtu_bytes)),
        ),
        PEERS
            .labelled_of(peers.iter().map(|row| (of_peer(&row.peer), peer_info(row), ())))
            .exempt(is_known),
        XFRM.rows(errors.map(|(reason, count)| (Key::default().what(Word::told(reason)), *count))),
    ];
    if *is_counted {
        rows.extend([
            CLEAR
                .rows(clear.iter().map(|row| (of_clear(row), row.counts)))
                .exempt(is_known),
            CLEARTEXT.rows(cleartext).exempt(is_known),
            ENCRYPTED
                .rows(encrypted.iter().map(|row| (of_peer(&row.peer), row.counts)))
                .exempt(is_known),
        ]);
    }
    rows
}

fn peer_info(row: &PeerRow) -> Block<PeerInfo<'static>> {
    let PeerRow {
        peer,
        address,
        hostname,
        node_id,
    } = row;
    PeerInfo {
        peer,
        address: &address.to_string(),
        hostname,
        node_id,
    }
    .block()
}
