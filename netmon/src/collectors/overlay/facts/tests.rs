//! Tunnels by network and node, over time.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc, time::Instant};

use super::{OverlayNetworkRow, OverlayRow, PeerRow, forgettable, peers, rows};
use crate::{
    model::{
        counters::Directions,
        interface::{Device, DeviceKind, NetnsId},
        inventory::{Inventory, Network},
        netns::{Listing, NetnsFile, Role},
        overlay::{OuterCounts, Tunnel, TunnelKind, Tunnels},
        peers::{Peer, PeerSource, Peers},
    },
    observe::state::{Scope, State},
};

const LINGER: std::time::Duration = std::time::Duration::from_mins(1);
const FAR: [u8; 4] = [10, 94, 0, 12];
const FURTHER: [u8; 4] = [10, 94, 0, 13];

fn counts(packets: u64) -> Directions<OuterCounts> {
    let one = OuterCounts {
        packets,
        bytes: packets * 150,
    };
    Directions {
        receive: one,
        transmit: one,
    }
}

fn tunnel(kind: TunnelKind, remote: [u8; 4]) -> Tunnel {
    Tunnel {
        kind,
        remote: IpAddr::from(remote),
    }
}

fn tunnels<const N: usize>(all: [(Tunnel, u64); N]) -> Tunnels {
    all.into_iter()
        .map(|(tunnel, packets)| (tunnel, counts(packets)))
        .collect()
}

fn file() -> NetnsFile {
    NetnsFile {
        path: PathBuf::from("/run/docker/netns/1-abcdefghij"),
        inode: 7,
        role: Role::Overlay {
            network: "abcdefghij".to_owned(),
        },
    }
}

/// A node with one overlay network, `shop_front`, with one VNI.
fn node(encrypted: bool, now: Instant) -> State {
    let scope = Scope {
        containers: true,
        vxlan: true,
    };
    let mut state = State::new(scope, LINGER);
    let listing = Listing {
        files: vec![file()],
        ..Listing::default()
    };
    state.listed(listing, now);
    let device = Device {
        mtu: 1450,
        vni: Some(4097),
        vxlan_port: Some(4789),
        up: true,
        ..Device::new(9, "vxlan0".to_owned(), DeviceKind::Vxlan)
    };
    state.looked(&file(), NetnsId(5), vec![device], now);
    let network = Network {
        id: "abcdefghijklmnopqrstuvwxy".into(),
        name: "shop_front".to_owned(),
        driver: "overlay".to_owned(),
        encrypted,
        ..Network::default()
    };
    state.set_inventory(Arc::new(Inventory {
        networks: BTreeMap::from([(Arc::clone(&network.id), Arc::new(network))]),
        peers: Arc::new(Peers {
            source: PeerSource::Worker,
            nodes: BTreeMap::from([(IpAddr::from(FURTHER), peer("n3"))]),
        }),
        ..Inventory::default()
    }));
    state
}

fn peer(hostname: &str) -> Peer {
    Peer {
        hostname: Arc::from(hostname),
        node_id: Arc::from("its id"),
        is_ambiguous: false,
    }
}

const CLEAR: TunnelKind = TunnelKind::Vxlan { vni: 4097 };

fn by_peer(rows: &[OverlayRow]) -> Vec<(&str, u64)> {
    rows.iter()
        .map(|row| (&*row.peer, row.counts.receive.packets))
        .collect()
}

#[test]
fn a_node_that_the_network_sends_to_is_there_from_the_start() {
    let now = Instant::now();
    let mut state = node(false, now);
    state.set_remotes(NetnsId(5), [(9, IpAddr::from(FAR)), (9, IpAddr::from(FURTHER))]);
    let shown = rows(Some(&tunnels([(tunnel(CLEAR, FURTHER), 3)])), &mut state, now);
    assert_eq!(by_peer(&shown.clear), [("10.94.0.12", 0), ("n3", 3)]);
    assert_eq!(shown.encrypted, []);
}

#[test]
fn one_that_only_sends_to_us_is_there_while_it_does_and_for_a_while() {
    let now = Instant::now();
    let mut state = node(false, now);
    let reading = tunnels([(tunnel(CLEAR, FAR), 3)]);
    assert_eq!(
        by_peer(&rows(Some(&reading), &mut state, now).clear),
        [("10.94.0.12", 3)]
    );
    let later = now + LINGER / 2;
    assert_eq!(
        by_peer(&rows(Some(&reading), &mut state, later).clear),
        [("10.94.0.12", 3)]
    );
    assert!(forgettable(&state, later).is_empty());
    let over = now + LINGER;
    assert_eq!(by_peer(&rows(Some(&reading), &mut state, over).clear), []);
    assert_eq!(
        forgettable(&state, over).into_iter().collect::<Vec<_>>(),
        [tunnel(CLEAR, FAR)]
    );
}

