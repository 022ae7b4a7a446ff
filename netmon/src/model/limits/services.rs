//! The limit on services. Services may be as short-lived as containers, if each container has its own project.

use std::{collections::BTreeSet, mem::take, sync::Arc, time::Instant};

use super::{Limits, OVER, SHARE, needs::OF_SERVICE, remainder::Key};
use crate::model::{
    inventory::Identity,
    snapshot::{ServiceRow, Snapshot},
};

impl Limits {
    /// Sums up the services over the limit.
    pub(super) fn services(&mut self, snapshot: &mut Snapshot, now: Instant) {
        let most = self.caps.series / SHARE / OF_SERVICE;
        self.sums.services.begin(self.is_beginning);
        let of = |service: &str, stack: &str| {
            Arc::new(Identity {
                container: String::new(),
                service: service.to_owned(),
                stack: stack.to_owned(),
            })
        };
        let its = |row: &ServiceRow| Key {
            identity: of(&row.service, &row.stack),
            network: Arc::clone(&row.network),
            what: Arc::from(""),
        };
        // While there are few, it need not be remembered which are shown. Counts in the sum remain there.
        if snapshot.services.len() <= most / 2 && self.sums.services.len() == 0 {
            self.services.clear();
            for row in &mut snapshot.services {
                row.totals = self.sums.services.shown(|| its(row), row.totals);
            }
        } else {
            let mut here = BTreeSet::new();
            let mut rows = Vec::with_capacity(snapshot.services.len());
            let key = |row: &ServiceRow| (row.service.clone(), row.stack.clone(), Arc::clone(&row.network));
            here.extend(snapshot.services.iter().map(key));
            self.services.retain(|known| here.contains(known));
            for key in here {
                if self.services.len() < most {
                    self.services.insert(key);
                }
            }
            for mut row in take(&mut snapshot.services) {
                if self.services.contains(&key(&row)) {
                    row.totals = self.sums.services.shown(|| its(&row), row.totals);
                    rows.push(row);
                } else {
                    let sum = Key {
                        identity: of(OVER, ""),
                        network: Arc::from(""),
                        what: Arc::from(""),
                    };
                    self.sums.services.summed(its(&row), sum, row.totals);
                }
            }
            snapshot.services = rows;
        }
        for (key, totals) in self.sums.services.finish(now) {
            snapshot.services.push(ServiceRow {
                service: key.identity.service.clone(),
                stack: key.identity.stack.clone(),
                network: key.network,
                totals,
            });
        }
    }
}
