//! Who had an address until a moment ago. Must not know who has it now.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Naming, Party, UNKNOWN, container};
use crate::{
    model::inventory::Identity,
    observe::state::{Owner, State},
};

/// Who had which address on which network, and ended a moment ago. The engine forgets the addresses of containers that
/// end.
#[derive(Debug, Default)]
pub struct Former {
    by_address: HashMap<(Arc<str>, IpAddr), Vec<Had>>,
}

/// Somebody who had an address, until that time.
#[derive(Debug)]
struct Had {
    party: Party,
    /// The container's own name, by which other nodes know it if it has no service of Swarm.
    container: Arc<str>,
    until: Instant,
}

impl Had {
    /// Whether that is the same one. A stack is told by a name that is not always known here.
    fn is(&self, party: &Party) -> bool {
        self.party.name == party.name || self.container == party.name
    }
}

impl Former {
    /// The containers that ended since the last reading of the kernel's edges, or as long before it as a name is waited for.
    #[must_use]
    pub fn of(state: &State, last_reading: Option<Instant>, patience: Duration) -> Self {
        let mut former = Self::default();
        let since = last_reading.and_then(|last| last.checked_sub(patience));
        for ended in state.ended() {
            if since.is_none_or(|since| ended.at >= since)
                && let Some(Owner::Container { identity, network, .. }) = &ended.owner
                && !network.is_empty()
            {
                for address in &ended.device.addresses {
                    former.add(network, *address, identity, ended.at);
                }
            }
        }
        former
    }

    /// Adds a container that had this address and ended at this time.
    pub fn add(&mut self, network: &Arc<str>, address: IpAddr, identity: &Identity, until: Instant) {
        let had = Had {
            party: container(identity),
            container: Arc::from(identity.container.as_str()),
            until,
        };
        let key = (Arc::clone(network), address);
        self.by_address.entry(key).or_default().push(had);
    }

    /// Names whoever has the address, by those who had it.
    pub(super) fn apply(&self, network: &str, address: IpAddr, naming: Naming) -> Naming {
        // Mostly nobody has ended.
        if self.by_address.is_empty() {
            return naming;
        }
        let Some(had) = self.by_address.get(&(Arc::from(network), address)) else {
            return naming;
        };
        match naming {
            Naming::Certain(now) => {
                let others = had.iter().filter(|had| !had.is(&now));
                match others.map(|had| had.until).max() {
                    Some(until) => Naming::Changed(now, until),
                    None => Naming::Certain(now),
                }
            }
            Naming::Late(late) => {
                let Some(last) = had.iter().max_by_key(|had| had.until) else {
                    return Naming::Late(late);
                };
                let is_one = had.iter().all(|other| other.party == last.party);
                Naming::Former {
                    party: if is_one {
                        last.party.clone()
                    } else {
                        Party::word(UNKNOWN)
                    },
                    until: last.until,
                    late,
                }
            }
            Naming::Changed(..) | Naming::Former { .. } => naming,
        }
    }
}
