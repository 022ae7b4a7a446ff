//! What the loop does when the kernel reports a change.

use std::time::Instant;

use tracing::warn;

use super::{ListDue, Loop};
use crate::{model::netns::DeviceChange, netns::watch::Change};

impl Loop {
    pub(super) fn on_change(&mut self, change: Change) {
        match change {
            Change::Namespaces => self.list = ListDue::now(Instant::now()),
            Change::Overrun => {
                if self.overruns.is_news((), Instant::now()) {
                    warn!(
                        "the kernel dropped messages about devices, because there were too many at once; all namespaces \
                         are read again, and a container that ended just now may lack its last packets"
                    );
                }
                let mut state = self.shared.lock();
                state.on_overrun();
                self.list = ListDue::now(Instant::now());
                self.dirty.extend(state.namespaces().keys());
            }
            Change::Device(change) => {
                self.last_change = Instant::now();
                self.on_device_change(&change);
            }
        }
    }

    fn on_device_change(&mut self, change: &DeviceChange) {
        // The devices of the node's own namespace are not counted here.
        let Some(nsid) = change.nsid else { return };
        let known = self.shared.lock().namespace_by_number(nsid, change.after);
        let known = known.or_else(|| self.find_number(nsid));
        if let Some(netns) = known {
            let is_known = self.shared.lock().on_device_change(netns, change);
            if !is_known && self.calls(netns, nsid) {
                self.shared.lock().on_new_device(netns, change, Instant::now());
            }
            self.dirty.insert(netns);
        } else {
            self.list.want();
        }
    }
}
