//! The vxlan devices of overlay networks. They count the network's own packets to and from other nodes.

use std::fmt;

use super::{
    catalog,
    family::Page,
    labels::{Rows, Vxlan},
};
use crate::model::snapshot::VxlanRow;

/// Writes the devices' counts.
pub(super) fn encode(page: &mut Page<'_>, vxlans: &[VxlanRow]) -> fmt::Result {
    let rows = Rows::new(vxlans.iter().map(|row| {
        let VxlanRow {
            network,
            device,
            totals,
        } = row;
        let interface = device.name.as_str();
        (Vxlan { network, interface }.block(), totals)
    }));
    catalog::VXLAN_RECEIVE_BYTES.encode(page, rows.each(|totals| totals.receive.bytes))?;
    catalog::VXLAN_TRANSMIT_BYTES.encode(page, rows.each(|totals| totals.transmit.bytes))?;
    catalog::VXLAN_RECEIVE_PACKETS.encode(page, rows.each(|totals| totals.receive.packets))?;
    catalog::VXLAN_TRANSMIT_PACKETS.encode(page, rows.each(|totals| totals.transmit.packets))?;
    catalog::VXLAN_RECEIVE_SEGMENTS.encode(page, rows.each(|totals| totals.receive.segments))?;
    catalog::VXLAN_TRANSMIT_SEGMENTS.encode(page, rows.each(|totals| totals.transmit.segments))?;
    catalog::VXLAN_RECEIVE_ERRORS.encode(page, rows.each(|totals| totals.receive.errors))?;
    catalog::VXLAN_TRANSMIT_ERRORS.encode(page, rows.each(|totals| totals.transmit.errors))?;
    catalog::VXLAN_RECEIVE_PACKETS_DROPPED.encode(page, rows.each(|totals| totals.receive.dropped))?;
    catalog::VXLAN_TRANSMIT_PACKETS_DROPPED.encode(page, rows.each(|totals| totals.transmit.dropped))
}