#[test]
fn what_is_still_sent_to_is_not_forgotten() {
    let now = Instant::now();
    let mut state = node(false, now);
    state.set_remotes(NetnsId(5), [(9, IpAddr::from(FAR))]);
    let reading = tunnels([(tunnel(CLEAR, FAR), 3)]);
    rows(Some(&reading), &mut state, now);
    let over = now + LINGER * 5;
    assert_eq!(
        by_peer(&rows(Some(&reading), &mut state, over).clear),
        [("10.94.0.12", 3)]
    );
    assert!(forgettable(&state, over).is_empty());
}

#[test]
fn a_node_is_held_back_until_its_name_is_known() {
    let now = Instant::now();
    let mut state = node(true, now);
    state.set_remotes(NetnsId(5), [(9, IpAddr::from(FAR)), (9, IpAddr::from(FURTHER))]);
    let report = |state: &mut State, source, names: &[([u8; 4], &str)]| {
        let nodes = names.iter().map(|(address, name)| (IpAddr::from(*address), peer(name)));
        let inventory = Inventory {
            peers: Arc::new(Peers {
                source,
                nodes: nodes.collect(),
            }),
            ..Inventory::clone(state.inventory())
        };
        state.set_inventory(Arc::new(inventory));
    };
    let reading = tunnels([(tunnel(CLEAR, FAR), 3)]);
    report(&mut state, PeerSource::Unknown, &[]);
    let shown = rows(Some(&reading), &mut state, now);
    assert_eq!((shown.clear, shown.encrypted), (Vec::new(), Vec::new()));
    report(&mut state, PeerSource::Manager, &[(FAR, "n2"), (FURTHER, "n3")]);
    let shown = rows(Some(&reading), &mut state, now);
    assert_eq!(by_peer(&shown.clear), [("n2", 3), ("n3", 0)]);
    assert_eq!(shown.encrypted.len(), 2);
    // After a demotion the node knows no names any more. Names that were in use stay.
    report(&mut state, PeerSource::Worker, &[]);
    let shown = rows(Some(&reading), &mut state, now);
    assert_eq!(by_peer(&shown.clear), [("n2", 3), ("n3", 0)]);
}

#[test]
fn the_nodes_that_are_shown_are_told_of() {
    let now = Instant::now();
    let mut state = node(false, now);
    state.set_remotes(NetnsId(5), [(9, IpAddr::from(FAR)), (9, IpAddr::from(FURTHER))]);
    rows(Some(&tunnels([])), &mut state, now);
    let row = |peer: &str, address, hostname: &str, node_id: &str| PeerRow {
        peer: peer.into(),
        address: IpAddr::from(address),
        hostname: hostname.into(),
        node_id: node_id.into(),
    };
    let expected = [row("10.94.0.12", FAR, "", ""), row("n3", FURTHER, "n3", "its id")];
    assert_eq!(peers(&mut state), expected);
    state.set_remotes(NetnsId(5), []);
    rows(Some(&tunnels([])), &mut state, now);
    assert_eq!(peers(&mut state), []);
}

#[test]
fn how_large_packets_may_be_needs_no_programs() {
    let now = Instant::now();
    for (encrypted, overhead_bytes) in [(false, 50), (true, 78)] {
        let mut state = node(encrypted, now);
        let shown = rows(None, &mut state, now);
        let expected = OverlayNetworkRow {
            network: "shop_front".into(),
            mtu_bytes: 1450,
            overhead_bytes,
        };
        assert_eq!(shown.networks, [expected]);
    }
}

#[test]
fn other_networks_of_the_wire_are_nobodys() {
    let now = Instant::now();
    let mut state = node(false, now);
    let foreign = TunnelKind::Vxlan { vni: 99 };
    let shown = rows(Some(&tunnels([(tunnel(foreign, FAR), 3)])), &mut state, now);
    assert_eq!(by_peer(&shown.clear), []);
}

#[test]
fn of_an_encrypted_network_the_clear_is_marked_and_the_encrypted_counted_by_node() {
    let now = Instant::now();
    let mut state = node(true, now);
    state.set_remotes(NetnsId(5), [(9, IpAddr::from(FAR))]);
    let reading = tunnels([
        (tunnel(CLEAR, FAR), 1),
        (tunnel(TunnelKind::Esp, FAR), 40),
        // Another tunnel of the node, which belongs to no network of Docker.
        (tunnel(TunnelKind::Esp, [192, 0, 2, 1]), 7),
    ]);
    let shown = rows(Some(&reading), &mut state, now);
    assert!(shown.clear.iter().all(|row| row.must_be_encrypted));
    assert_eq!(by_peer(&shown.clear), [("10.94.0.12", 1)]);
    let encrypted: Vec<_> = shown
        .encrypted
        .iter()
        .map(|row| (&*row.peer, row.counts.transmit.packets))
        .collect();
    assert_eq!(encrypted, [("10.94.0.12", 40)]);
}
