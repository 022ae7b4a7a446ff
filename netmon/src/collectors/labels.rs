//! Label sets that several collectors use.

use crate::page::labels::key_labels;

key_labels! {
    /// A container.
    pub Container { container, service, stack }
    /// Why something failed.
    pub Reason { reason = what }
}
