//! What containers and the node lost without a packet that tells of it.

use std::fmt;

use super::{
    catalog,
    family::Page,
    labels::{Container, Rows},
};
use crate::model::snapshot::SocketRows;

/// Writes the node's, and the containers' as long as there is room for `room` series. Says whether some were left out.
pub(super) fn encode(page: &mut Page<'_>, sockets: &SocketRows, room: Option<usize>) -> Result<bool, fmt::Error> {
    let SocketRows { containers, node } = sockets;
    let mut rows = Rows::new(containers.iter().map(|(identity, losses)| {
        let labels = Container {
            container: &identity.container,
            service: &identity.service,
            stack: &identity.stack,
        };
        (labels.block(), losses)
    }));
    let whole = room.is_none_or(|room| rows.keep_groups(room / catalog::LOSSES.len(), |_, _| false));
    for (of_container, of_node, figure) in catalog::LOSSES {
        of_container.encode(page, rows.each(|losses| figure(losses)))?;
        if let Some(losses) = node {
            of_node.encode_value(page, figure(losses))?;
        }
    }
    Ok(!whole)
}
