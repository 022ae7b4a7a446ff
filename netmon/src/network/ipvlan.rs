//! `ipvlan`: a child of one of the node's interfaces that shares its hardware address: told apart by address alone.

use super::Driver;
use crate::model::interface::DeviceKind;

/// The driver.
pub(super) struct Ipvlan;

impl Driver for Ipvlan {
    fn name(&self) -> &'static str {
        "ipvlan"
    }

    fn makes(&self, kind: DeviceKind) -> bool {
        kind == DeviceKind::Ipvlan
    }
}
