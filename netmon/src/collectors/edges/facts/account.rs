//! Joins the kernel's edges with the registry's names.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{
    EdgeLedger, Former, NODE, Names, Naming, Near, OTHER, OUTSIDE, Party, UNKNOWN, Who, called, container,
    ledger::Terms,
};
use crate::{
    model::{
        edges::{EdgeCounts, EdgeId, EdgeReading, Far, LastEdge},
        interface::NetnsId,
        place::{Attribution, Cause, Place},
    },
    observe::state::State,
};

/// Takes in one scrape's `readings`. Before them come the counts that were `taken` out of the kernel's map after the last
/// scrape. After them come the last counts of namespaces that are gone.
pub fn account(
    ledger: &mut EdgeLedger,
    readings: &[EdgeReading],
    taken: Vec<(EdgeId, EdgeCounts)>,
    state: &mut State,
    terms: &Terms,
) {
    let (inventory, addresses) = (Arc::clone(state.inventory()), Arc::clone(state.addresses()));
    let former = Former::of(state, ledger.begin(terms.read), terms.patience);
    let names = Names::new(&addresses, &inventory, state.node_addresses(), former);
    for (id, counts) in taken {
        ledger.taken(id, &counts, terms, || who(id, near(state, id, terms.now), &names));
    }
    for reading in readings {
        let id = reading.id;
        ledger.observe(reading, terms, || who(id, near(state, id, terms.now), &names));
    }
    for LastEdge { id, counts, near } in state.take_last_edges() {
        let near = near.map(|(identity, network)| Near {
            party: container(&identity),
            network,
        });
        ledger.taken(id, &counts, terms, || {
            who(id, near.map_or(End::Nobody, End::Near), &names)
        });
    }
    let here: HashSet<(&str, &str)> = state.identities().map(called).collect();
    ledger.end(|party| {
        let is_word = || [NODE, UNKNOWN, OTHER].iter().any(|word| party.is(word));
        here.contains(&(&*party.name, &*party.stack)) || is_word()
    });
}

/// Foreign namespaces: what happens there is unattributed, and their edges can be deleted.
pub fn foreign(readings: &[EdgeReading], state: &mut State, now: Instant) -> BTreeSet<NetnsId> {
    let mut foreign = BTreeSet::new();
    for reading in readings {
        let id = reading.id.interface;
        if let Some(Attribution::Nowhere(Cause::ForeignNamespace)) = state.attribution(id, now) {
            foreign.insert(id.netns);
        }
    }
    foreign
}

/// This end of an edge.
pub(super) enum End {
    /// It is of no interest.
    Nobody,
    /// It is known soon.
    Open,
    /// It is known.
    Near(Near),
}

fn near(state: &mut State, id: EdgeId, now: Instant) -> End {
    let (party, network) = match state.attribution(id.interface, now) {
        None => return End::Open,
        Some(Attribution::In {
            place: Place::Container { identity },
            network,
        }) => (container(&identity), network),
        Some(Attribution::In {
            place: Place::Node,
            network,
        }) => (Party::word(NODE), network),
        Some(Attribution::Nowhere(Cause::Unnamed)) => (Party::word(UNKNOWN), Arc::default()),
        Some(
            Attribution::In {
                place: Place::Overlay { .. } | Place::LoadBalancer { .. },
                ..
            }
            | Attribution::Nowhere(_),
        ) => return End::Nobody,
    };
    End::Near(Near { party, network })
}

pub(super) fn who(id: EdgeId, near: End, names: &Names<'_>) -> Who {
    let near = match near {
        End::Nobody => return Who::Nobody,
        End::Open => return Who::Open,
        End::Near(near) => near,
    };
    let far = match id.far {
        Far::Address(address) => names.at(&near.network, address, id.side),
        Far::Outside => Naming::Certain(Party::word(OUTSIDE)),
        Far::Over => Naming::Certain(Party::word(OTHER)),
    };
    if near.party.is(NODE) && id.far != Far::Over && (near.network.is_empty() || is_no_containers(&far)) {
        return Who::Nobody;
    }
    Who::Both(near, far)
}

/// Whether an edge of the node leads to no container: what the node has to do with itself and with the world is no matter
/// of Docker's networks.
fn is_no_containers(far: &Naming) -> bool {
    let (Naming::Certain(far) | Naming::Changed(far, _) | Naming::Former { party: far, .. } | Naming::Late(far)) = far;
    far.is(OUTSIDE) || far.is(NODE)
}
