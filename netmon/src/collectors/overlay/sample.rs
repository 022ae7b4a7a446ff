//! Traffic between nodes for the golden page.

use std::sync::Arc;

use super::{
    facts::{EncryptedRow, OverlayNetworkRow, OverlayRow, OverlayRows, PeerRow, UnderlayRow},
    families,
};
use crate::{
    model::{counters::Directions, overlay::OuterCounts},
    page::rows::Rows,
};

/// An unencrypted network, and one with unencrypted packets that should be encrypted.
pub(super) fn rows() -> Vec<Rows> {
    let counts = |packets: u64| Directions {
        receive: OuterCounts {
            packets,
            bytes: packets * 150,
        },
        transmit: OuterCounts {
            packets: packets / 2,
            bytes: packets * 75,
        },
    };
    let row = |network: &str, peer: &str, must_be_encrypted, packets| OverlayRow {
        network: network.into(),
        peer: peer.into(),
        must_be_encrypted,
        is_stranger: false,
        counts: counts(packets),
    };
    families::rows(&OverlayRows {
        is_counted: true,
        clear: vec![
            row("shop_front", "node-2", false, 400),
            row("shop_secret", "192.0.2.13", true, 2),
        ],
        encrypted: vec![EncryptedRow {
            peer: "192.0.2.13".into(),
            is_stranger: false,
            counts: counts(800),
        }],
        networks: [("shop_front", 1450, 50), ("shop_secret", 1424, 76)]
            .map(|(network, mtu_bytes, overhead_bytes)| OverlayNetworkRow {
                network: network.into(),
                mtu_bytes,
                overhead_bytes,
            })
            .to_vec(),
        underlay: vec![UnderlayRow {
            interface: "ens3".to_owned(),
            mtu_bytes: 1500,
        }],
        peers: [
            ("node-2", [192, 0, 2, 12], "node-2", "zaamjexqiv28iqqixxvhegt85"),
            ("192.0.2.13", [192, 0, 2, 13], "", ""),
        ]
        .map(|(peer, address, hostname, node_id)| PeerRow {
            peer: peer.into(),
            address: address.into(),
            hostname: hostname.into(),
            node_id: node_id.into(),
        })
        .to_vec(),
        xfrm_errors: Some(Arc::new(
            [("XfrmInNoStates", 0), ("XfrmOutNoStates", 3)]
                .map(|(reason, count)| (reason.into(), count))
                .into(),
        )),
    })
}
