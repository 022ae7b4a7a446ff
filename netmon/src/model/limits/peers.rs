//! The limit on nodes that send to this node but that nothing here sends to. Anyone can put any address into a
//! packet.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
    sync::Arc,
    time::Instant,
};

use super::{Limits, OVER, remainder::Key};
use crate::model::{
    inventory::Identity,
    snapshot::{EncryptedRow, OverlayRow, OverlayRows, Snapshot},
};

/// How many such nodes are shown.
pub(super) const MOST_STRANGERS: usize = 64;

impl Limits {
    /// Sums up such nodes over the limit.
    pub(super) fn peers(&mut self, snapshot: &mut Snapshot, now: Instant) {
        let OverlayRows {
            clear,
            encrypted,
            peers,
            ..
        } = &mut snapshot.overlay;
        let of_clear = clear.iter().filter(|row| row.is_stranger).map(|row| &row.peer);
        let of_encrypted = encrypted.iter().filter(|row| row.is_stranger).map(|row| &row.peer);
        let here: BTreeSet<Arc<str>> = of_clear.chain(of_encrypted).cloned().collect();
        self.peers.retain(|known| here.contains(known));
        for peer in &here {
            if self.peers.len() < MOST_STRANGERS {
                self.peers.insert(Arc::clone(peer));
            }
        }
        let is_shown = |is_stranger: bool, peer: &Arc<str>| !is_stranger || self.peers.contains(peer);
        let none = Arc::new(Identity::default());
        let key = |network: &Arc<str>, peer: &Arc<str>| Key {
            identity: Arc::clone(&none),
            network: Arc::clone(network),
            what: Arc::clone(peer),
        };
        let over: Arc<str> = Arc::from(OVER);
        let nothing: Arc<str> = Arc::from("");

        let is_beginning = self.is_beginning;
        let sums = &mut self.sums.clear;
        sums.begin(is_beginning);
        let mut must_be_encrypted = BTreeMap::new();
        for mut row in take(clear) {
            let its = || key(&row.network, &row.peer);
            if is_shown(row.is_stranger, &row.peer) {
                row.counts = sums.shown(its, row.counts);
                clear.push(row);
            } else {
                must_be_encrypted.insert(Arc::clone(&row.network), row.must_be_encrypted);
                sums.summed(its(), key(&row.network, &over), row.counts);
            }
        }
        clear.extend(sums.finish(now).into_iter().map(|(key, counts)| OverlayRow {
            must_be_encrypted: must_be_encrypted.get(&key.network).copied().unwrap_or(false),
            is_stranger: true,
            network: key.network,
            peer: key.what,
            counts,
        }));

        let sums = &mut self.sums.encrypted;
        sums.begin(is_beginning);
        for mut row in take(encrypted) {
            let its = || key(&nothing, &row.peer);
            if is_shown(row.is_stranger, &row.peer) {
                row.counts = sums.shown(its, row.counts);
                encrypted.push(row);
            } else {
                sums.summed(its(), key(&nothing, &over), row.counts);
            }
        }
        encrypted.extend(sums.finish(now).into_iter().map(|(key, counts)| EncryptedRow {
            is_stranger: true,
            peer: key.what,
            counts,
        }));
        peers.retain(|row| is_shown(here.contains(&row.peer), &row.peer));
    }
}
