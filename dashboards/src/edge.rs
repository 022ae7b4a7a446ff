//! Which end of a connection is looked at, for dashboards and rules.
//!
//! A connection between two containers has two ends, and netmon may see both. The client's end names both services, also
//! through a virtual address. Where the client is no container, there is only the server's end.

use netmon::page::{family::Shape, labels::LabelSet};

use crate::{
    label::{Client, Side},
    query::Selection,
};

/// Clients that no netmon sees from their own end.
const STRANGERS: &[&str] = &["[(]outside[)]", "[(]ingress[)]"];

/// Edges as their clients see them.
pub(crate) fn of_clients<K: Shape, L: LabelSet>(edges: Selection<K, L>) -> Selection<K, L> {
    edges.is(Side, "client")
}

/// Edges as their servers see them, of clients that are no containers.
pub(crate) fn of_strangers<K: Shape, L: LabelSet>(edges: Selection<K, L>) -> Selection<K, L> {
    edges.is(Side, "server").is_one_of(Client, STRANGERS)
}
