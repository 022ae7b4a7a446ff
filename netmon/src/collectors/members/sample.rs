//! Members of overlay networks for the golden page.

use super::{
    facts::{MemberRow, MemberRows, VirtualAddressRow},
    families,
};
use crate::page::rows::Rows;

/// Containers on this node and others, with and without a service, and a service's virtual address.
pub(super) fn rows() -> Vec<Rows> {
    let endpoint = |host, container: &str, service: &str, peer: &str| MemberRow {
        network: "shop_front".into(),
        address: [10, 0, 1, host].into(),
        container: container.to_owned(),
        service: service.to_owned(),
        peer: peer.into(),
    };
    families::rows(&MemberRows {
        endpoints: vec![
            endpoint(7, "shop_web.2.q1", "shop_web", "node-2"),
            endpoint(8, "an \"odd\" one\n", "", "192.0.2.13"),
        ],
        services: vec![VirtualAddressRow {
            network: "shop_front".into(),
            service: "shop_web".to_owned(),
            address: [10, 0, 1, 2].into(),
        }],
        is_whole: true,
        is_cut: false,
    })
}
