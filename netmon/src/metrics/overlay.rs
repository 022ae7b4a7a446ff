//! Traffic between nodes, by overlay network and remote node.

use std::fmt;

use super::{
    catalog,
    family::Page,
    labels::{EncryptedPeer, OverlayNetwork, Peer, PeerDirection, PeerInfo, Reason, Rows, Underlay},
};
use crate::model::{
    overlay::XfrmErrors,
    snapshot::{EncryptedRow, OverlayNetworkRow, OverlayRow, OverlayRows, PeerRow, UnderlayRow},
};

/// Writes the nodes and networks, and the traffic between nodes.
pub(super) fn encode(page: &mut Page<'_>, overlay: &OverlayRows) -> fmt::Result {
    let OverlayRows {
        clear,
        encrypted,
        networks,
        underlay,
        peers,
        xfrm_errors,
    } = overlay;
    encode_sizes(page, networks, underlay)?;
    encode_peers(page, peers)?;
    if let Some(errors) = xfrm_errors {
        encode_xfrm_errors(page, errors)?;
    }
    encode_counts(page, clear, encrypted)
}

fn encode_sizes(page: &mut Page<'_>, networks: &[OverlayNetworkRow], underlay: &[UnderlayRow]) -> fmt::Result {
    let networks = Rows::new(networks.iter().map(|row| {
        let network = &*row.network;
        (OverlayNetwork { network }.block(), row)
    }));
    catalog::OVERLAY_MTU.encode(page, networks.each(|row| u64::from(row.mtu_bytes)))?;
    catalog::OVERLAY_OVERHEAD.encode(page, networks.each(|row| u64::from(row.overhead_bytes)))?;
    let underlay = Rows::new(underlay.iter().map(|row| {
        let interface = row.interface.as_str();
        (Underlay { interface }.block(), row)
    }));
    catalog::UNDERLAY_MTU.encode(page, underlay.each(|row| u64::from(row.mtu_bytes)))
}

fn encode_peers(page: &mut Page<'_>, peers: &[PeerRow]) -> fmt::Result {
    let peers = Rows::new(peers.iter().map(|row| {
        let PeerRow {
            peer,
            address,
            hostname,
            node_id,
        } = row;
        let labels = PeerInfo {
            peer,
            address: &address.to_string(),
            hostname,
            node_id,
        };
        (labels.block(), ())
    }));
    catalog::OVERLAY_PEER_INFO.encode(page, peers.each(|()| ()))
}

fn encode_xfrm_errors(page: &mut Page<'_>, errors: &XfrmErrors) -> fmt::Result {
    let errors = Rows::new(errors.iter().map(|(reason, count)| (Reason { reason }.block(), *count)));
    catalog::NODE_XFRM_ERRORS.encode(page, errors.each(|count| *count))
}

fn encode_counts(page: &mut Page<'_>, clear: &[OverlayRow], encrypted: &[EncryptedRow]) -> fmt::Result {
    let rows = Rows::new(clear.iter().map(|row| {
        let OverlayRow { network, peer, .. } = row;
        (Peer { network, peer }.block(), row.counts)
    }));
    catalog::OVERLAY_RECEIVE_BYTES.encode(page, rows.each(|counts| counts.receive.bytes))?;
    catalog::OVERLAY_TRANSMIT_BYTES.encode(page, rows.each(|counts| counts.transmit.bytes))?;
    catalog::OVERLAY_RECEIVE_PACKETS.encode(page, rows.each(|counts| counts.receive.packets))?;
    catalog::OVERLAY_TRANSMIT_PACKETS.encode(page, rows.each(|counts| counts.transmit.packets))?;

    let exposed = clear.iter().filter(|row| row.must_be_encrypted);
    let exposed = Rows::new(exposed.flat_map(|row| {
        let OverlayRow {
            network, peer, counts, ..
        } = row;
        [
            ("receive", counts.receive.packets),
            ("transmit", counts.transmit.packets),
        ]
        .map(|(direction, packets)| {
            let labels = PeerDirection {
                network,
                peer,
                direction,
            };
            (labels.block(), packets)
        })
    }));
    catalog::OVERLAY_CLEARTEXT_PACKETS.encode(page, exposed.each(|packets| *packets))?;

    let rows = Rows::new(encrypted.iter().map(|row| {
        let EncryptedRow { peer, counts, .. } = row;
        (EncryptedPeer { peer }.block(), counts)
    }));
    catalog::OVERLAY_ESP_RECEIVE_BYTES.encode(page, rows.each(|counts| counts.receive.bytes))?;
    catalog::OVERLAY_ESP_TRANSMIT_BYTES.encode(page, rows.each(|counts| counts.transmit.bytes))?;
    catalog::OVERLAY_ESP_RECEIVE_PACKETS.encode(page, rows.each(|counts| counts.receive.packets))?;
    catalog::OVERLAY_ESP_TRANSMIT_PACKETS.encode(page, rows.each(|counts| counts.transmit.packets))
}
