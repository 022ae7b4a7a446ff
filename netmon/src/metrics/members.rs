//! The members of the overlay networks on all nodes. They show what an address in a log belongs to.

use std::fmt;

use super::{
    catalog,
    family::Page,
    labels::{OverlayEndpoint, OverlayService, Rows},
};
use crate::model::snapshot::{MemberRow, MemberRows, VirtualAddressRow};

/// The maximum number of members on a page. Every node of a network exposes all members of that network.
const MOST: usize = 10_000;

/// Writes the members, at most `room` series. Returns whether some were left out.
pub(super) fn encode(page: &mut Page<'_>, members: &MemberRows, room: Option<usize>) -> Result<bool, fmt::Error> {
    let MemberRows {
        endpoints,
        services,
        is_whole: _,
        is_cut,
    } = members;
    let room = room.map_or(MOST, |room| room.min(MOST));
    let mut services = Rows::new(services.iter().map(|row| {
        let VirtualAddressRow {
            network,
            service,
            address,
        } = row;
        let labels = OverlayService {
            network,
            service,
            virtual_ip: &address.to_string(),
        };
        (labels.block(), ())
    }));
    let mut whole = services.keep(room);
    let room = room - services.iter().count();
    catalog::OVERLAY_SERVICE_INFO.encode(page, services.each(|()| ()))?;
    let mut endpoints = Rows::new(endpoints.iter().map(|row| {
        let MemberRow {
            network,
            address,
            container,
            service,
            peer,
        } = row;
        let labels = OverlayEndpoint {
            network,
            ip_address: &address.to_string(),
            container,
            service,
            peer,
        };
        (labels.block(), ())
    }));
    whole &= endpoints.keep(room);
    catalog::OVERLAY_ENDPOINT_INFO.encode(page, endpoints.each(|()| ()))?;
    Ok(!whole || *is_cut)
}
