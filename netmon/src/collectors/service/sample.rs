//! A service for the golden page.

use super::{facts::ServiceRow, families};
use crate::{collectors::sample::totals, page::rows::Rows};

/// One service.
pub(super) fn rows() -> Vec<Rows> {
    families::rows(&[ServiceRow {
        service: "shop_web".to_owned(),
        stack: "shop".to_owned(),
        network: "shop_front".into(),
        totals: totals(4000),
    }])
}
