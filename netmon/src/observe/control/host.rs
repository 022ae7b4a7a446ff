//! Logs what is wrong with the host when it begins.

use std::time::Instant;

use tracing::{info, warn};

use super::Loop;
use crate::observe::state::News;

impl Loop {
    /// Checks whether netmon finds what the engine says runs here.
    pub(super) fn check_host(&self) {
        let news = self.shared.lock().check_host(Instant::now());
        for news in news {
            match news {
                News::Begun(misfit) => warn!("{misfit}"),
                News::Over => info!("netmon finds the network namespaces of all running containers, and the node's"),
            }
        }
    }
}
