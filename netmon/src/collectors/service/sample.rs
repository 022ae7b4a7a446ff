//! A service for the golden page.

use std::sync::Arc;

use super::{
    facts::{EventsRow, ServiceRow},
    families,
};
use crate::{
    collectors::sample::totals,
    model::{
        events::EventSums,
        inventory::Identity,
        tcp::{Made, Segments},
    },
    page::rows::Rows,
};

/// One service.
pub(super) fn rows() -> Vec<Rows> {
    let identity = Arc::new(Identity {
        container: String::new(),
        service: "shop_web".to_owned(),
        stack: "shop".to_owned(),
    });
    let traffic = ServiceRow {
        identity: Arc::clone(&identity),
        network: "shop_front".into(),
        counts: totals(4000),
    };
    let events = |network: &str, sent, failed: [u64; 2]| {
        let mut made = Made {
            connects: sent / 50,
            accepts: sent / 25,
            ..Made::default()
        };
        made.failures[..2].copy_from_slice(&failed);
        EventsRow {
            identity: Arc::clone(&identity),
            network: network.into(),
            counts: EventSums {
                drops: [("NETFILTER_DROP".into(), sent / 100)].into(),
                segments: Some(Segments {
                    sent,
                    retransmitted: sent / 40,
                    ..Segments::default()
                }),
                made: Some(made),
            },
        }
    };
    families::rows(
        &[traffic],
        &[events("shop_front", 2000, [3, 5]), events("", 800, [0, 1])],
    )
}
