//! The families of containers' interfaces.

use crate::{
    collectors::{text::join, traffic::facts::InterfaceRow},
    model::{
        counters::{Directions, Totals},
        interface::{Device, DeviceKind},
    },
    page::{
        key::{Key, Word},
        labels::{Block, Unlabelled, key_labels, label_sets},
        limits::{INTERFACE, INTERFACE_FACTS, SHOWN},
        rows::{Rows, schemas},
    },
};

key_labels! {
    /// An interface of a container.
    pub Interface { container, service, stack, network, interface = what }
}

label_sets! {
    /// More facts about an interface.
    pub InterfaceInfo {
        container, service, stack, network, interface, mac_address, ip_address, ipv6_address, mtu, kind,
    }
}

schemas! {
    pub families of super::NAME;
    "Containers" {
        /// An interface of a container.
        INTERFACES(it in Directions<Totals>) by Interface, INTERFACE {
            CONTAINER_RECEIVE_BYTES: Counter, "netmon_container_network_receive" in Bytes,
                it.receive.bytes,
                "Bytes that the container received on the interface. Equal to the interface's own kernel counter.";
            CONTAINER_TRANSMIT_BYTES: Counter, "netmon_container_network_transmit" in Bytes,
                it.transmit.bytes,
                "Bytes that the container sent on the interface. Equal to the interface's own kernel counter.";
            CONTAINER_RECEIVE_PACKETS: Counter, "netmon_container_network_receive_packets",
                it.receive.packets,
                "Packets that the container received on the interface. Equal to the interface's own kernel counter, which counts a GRO super-packet once.";
            CONTAINER_TRANSMIT_PACKETS: Counter, "netmon_container_network_transmit_packets",
                it.transmit.packets,
                "Packets that the container sent on the interface. Equal to the interface's own kernel counter, which counts a GSO super-packet once.";
            CONTAINER_RECEIVE_SEGMENTS: Counter, "netmon_container_network_receive_segments",
                it.receive.segments,
                "Packets that the container received, as they were on the wire. Once kernel programs are attached, a super-packet counts as its segments; before that, as one.";
            CONTAINER_TRANSMIT_SEGMENTS: Counter, "netmon_container_network_transmit_segments",
                it.transmit.segments,
                "Packets that the container sent, as they are on the wire. Once kernel programs are attached, a super-packet counts as its segments; before that, as one.";
            CONTAINER_RECEIVE_ERRORS: Counter, "netmon_container_network_receive_errors",
                it.receive.errors,
                "Receive errors that the interface counted.";
            CONTAINER_TRANSMIT_ERRORS: Counter, "netmon_container_network_transmit_errors",
                it.transmit.errors,
                "Transmit errors that the interface counted.";
            CONTAINER_RECEIVE_PACKETS_DROPPED: Counter, "netmon_container_network_receive_packets_dropped",
                it.receive.dropped,
                "Received packets that the interface counted as dropped.";
            CONTAINER_TRANSMIT_PACKETS_DROPPED: Counter, "netmon_container_network_transmit_packets_dropped",
                it.transmit.dropped,
                "Packets to be sent that the interface counted as dropped.";
        }
        /// Interfaces without a known owner.
        UNATTRIBUTED(it in Directions<Totals>) by Unlabelled, SHOWN {
            UNATTRIBUTED_RECEIVE_PACKETS: Counter, "netmon_unattributed_receive_packets",
                it.receive.packets,
                "Packets received by interfaces that were removed before the engine named their container. No other family has them.";
            UNATTRIBUTED_TRANSMIT_PACKETS: Counter, "netmon_unattributed_transmit_packets",
                it.transmit.packets,
                "Packets sent by interfaces that were removed before the engine named their container. No other family has them.";
        }
        /// Facts about an interface.
        INTERFACE_FACTS_OF(() in ()) by InterfaceInfo, INTERFACE_FACTS {
            CONTAINER_INTERFACE_INFO: Info, "netmon_container_interface",
                (),
                "An interface of a container. A label with several addresses separates them by commas.";
        }
    }
}

/// The rows of a scrape.
pub(crate) fn rows(interfaces: &[InterfaceRow], unattributed: &Directions<Totals>) -> Vec<Rows> {
    let keys: Vec<Key> = interfaces.iter().map(key).collect();
    let facts = keys.iter().cloned().zip(interfaces);
    let facts = facts.map(|(key, row)| (key, interface_info(row), ()));
    let facts = INTERFACE_FACTS_OF.labelled_of(facts);
    vec![
        INTERFACES.rows(keys.into_iter().zip(interfaces.iter().map(|row| &row.totals))),
        UNATTRIBUTED.row(unattributed),
        facts,
    ]
}

fn key(row: &InterfaceRow) -> Key {
    Key::of(&row.identity)
        .on(&row.network)
        .what(Word::told(&row.device.name))
}

fn interface_info(row: &InterfaceRow) -> Block<InterfaceInfo<'static>> {
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
