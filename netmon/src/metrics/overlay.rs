//! What passes between nodes, by overlay network and remote node.

use std::fmt;

use super::{
    catalog,
    family::Page,
    labels::{EncryptedPeer, Peer, PeerDirection, Rows},
};
use crate::model::snapshot::{EncryptedRow, OverlayRow, OverlayRows};

/// Writes what the programs counted.
pub(super) fn encode(page: &mut Page<'_>, overlay: &OverlayRows) -> fmt::Result {
    let OverlayRows { clear, encrypted } = overlay;
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
        let EncryptedRow { peer, counts } = row;
        (EncryptedPeer { peer }.block(), counts)
    }));
    catalog::OVERLAY_ESP_RECEIVE_BYTES.encode(page, rows.each(|counts| counts.receive.bytes))?;
    catalog::OVERLAY_ESP_TRANSMIT_BYTES.encode(page, rows.each(|counts| counts.transmit.bytes))?;
    catalog::OVERLAY_ESP_RECEIVE_PACKETS.encode(page, rows.each(|counts| counts.receive.packets))?;
    catalog::OVERLAY_ESP_TRANSMIT_PACKETS.encode(page, rows.each(|counts| counts.transmit.packets))
}
