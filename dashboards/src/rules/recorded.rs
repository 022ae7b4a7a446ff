//! Recorded series: alerts compare them with their own past, or they are too expensive to compute for every view.
//!
//! Their names follow Prometheus' `level:metric:operations`.

use netmon::collectors::catalog::{
    CONTAINER_PACKET_DROPS, CONTAINER_TCP_RETRANSMITTED_SEGMENTS, CONTAINER_TCP_ROUND_TRIP_TIME,
    CONTAINER_TCP_SENT_SEGMENTS, SERVICE_RECEIVE_BYTES, SERVICE_TRANSMIT_BYTES,
};

use super::{Group, edges, record};
use crate::{
    label::{Client, Container, Instance, Job, Network, Port, Reason, Server, Service, Stack},
    query::{Recorded, Window, of},
};

/// A container on a network.
pub(super) type Member = (Job, Instance, Stack, Service, Container, Network);
/// A container on a network, and the reason of a loss.
pub(super) type Loss = (Job, Instance, Stack, Service, Container, Network, Reason);
/// A service on a network of a node.
pub(super) type Local = (Job, Instance, Stack, Service, Network);
/// A service on a network of a node, and the reason of a loss.
pub(super) type LocalLoss = (Job, Instance, Stack, Service, Network, Reason);
/// A service on a network, on all nodes together.
pub(super) type Course = (Job, Stack, Service, Network);

/// An edge, on all nodes together.
pub(super) type Edge = (Job, Client, Server, Network, Port);

/// The same sets of labels as values.
pub(super) const MEMBER: Member = (Job, Instance, Stack, Service, Container, Network);
pub(super) const LOSS: Loss = (Job, Instance, Stack, Service, Container, Network, Reason);
pub(super) const LOCAL: Local = (Job, Instance, Stack, Service, Network);
pub(super) const LOCAL_LOSS: LocalLoss = (Job, Instance, Stack, Service, Network, Reason);
pub(super) const COURSE: Course = (Job, Stack, Service, Network);
pub(super) const EDGE: Edge = (Job, Client, Server, Network, Port);

pub(super) const RECEIVED: Recorded<Course> = Recorded::new("service_network:netmon_receive_bytes:rate5m");
pub(super) const SENT: Recorded<Course> = Recorded::new("service_network:netmon_transmit_bytes:rate5m");
pub(super) const DROPS: Recorded<Loss> = Recorded::new("container_network_reason:netmon_packet_drops:increase10m");
pub(super) const RETRANSMITTED: Recorded<Member> =
    Recorded::new("container_network:netmon_tcp_retransmitted_segments:ratio_rate5m");
pub(super) const ROUND_TRIP_TIME: Recorded<Course> =
    Recorded::new("service_network:netmon_tcp_round_trip_time_seconds:mean10m");

pub(super) const EDGE_ROUND_TRIPS: Recorded<Edge> =
    Recorded::new("client_server_network_port:netmon_edge_round_trip_time_seconds:mean10m");
pub(super) const EDGE_RETRANSMITS: Recorded<Edge> =
    Recorded::new("client_server_network_port:netmon_edge_retransmitted_segments:per_megabyte10m");
pub(super) const SKEW: Recorded<Course> = Recorded::new("service_network:netmon_tcp_accepts:skew10m");

/// Below this rate (observations per second), there is no useful mean.
const OBSERVATIONS: f64 = 0.1;

pub(super) fn group() -> anyhow::Result<Group> {
    let window = Window::Of("10m");
    let again = || of(CONTAINER_TCP_RETRANSMITTED_SEGMENTS).rate().sum(MEMBER);
    let all = of(CONTAINER_TCP_SENT_SEGMENTS).rate().sum(MEMBER).plus(again());
    let observed = of(CONTAINER_TCP_ROUND_TRIP_TIME).observed(window).sum(COURSE);
    let observations = of(CONTAINER_TCP_ROUND_TRIP_TIME).observations(window).sum(COURSE);
    Ok(Group {
        name: "netmon-recorded".to_owned(),
        rules: vec![
            record(&RECEIVED, &of(SERVICE_RECEIVE_BYTES).rate().sum(COURSE))?,
            record(&SENT, &of(SERVICE_TRANSMIT_BYTES).rate().sum(COURSE))?,
            record(&DROPS, &of(CONTAINER_PACKET_DROPS).seen(window).sum(LOSS))?,
            // Of few segments, too: a container whose connections hang sends few.
            record(&RETRANSMITTED, &again().per(all.above(0.0)))?,
            record(&ROUND_TRIP_TIME, &observed.per(observations.above(OBSERVATIONS)))?,
            record(&EDGE_ROUND_TRIPS, &edges::round_trips())?,
            record(&EDGE_RETRANSMITS, &edges::retransmits())?,
            record(&SKEW, &edges::skew())?,
        ],
    })
}
