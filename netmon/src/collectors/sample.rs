//! What the collectors' samples have in common.

use std::{net::IpAddr, sync::Arc};

use crate::model::{
    counters::{Directions, Totals},
    interface::{Device, DeviceKind, MacAddress},
    inventory::Identity,
};

/// A container of a service in a stack.
pub(super) fn web() -> Arc<Identity> {
    identity("shop_web.1.y6k0ncezn0bpeanuwnpc5x5p8", "shop_web", "shop")
}

pub(super) fn identity(container: &str, service: &str, stack: &str) -> Arc<Identity> {
    Arc::new(Identity {
        container: container.to_owned(),
        service: service.to_owned(),
        stack: stack.to_owned(),
    })
}

pub(super) fn device(name: &str, kind: DeviceKind, addresses: &[&str]) -> Arc<Device> {
    Arc::new(Device {
        mac: Some(MacAddress([0x02, 0x42, 0x0a, 0, 1, 7])),
        addresses: addresses
            .iter()
            .map(|address| address.parse::<IpAddr>().expect("an address"))
            .collect(),
        mtu: 1450,
        up: true,
        ..Device::new(42, name.to_owned(), kind)
    })
}

/// Values that differ in every family.
pub(super) fn totals(base: u64) -> Directions<Totals> {
    let totals = |base: u64| Totals {
        packets: base + 1,
        bytes: base * 1000,
        segments: base + 2,
        tcp_segments: base + 5,
        errors: base + 3,
        dropped: base + 4,
    };
    Directions {
        receive: totals(base),
        transmit: totals(base + 100),
    }
}
