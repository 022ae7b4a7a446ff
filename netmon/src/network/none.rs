//! `null` (`--network none`): a namespace with loopback and nothing else.

use super::Driver;
use crate::model::interface::DeviceKind;

/// The driver.
pub(super) struct None;

impl Driver for None {
    fn name(&self) -> &'static str {
        "null"
    }

    fn makes(&self, _kind: DeviceKind) -> bool {
        false
    }

    fn no_interface(&self) -> Option<&'static str> {
        Some("it has no interface but loopback")
    }
}
