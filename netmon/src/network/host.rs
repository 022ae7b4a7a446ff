//! `host`: the container uses the node's own interfaces.

use super::Driver;
use crate::model::interface::DeviceKind;

/// The driver.
pub(super) struct Host;

impl Driver for Host {
    fn name(&self) -> &'static str {
        "host"
    }

    fn makes(&self, _kind: DeviceKind) -> bool {
        false
    }

    fn no_interface(&self) -> Option<&'static str> {
        Some("it uses the node's interfaces, which count for everybody on the node")
    }
}
