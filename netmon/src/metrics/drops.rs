//! Packets that the kernel dropped.

use std::fmt;

use super::{
    catalog,
    family::Page,
    labels::{ContainerDrop, NetworkDrop, Rows, UnattributedDrop},
};
use crate::model::snapshot::{DropRow, DropRows, UnattributedRow};

/// Writes the drops.
pub(super) fn encode(page: &mut Page<'_>, drops: &DropRows) -> fmt::Result {
    let DropRows {
        containers,
        overlays,
        load_balancers,
        node,
        unattributed,
    } = drops;
    let rows = |rows: &[DropRow]| {
        Rows::new(rows.iter().map(|row| {
            let DropRow {
                network,
                reason,
                packets,
            } = row;
            (NetworkDrop { network, reason }.block(), *packets)
        }))
    };
    let containers = Rows::new(containers.iter().map(|(identity, row)| {
        let DropRow {
            network,
            reason,
            packets,
        } = row;
        let labels = ContainerDrop {
            container: &identity.container,
            service: &identity.service,
            stack: &identity.stack,
            network,
            reason,
        };
        (labels.block(), *packets)
    }));
    catalog::CONTAINER_PACKET_DROPS.encode(page, containers.each(|packets| *packets))?;
    catalog::OVERLAY_PACKET_DROPS.encode(page, rows(overlays).each(|packets| *packets))?;
    catalog::LOAD_BALANCER_PACKET_DROPS.encode(page, rows(load_balancers).each(|packets| *packets))?;
    catalog::NODE_PACKET_DROPS.encode(page, rows(node).each(|packets| *packets))?;
    let unattributed = Rows::new(unattributed.iter().map(|row| {
        let UnattributedRow { reason, cause, packets } = row;
        let cause = cause.as_str();
        (UnattributedDrop { reason, cause }.block(), *packets)
    }));
    catalog::UNATTRIBUTED_DROPS.encode(page, unattributed.each(|packets| *packets))
}
