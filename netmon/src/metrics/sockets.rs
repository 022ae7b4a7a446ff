//! Losses of containers and the node that no tracepoint reports per packet.

use std::fmt;

use super::{
    catalog,
    family::Page,
    labels::{Container, Rows},
};
use crate::model::snapshot::SocketRows;

/// Writes the losses of the node and of the containers.
pub(super) fn encode(page: &mut Page<'_>, sockets: &SocketRows) -> fmt::Result {
    let SocketRows { containers, node } = sockets;
    let rows = Rows::new(containers.iter().map(|(identity, losses)| {
        let labels = Container {
            container: &identity.container,
            service: &identity.service,
            stack: &identity.stack,
        };
        (labels.block(), losses)
    }));
    for (of_container, of_node, figure) in catalog::LOSSES {
        of_container.encode(page, rows.each(|losses| figure(losses)))?;
        if let Some(losses) = node {
            of_node.encode_value(page, figure(losses))?;
        }
    }
    Ok(())
}
