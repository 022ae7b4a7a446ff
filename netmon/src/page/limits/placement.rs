//! Where a row goes: onto the page, or into which sum.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{OVER, Over};
use crate::{
    model::inventory::Identity,
    page::key::{Key, Word},
};

/// How many services the sums of containers over the limit distinguish. All other services are one sum.
const MOST_GROUPS: usize = 256;

/// Where a row goes.
#[derive(Debug)]
pub(super) enum Placement {
    /// Onto the page.
    Shown,
    /// Into the sum of its container or service, which is shown. But this row is over its limit.
    InSubject,
    /// Nowhere. The container is shown, and there is no room for this row.
    LeftOut,
    /// Into the sum of containers with these labels.
    InGroup(Arc<Identity>),
    /// Into the sum of services.
    InServices,
    /// Into the sum of the other nodes.
    InPeers,
}

impl Placement {
    /// The sum that a row with this key is part of; `None` if the row is shown.
    pub(super) fn sum(&self, key: &Key, over: Over) -> Option<Key> {
        let what = || match over {
            Over::Sum if !key.what.is_empty() => Word::from(OVER),
            Over::Sum | Over::SumByWhat | Over::Add | Over::LeaveOut => key.what.clone(),
        };
        match self {
            Self::Shown | Self::LeftOut => None,
            Self::InSubject => Some(Key {
                what: OVER.into(),
                ..key.clone()
            }),
            Self::InGroup(group) => Some(Key {
                identity: Arc::clone(group),
                // If the container's service has no sum of its own, neither have its networks.
                network: if is_nameless(group) && !is_nameless(&key.identity) {
                    Arc::default()
                } else {
                    Arc::clone(&key.network)
                },
                what: what(),
                detail: key.detail.clone(),
            }),
            Self::InServices => Some(Key {
                identity: Arc::new(Identity {
                    service: OVER.to_owned(),
                    ..Identity::default()
                }),
                what: what(),
                ..Key::default()
            }),
            Self::InPeers => Some(Key {
                what: what(),
                ..key.clone()
            }),
        }
    }
}

fn is_nameless(identity: &Identity) -> bool {
    identity.service.is_empty() && identity.stack.is_empty()
}

/// The labels of sums of containers: one for each service, unless there are too many services.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The maximum number of services with a sum of their own.
    most: usize,
    groups: BTreeMap<(String, String), Group>,
}

#[derive(Debug)]
struct Group {
    identity: Arc<Identity>,
    used: Instant,
}

impl Groups {
    /// The labels that a container over the limit is summed up with.
    pub(super) fn group(&mut self, identity: &Identity, now: Instant) -> Arc<Identity> {
        let of = |service: &str, stack: &str| {
            Arc::new(Identity {
                container: OVER.to_owned(),
                service: service.to_owned(),
                stack: stack.to_owned(),
            })
        };
        let key = (identity.service.clone(), identity.stack.clone());
        if let Some(group) = self.groups.get(&key) {
            return Arc::clone(&group.identity);
        }
        if self.groups.len() >= self.most {
            return of("", "");
        }
        let identity = of(&identity.service, &identity.stack);
        let group = Group {
            identity: Arc::clone(&identity),
            used: now,
        };
        self.groups.insert(key, group);
        identity
    }

    /// Removes the groups that were not among `used` for a while. New ones get `room`, each of this many series.
    pub(super) fn keep<'a>(
        &mut self,
        room: usize,
        series: usize,
        used: impl Iterator<Item = &'a Identity>,
        linger: Duration,
        now: Instant,
    ) {
        self.most = room.checked_div(series).unwrap_or(MOST_GROUPS).min(MOST_GROUPS);
        for identity in used {
            let key = (identity.service.clone(), identity.stack.clone());
            if let Some(group) = self.groups.get_mut(&key) {
                group.used = now;
            }
        }
        self.groups
            .retain(|_, group| now.saturating_duration_since(group.used) < linger);
    }

    /// The number of groups.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }
}
