//! The families of the members of the overlay networks. They show what an address in a log belongs to.

use crate::{
    collectors::members::facts::{MemberRow, MemberRows, VirtualAddressRow},
    page::{
        labels::{Block, label_sets},
        limits::REST,
        rows::{Rows, schemas},
    },
};

label_sets! {
    /// A container on an overlay network, on this or another node.
    pub OverlayEndpoint { network, ip_address, container, service, peer }
    /// A service's virtual address on an overlay network.
    pub OverlayService { network, service, virtual_ip }
}

schemas! {
    pub families of super::NAME;
    "Overlay networks" {
        /// The virtual address of a service.
        SERVICES(() in ()) by OverlayService, REST {
            OVERLAY_SERVICE_INFO: Info, "netmon_overlay_service",
                (),
                "The virtual IP of a service on an overlay network that this node is part of. Up to a minute old.";
        }
        /// A container.
        ENDPOINTS(() in ()) by OverlayEndpoint, REST {
            OVERLAY_ENDPOINT_INFO: Info, "netmon_overlay_endpoint",
                (),
                "An endpoint on an overlay network that this node is part of. It is a container on any node (peer), or this node's load balancer (lb-NETWORK), whose address traffic from virtual IPs has. Read from the network's gossip; up to a minute old.";
        }
    }
}

/// The rows of a scrape.
pub(crate) fn rows(members: &MemberRows) -> Vec<Rows> {
    let MemberRows {
        endpoints,
        services,
        is_whole: _,
        is_cut,
    } = members;
    vec![
        SERVICES.labelled(services.iter().map(|row| (service(row), ()))),
        ENDPOINTS
            .labelled(endpoints.iter().map(|row| (endpoint(row), ())))
            .cut(*is_cut),
    ]
}

fn service(row: &VirtualAddressRow) -> Block<OverlayService<'static>> {
    let VirtualAddressRow {
        network,
        service,
        address,
    } = row;
    OverlayService {
        network,
        service,
        virtual_ip: &address.to_string(),
    }
    .block()
}

fn endpoint(row: &MemberRow) -> Block<OverlayEndpoint<'static>> {
    let MemberRow {
        network,
        address,
        container,
        service,
        peer,
    } = row;
    OverlayEndpoint {
        network,
        ip_address: &address.to_string(),
        container,
        service,
        peer,
    }
    .block()
}
