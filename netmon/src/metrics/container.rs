//! Containers and their interfaces.

use std::{collections::BTreeMap, fmt};

use super::{
    catalog,
    family::Page,
    info::join,
    labels::{ContainerInfo, Interface, InterfaceInfo, LabelSet as _, Rows, State},
};
use crate::model::{
    collector::Collector,
    interface::{Device, DeviceKind},
    snapshot::{ContainerRow, ContainerState, InterfaceRow},
};

/// Writes what the containers are and what becomes of them.
pub(super) fn encode_containers(page: &mut Page<'_>, containers: &[ContainerRow]) -> fmt::Result {
    let count = |state| containers.iter().filter(|row| row.state == state).count();
    let states = Rows::new(ContainerState::ALL.map(|state| (State { state: state.as_str() }.block(), count(state))));
    catalog::CONTAINERS.encode(page, states.each(|count| *count))?;

    let infos = Rows::new(one_of_each_name(containers).map(|row| (container_info(row), ())));
    catalog::CONTAINER_INFO.encode(page, infos.each(|()| ()))
}

/// A name is used again when its container is gone, while the one that ended lingers. Queries join with this family by
/// name: of several with one name only the newest may be here, or the query fails.
fn one_of_each_name(containers: &[ContainerRow]) -> impl Iterator<Item = &ContainerRow> {
    let mut names = BTreeMap::<_, &ContainerRow>::new();
    for row in containers {
        let kept = names.entry(&row.container.identity).or_insert(row);
        if kept.state == ContainerState::Ended && row.state != ContainerState::Ended {
            *kept = row;
        }
    }
    names.into_values()
}

fn container_info(row: &ContainerRow) -> super::labels::Block<ContainerInfo<'static>> {
    let ContainerRow {
        container,
        state,
        shares_with,
    } = row;
    ContainerInfo {
        container: &container.identity.container,
        service: &container.identity.service,
        stack: &container.identity.stack,
        container_id: &container.id,
        image: &container.image,
        task_id: &container.task_id,
        task_slot: &container.task_slot,
        network_mode: &container.network_mode,
        state: state.as_str(),
        shares_with: shares_with.as_deref().unwrap_or_default(),
    }
    .block()
}

/// Writes what the interfaces counted, container by container as long as there is room for `room` series. Says whether
/// some were left out.
pub(super) fn encode_interfaces(
    page: &mut Page<'_>,
    interfaces: &[InterfaceRow],
    room: Option<usize>,
) -> Result<bool, fmt::Error> {
    let mut rows = Rows::new(interfaces.iter().map(|row| (interface(row), row)));
    let whole = room.is_none_or(|room| {
        rows.keep_groups(room / series_of_an_interface(), |one, other| {
            one.identity.container == other.identity.container
        })
    });

    catalog::CONTAINER_RECEIVE_BYTES.encode(page, rows.each(|row| row.totals.receive.bytes))?;
    catalog::CONTAINER_TRANSMIT_BYTES.encode(page, rows.each(|row| row.totals.transmit.bytes))?;
    catalog::CONTAINER_RECEIVE_PACKETS.encode(page, rows.each(|row| row.totals.receive.packets))?;
    catalog::CONTAINER_TRANSMIT_PACKETS.encode(page, rows.each(|row| row.totals.transmit.packets))?;
    catalog::CONTAINER_RECEIVE_SEGMENTS.encode(page, rows.each(|row| row.totals.receive.segments))?;
    catalog::CONTAINER_TRANSMIT_SEGMENTS.encode(page, rows.each(|row| row.totals.transmit.segments))?;
    catalog::CONTAINER_RECEIVE_ERRORS.encode(page, rows.each(|row| row.totals.receive.errors))?;
    catalog::CONTAINER_TRANSMIT_ERRORS.encode(page, rows.each(|row| row.totals.transmit.errors))?;
    catalog::CONTAINER_RECEIVE_PACKETS_DROPPED.encode(page, rows.each(|row| row.totals.receive.dropped))?;
    catalog::CONTAINER_TRANSMIT_PACKETS_DROPPED.encode(page, rows.each(|row| row.totals.transmit.dropped))?;

    let infos = Rows::new(rows.iter().map(|row| (interface_info(row), ())));
    catalog::CONTAINER_INTERFACE_INFO.encode(page, infos.each(|()| ()))?;
    Ok(!whole)
}

/// How many series one interface makes.
fn series_of_an_interface() -> usize {
    catalog::ALL
        .iter()
        .filter(|family| family.collector == Collector::Traffic && family.labels.starts_with(Interface::NAMES))
        .count()
}

fn interface(row: &InterfaceRow) -> super::labels::Block<Interface<'static>> {
    let InterfaceRow {
        identity,
        network,
        device,
        totals: _,
    } = row;
    Interface {
        container: &identity.container,
        service: &identity.service,
        stack: &identity.stack,
        network,
        interface: &device.name,
    }
    .block()
}

fn interface_info(row: &InterfaceRow) -> super::labels::Block<InterfaceInfo<'static>> {
    let InterfaceRow {
        identity,
        network,
        device,
        totals: _,
    } = row;
    let mac = device.mac.map(|mac| mac.to_string()).unwrap_or_default();
    let (ip_address, ipv6_address) = addresses(device);
    InterfaceInfo {
        container: &identity.container,
        service: &identity.service,
        stack: &identity.stack,
        network,
        interface: &device.name,
        mac_address: &mac,
        ip_address: &ip_address,
        ipv6_address: &ipv6_address,
        mtu: &device.mtu.to_string(),
        kind: kind(device.kind),
    }
    .block()
}

/// The device's addresses, IPv4 and IPv6. Link-local ones, which every IPv6 interface has, come last.
fn addresses(device: &Device) -> (String, String) {
    let (v6, v4): (Vec<_>, Vec<_>) = device.addresses.iter().partition(|address| address.is_ipv6());
    let (local, global): (Vec<_>, Vec<_>) = v6.into_iter().partition(|address| match address {
        std::net::IpAddr::V6(address) => address.is_unicast_link_local(),
        std::net::IpAddr::V4(_) => false,
    });
    (join(v4), join(global.into_iter().chain(local)))
}

const fn kind(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Loopback => "loopback",
        DeviceKind::Veth => "veth",
        DeviceKind::Vxlan => "vxlan",
        DeviceKind::Macvlan => "macvlan",
        DeviceKind::Ipvlan => "ipvlan",
        DeviceKind::Bridge => "bridge",
        DeviceKind::Other => "other",
    }
}
