//! Label values made of several facts.

use std::fmt::{self, Display, Write as _};

/// Several facts in one label, separated by commas.
pub(super) fn join(items: impl IntoIterator<Item = impl Display>) -> String {
    let mut text = String::new();
    for item in items {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _: fmt::Result = write!(text, "{comma}{item}");
    }
    text
}
