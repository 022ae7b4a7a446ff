//! Tables of edges: who talks to whom, for several dashboards.

use netmon::{
    collectors::catalog::{
        EDGE_ACTIVE_CONNECTIONS, EDGE_CONNECT_FAILURES, EDGE_CONNECTIONS, EDGE_IDLE_BREAKS, EDGE_RECEIVE_BYTES,
        EDGE_RESETS, EDGE_RETRANSMITTED_SEGMENTS, EDGE_ROUND_TRIP_TIME, EDGE_TRANSMIT_BYTES,
    },
    page::{family::Family, labels::LabelSet},
};

use super::SERVICE;
use crate::{
    board::uid,
    edge::{of_clients, of_strangers},
    grafana::Panel,
    label::{Client, ClientStack, Network, Port, Server, ServerStack},
    panel::{Limits, Unit, node_graph, table},
    query::{Selection, Vector, Window, of},
};

/// Which edges a table has.
#[derive(Clone, Copy)]
pub(super) enum Edges {
    /// All.
    All,
    /// Those whose server is the chosen service.
    OfServer,
    /// Those whose client is the chosen service.
    OfClient,
}

/// How many edges a graph has at most: more cannot be read.
const MOST: u32 = 100;

/// What identifies a row.
type Row = (Client, Server, Network, Port);
const ROW: Row = (Client, Server, Network, Port);

impl Edges {
    fn of<K: netmon::page::family::Shape, L: LabelSet>(self, family: Family<K, L>) -> Selection<K, L> {
        match self {
            Self::All => of(family),
            Self::OfServer => of(family).chosen_as(Server, crate::label::Service),
            Self::OfClient => of(family).chosen_as(Client, crate::label::Service),
        }
    }

    /// Each edge once: `values` of the client's end, and of the server's where there is no other.
    fn once<K: netmon::page::family::Shape, L: LabelSet>(
        self,
        family: fn() -> Family<K, L>,
        values: impl Fn(Selection<K, L>) -> Vector<Row>,
    ) -> Vector<Row> {
        let clients = values(of_clients(self.of(family())));
        clients.or(values(of_strangers(self.of(family()))))
    }
}

/// A graph of services, with what each pair of them carries both ways.
pub(super) fn graph(title: &str, description: &str) -> Panel {
    let pair = (ClientStack, Client, ServerStack, Server);
    let carried = |client: Selection<_, _>| client.rate().sum(pair);
    let requests = carried(of_clients(of(EDGE_TRANSMIT_BYTES))).or(carried(of_strangers(of(EDGE_TRANSMIT_BYTES))));
    let answers = carried(of_clients(of(EDGE_RECEIVE_BYTES))).or(carried(of_strangers(of(EDGE_RECEIVE_BYTES))));
    node_graph(
        title,
        Unit::BytesPerSecond,
        description,
        ((ClientStack, Client), (ServerStack, Server)),
        &requests.plus(answers).highest(MOST),
    )
}

/// A table of edges, those that carry most first.
pub(super) fn edges(edges: Edges, title: &str, description: &str) -> Panel {
    let mean = edges.once(
        || EDGE_ROUND_TRIP_TIME,
        |it| {
            let observed = it.clone().observed(Window::Rate).sum(ROW);
            observed.per(it.observations(Window::Rate).sum(ROW).above(0.0))
        },
    );
    table(title, description, ROW, ["Client", "Server", "Network", "Port"])
        .column(
            "Connections",
            Unit::PerSecond,
            Limits::None,
            &edges.once(|| EDGE_CONNECTIONS, |it| it.rate().sum(ROW)),
        )
        .column(
            "Open",
            Unit::Count,
            Limits::None,
            &edges.once(|| EDGE_ACTIVE_CONNECTIONS, |it| it.now().sum(ROW)),
        )
        .column(
            "Requests",
            Unit::BytesPerSecond,
            Limits::None,
            &edges.once(|| EDGE_TRANSMIT_BYTES, |it| it.rate().sum(ROW)),
        )
        .column(
            "Answers",
            Unit::BytesPerSecond,
            Limits::None,
            &edges.once(|| EDGE_RECEIVE_BYTES, |it| it.rate().sum(ROW)),
        )
        .column(
            "Failed",
            Unit::PerSecond,
            Limits::Above(0.1, 1.0),
            &edges.once(|| EDGE_CONNECT_FAILURES, |it| it.rate().sum(ROW)),
        )
        .column(
            "Resets",
            Unit::PerSecond,
            Limits::None,
            &edges.once(|| EDGE_RESETS, |it| it.rate().sum(ROW)),
        )
        .column(
            "Idle breaks",
            Unit::Count,
            Limits::Above(1.0, 10.0),
            &edges.once(|| EDGE_IDLE_BREAKS, |it| it.increase(Window::Shown).sum(ROW)),
        )
        .column(
            "Sent again",
            Unit::PerSecond,
            Limits::None,
            &edges.once(|| EDGE_RETRANSMITTED_SEGMENTS, |it| it.rate().sum(ROW)),
        )
        .column("Round trip", Unit::Seconds, Limits::None, &mean)
        .leads("Client", &uid(SERVICE), "service")
        .leads("Server", &uid(SERVICE), "service")
        .width("Client", 200)
        .width("Server", 200)
        .width("Port", 70)
        .sorted("Requests")
}
