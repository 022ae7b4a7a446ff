//! Any driver that is not part of the engine. Of its devices, only their addresses are known.

use super::Driver;
use crate::model::interface::DeviceKind;

/// The driver.
pub(super) struct Plugin;

impl Driver for Plugin {
    fn name(&self) -> &'static str {
        "plugin"
    }

    fn makes(&self, kind: DeviceKind) -> bool {
        kind != DeviceKind::Loopback
    }
}
