//! Interfaces for the golden page.

use std::sync::Arc;

use super::{facts::InterfaceRow, families};
use crate::{
    collectors::sample::{device, identity, totals, web},
    model::{interface::DeviceKind, inventory::Identity},
    page::rows::Rows,
};

/// A bit of everything.
pub(super) fn rows() -> Vec<Rows> {
    let hostile = identity(
        "odd",
        "a \"quoted\" \\ service # {x=\"1\"} 2",
        "two\nlines\u{0}and a snow☃man",
    );
    let interfaces = [
        interface(&web(), "shop_front", "eth0", 1000),
        interface(&web(), "docker_gwbridge", "eth1", 2000),
        interface(&hostile, "", "eth\\x0a0", 3000),
        // This must not happen. If it does, the first row stays.
        interface(&web(), "shop_front", "eth0", 666),
    ];
    families::rows(&interfaces, &totals(7000))
}

/// `containers` containers with two interfaces each.
pub(in crate::collectors) fn crowd(containers: usize) -> Vec<Rows> {
    let names = (0..containers).map(|number| identity(&format!("c{number:05}"), "crowd", ""));
    let interfaces: Vec<_> = names
        .flat_map(|identity| ["eth0", "eth1"].map(|name| interface(&identity, "front", name, 1)))
        .collect();
    families::rows(&interfaces, &totals(7000))
}

fn interface(identity: &Arc<Identity>, network: &str, name: &str, base: u64) -> InterfaceRow {
    InterfaceRow {
        identity: Arc::clone(identity),
        network: network.into(),
        device: device(
            name,
            DeviceKind::Veth,
            &["fe80::42", "10.0.1.7", "10.0.1.8", "fd00:1::7"],
        ),
        totals: totals(base),
    }
}
