//! A VXLAN device for the golden page.

use super::{facts::VxlanRow, families};
use crate::{
    collectors::sample::{device, totals},
    model::interface::DeviceKind,
    page::rows::Rows,
};

/// One device.
pub(super) fn rows() -> Vec<Rows> {
    families::rows(&[VxlanRow {
        network: "shop_front".into(),
        device: device("vxlan0", DeviceKind::Vxlan, &[]),
        totals: totals(5000),
    }])
}
