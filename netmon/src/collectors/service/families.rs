//! The families of services.

use std::sync::Arc;

use crate::{
    collectors::service::facts::ServiceRow,
    model::{
        counters::{Directions, Totals},
        inventory::Identity,
    },
    page::{
        key::Key,
        labels::key_labels,
        limits::SERVICE,
        rows::{Rows, schemas},
    },
};

key_labels! {
    /// A service's traffic on a network.
    pub Service { service, stack, network }
}

schemas! {
    pub families of super::NAME;
    "Services" {
        /// A service on a network.
        SERVICES(it in Directions<Totals>) by Service, SERVICE {
            SERVICE_RECEIVE_BYTES: Counter, "netmon_service_network_receive" in Bytes,
                it.receive.bytes,
                "Bytes that the service's containers on this node received from the network since netmon started. Containers that have ended are included.";
            SERVICE_TRANSMIT_BYTES: Counter, "netmon_service_network_transmit" in Bytes,
                it.transmit.bytes,
                "Bytes that the service's containers on this node sent to the network since netmon started. Containers that have ended are included.";
            SERVICE_RECEIVE_PACKETS: Counter, "netmon_service_network_receive_packets",
                it.receive.packets,
                "Packets that the service's containers on this node received from the network since netmon started. Containers that have ended are included.";
            SERVICE_TRANSMIT_PACKETS: Counter, "netmon_service_network_transmit_packets",
                it.transmit.packets,
                "Packets that the service's containers on this node sent to the network since netmon started. Containers that have ended are included.";
        }
    }
}

/// The rows of a scrape.
pub(crate) fn rows(services: &[ServiceRow]) -> Vec<Rows> {
    vec![SERVICES.rows(services.iter().map(|row| {
        let identity = Identity {
            container: String::new(),
            service: row.service.clone(),
            stack: row.stack.clone(),
        };
        (Key::of(&Arc::new(identity)).on(&row.network), &row.totals)
    }))]
}
