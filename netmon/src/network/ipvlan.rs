//! `ipvlan`: a child of one of the node's interfaces. It shares its parent's hardware address, so only the IP address
//! identifies it.

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
