//! `macvlan`: a child of one of the node's interfaces, with its own hardware address and no far end on the node.

use super::Driver;
use crate::model::interface::DeviceKind;

/// The driver.
pub(super) struct Macvlan;

impl Driver for Macvlan {
    fn name(&self) -> &'static str {
        "macvlan"
    }

    fn makes(&self, kind: DeviceKind) -> bool {
        kind == DeviceKind::Macvlan
    }
}
