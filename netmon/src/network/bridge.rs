//! `bridge`: a veth whose far end is a port of a bridge in the node's namespace. The default network, user networks,
//! and the gateway bridge of a Swarm.

use super::Driver;
use crate::model::interface::DeviceKind;

/// The driver.
pub(super) struct Bridge;

impl Driver for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn makes(&self, kind: DeviceKind) -> bool {
        kind == DeviceKind::Veth
    }
}
