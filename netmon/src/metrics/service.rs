//! Sums over the containers of a service.

use std::fmt;

use super::{
    catalog,
    family::Page,
    labels::{Rows, Service},
};
use crate::model::snapshot::ServiceRow;

/// Writes the sums of the services.
pub(super) fn encode(page: &mut Page<'_>, services: &[ServiceRow]) -> fmt::Result {
    let rows = Rows::new(services.iter().map(|row| {
        let ServiceRow {
            service,
            stack,
            network,
            totals,
        } = row;
        (
            Service {
                service,
                stack,
                network,
            }
            .block(),
            totals,
        )
    }));
    catalog::SERVICE_RECEIVE_BYTES.encode(page, rows.each(|totals| totals.receive.bytes))?;
    catalog::SERVICE_TRANSMIT_BYTES.encode(page, rows.each(|totals| totals.transmit.bytes))?;
    catalog::SERVICE_RECEIVE_PACKETS.encode(page, rows.each(|totals| totals.receive.packets))?;
    catalog::SERVICE_TRANSMIT_PACKETS.encode(page, rows.each(|totals| totals.transmit.packets))
}
