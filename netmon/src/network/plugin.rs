//! Any driver that the engine got from elsewhere: nothing is known of its devices but their addresses.

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
