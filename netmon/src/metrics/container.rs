//! Containers and their interfaces.

use std::{collections::BTreeMap, fmt};

use super::{
    catalog,
    family::Page,
    info::join,
    labels::{ContainerInfo, Interface, InterfaceInfo, Rows, State},
};
use crate::model::{
    counters::{Directions, Totals},
    interface::{Device, DeviceKind},
    snapshot::{ContainerRow, ContainerState, InterfaceRow},
};

/// Writes the containers' facts and states.
pub(super) fn encode_containers(page: &mut Page<'_>, containers: &[ContainerRow]) -> fmt::Result {
    let count = |state| containers.iter().filter(|row| row.state == state).count();
    let states = Rows::new(ContainerState::ALL.map(|state| (State { state: state.as_str() }.block(), count(state))));
    catalog::CONTAINERS.encode(page, states.each(|count| *count))?;

    let shown = one_of_each_name(containers).filter(|row| row.is_shown);
    let infos = Rows::new(shown.map(|row| (container_info(row), ())));
    catalog::CONTAINER_INFO.encode(page, infos.each(|()| ()))
}

/// A container's name can be reused while an ended container with that name lingers. Queries join with this family by
/// name, and they fail if a name occurs twice. So only the newest container of a name is written.
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
        is_shown: _,
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

/// Writes the interfaces' counts.
pub(super) fn encode_interfaces(page: &mut Page<'_>, interfaces: &[InterfaceRow]) -> fmt::Result {
    let rows = Rows::new(interfaces.iter().map(|row| (interface(row), row)));

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

    // A sum of several interfaces is not a device.
    let devices = rows.iter().filter(|row| row.device.ifindex != 0);
    let infos = Rows::new(devices.map(|row| (interface_info(row), ())));
    catalog::CONTAINER_INTERFACE_INFO.encode(page, infos.each(|()| ()))
}

/// Writes the counts of interfaces without a known owner.
pub(super) fn encode_unattributed(page: &mut Page<'_>, unattributed: Directions<Totals>) -> fmt::Result {
    catalog::UNATTRIBUTED_RECEIVE_PACKETS.encode_value(page, unattributed.receive.packets)?;
    catalog::UNATTRIBUTED_TRANSMIT_PACKETS.encode_value(page, unattributed.transmit.packets)
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

/// The device's IPv4 and IPv6 addresses. Link-local addresses come last, because every IPv6 interface has one.
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
