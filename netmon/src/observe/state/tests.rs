//! Tests of the registry with made-up events.

mod beyond;
mod bounds;
mod events;
mod heard;
mod late;
mod loopback;
mod misfits;
mod programs;
mod readings;
mod totals;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Number, Owner, Scope, State};
use crate::model::{
    counters::{DeviceCounters, Directions},
    interface::{Device, DeviceKind, InterfaceId, MacAddress, NetnsId},
    inventory::{Container, Endpoint, Identity, Inventory, Network, Sandbox},
    netns::{DeviceChange, Listing, NetnsFile, Role},
};

const LINGER: Duration = Duration::from_mins(1);
const SCOPE: Scope = Scope {
    containers: true,
    vxlan: true,
};
const ETH0: u32 = 7;
const NSID: i32 = 1;

fn file(name: &str, inode: u64) -> NetnsFile {
    NetnsFile {
        path: PathBuf::from(format!("/netns/{name}")),
        inode,
        role: Role::of(name),
    }
}

fn device(ifindex: u32, name: &str) -> Device {
    Device {
        addresses: vec!["10.0.1.5".parse().expect("an address")],
        up: true,
        ..Device::new(ifindex, name.to_owned(), DeviceKind::Veth)
    }
}

fn counters(packets: u64) -> Directions<DeviceCounters> {
    let counters = DeviceCounters {
        packets,
        bytes: packets * 100,
        ..DeviceCounters::default()
    };
    Directions {
        receive: counters,
        transmit: counters,
    }
}

fn inventory(name: &str, sandbox: &str) -> Arc<Inventory> {
    inventory_with(name, sandbox, None)
}

fn inventory_with(name: &str, sandbox: &str, mac: Option<MacAddress>) -> Arc<Inventory> {
    let network = Network {
        id: "n1".into(),
        name: "front".into(),
        driver: "bridge".into(),
        ..Network::default()
    };
    let identity = Identity {
        container: name.to_owned(),
        service: "web".to_owned(),
        stack: "shop".to_owned(),
    };
    let endpoint = Endpoint {
        network: "n1".into(),
        network_name: "front".to_owned(),
        mac,
        addresses: vec!["10.0.1.5".parse().expect("an address")],
        ..Endpoint::default()
    };
    let container = Container {
        id: sandbox.into(),
        identity: Arc::new(identity),
        image: String::new(),
        task_id: String::new(),
        task_slot: String::new(),
        network_mode: String::new(),
        sandbox: Sandbox::Own(PathBuf::from(format!("/var/run/docker/netns/{sandbox}"))),
        endpoints: vec![endpoint],
        started: None,
        running: true,
    };
    Arc::new(Inventory {
        node: None,
        containers: [(sandbox.into(), Arc::new(container))].into(),
        networks: [("n1".into(), Arc::new(network))].into(),
        peers: Arc::default(),
        members: [].into(),
    })
}

/// A registry with one container's `eth0`, read once.
fn one_container(now: Instant) -> (State, NetnsFile, NetnsId) {
    let mut state = State::new(SCOPE, LINGER);
    let (file, netns) = (file("aaaaaaaaaaaa", 1), NetnsId(100));
    assert_eq!(
        state.listed(
            Listing {
                files: vec![file.clone()],
                ..Listing::default()
            },
            now
        ),
        vec![file.clone()]
    );
    state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
    state.set_inventory(inventory("web.1", "aaaaaaaaaaaa"));
    read(&mut state, netns, counters(10));
    (state, file, netns)
}

fn read(state: &mut State, netns: NetnsId, counters: Directions<DeviceCounters>) {
    let opening = state.open_reading(netns).expect("an interface");
    let devices = state.interfaces_of(netns).map(|(ifindex, _)| (ifindex, counters));
    let devices: Vec<_> = devices.collect();
    state.close_reading(&opening, &super::Counts::default(), &devices, &super::Counts::default());
}

fn news(gone: bool, up: bool, counters: Directions<DeviceCounters>) -> DeviceChange {
    let addresses = Vec::new();
    DeviceChange {
        nsid: Some(NSID),
        after: Instant::now(),
        device: Device {
            addresses,
            up,
            ..device(ETH0, "eth0")
        },
        gone,
        counters: counters.map(Some),
    }
}

/// A registry with a container's namespace that had no device when it was read, and that has had an nsid since.
fn empty_container(since: Instant) -> (State, NetnsFile, NetnsId) {
    let mut state = State::new(SCOPE, LINGER);
    let (file, netns) = (file("aaaaaaaaaaaa", 1), NetnsId(100));
    state.listed(Listing::default(), since);
    state.looked(&file, netns, Vec::new(), since);
    state.numbered(netns, Number { nsid: NSID, since });
    state.set_inventory(inventory("web.1", "aaaaaaaaaaaa"));
    (state, file, netns)
}

/// Takes in a change of a device in the namespace with the nsid, as the loop does.
fn hear(state: &mut State, change: &DeviceChange) {
    let netns = state.namespace_by_number(NSID, change.after).expect("a namespace");
    if !state.on_device_change(netns, change) {
        state.on_new_device(netns, change, Instant::now());
    }
}

fn packets(state: &State) -> Vec<u64> {
    let living = state
        .interfaces()
        .map(|interface| interface.ledger.totals().receive.packets);
    living
        .chain(state.ended().map(|ended| ended.totals().receive.packets))
        .collect()
}

#[test]
fn an_interface_is_named_by_its_namespaces_file_and_its_address() {
    let (state, ..) = one_container(Instant::now());
    let owner = state.interfaces().next().and_then(|interface| interface.owner.clone());
    let Some(Owner::Container { identity, network, .. }) = owner else {
        panic!("nobody owns it")
    };
    assert_eq!((identity.container.as_str(), &*network), ("web.1", "front"));
}

#[test]
fn a_device_on_its_way_out_keeps_the_name_it_had_at_work() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    let renamed = Device {
        up: false,
        addresses: Vec::new(),
        ..device(ETH0, "veth1234567")
    };
    state.looked(&file, netns, vec![renamed], now);
    state.looked(&file, netns, Vec::new(), now);
    assert_eq!(
        state.ended().map(|ended| ended.device.name.clone()).collect::<Vec<_>>(),
        ["eth0"]
    );
}

#[test]
fn another_namespace_on_the_same_file_starts_from_its_own_counters() {
    let now = Instant::now();
    let (mut state, file, _) = one_container(now);
    // The same file, inode and ifindex: only the kernel's cookie differs.
    state.looked(&file, NetnsId(101), vec![device(ETH0, "eth0")], now);
    read(&mut state, NetnsId(101), counters(1));
    assert_eq!(packets(&state), [1, 10]);
}

#[test]
fn a_namespace_whose_file_is_gone_is_closed_with_all_its_interfaces() {
    let now = Instant::now();
    let (mut state, ..) = one_container(now);
    assert!(state.listed(Listing::default(), now).is_empty());
    assert_eq!((state.interfaces().count(), state.ended().count()), (0, 1));
    assert!(state.namespaces().is_empty());
}

#[test]
fn last_values_linger_and_then_are_gone() {
    let now = Instant::now();
    let (mut state, ..) = one_container(now);
    state.listed(Listing::default(), now);
    state.expire(now + LINGER / 2);
    assert_eq!(packets(&state), [10]);
    state.expire(now + LINGER);
    assert!(packets(&state).is_empty());
}

#[test]
fn a_service_keeps_the_sum_of_its_containers_that_are_gone() {
    let now = Instant::now();
    let (mut state, _, older) = one_container(now);
    // The ten packets from before netmon started are not in the sum.
    read(&mut state, older, counters(20));
    let next = file("bbbbbbbbbbbb", 2);
    state.listed(
        Listing {
            files: vec![next.clone()],
            ..Listing::default()
        },
        now,
    );
    state.looked(&next, NetnsId(200), vec![device(ETH0, "eth0")], now);
    state.set_inventory(inventory("web.2", "bbbbbbbbbbbb"));
    read(&mut state, NetnsId(200), counters(5));
    let sums = |state: &State| {
        state
            .services()
            .values()
            .map(|sum| sum.receive.packets)
            .collect::<Vec<_>>()
    };
    assert_eq!(sums(&state), [15]);
    state.expire(now + LINGER);
    assert_eq!(sums(&state), [15]);
    // The service's last container ends. The sum ends, too, once the container has lingered.
    state.set_inventory(Arc::default());
    state.listed(Listing::default(), now + LINGER);
    assert_eq!(sums(&state), [15]);
    state.expire(now + LINGER + LINGER);
    assert!(sums(&state).is_empty());
}

#[test]
fn what_nobody_ever_owned_is_not_lost_without_a_word() {
    let now = Instant::now();
    let (mut state, file, netns) = empty_container(now);
    state.set_inventory(Arc::default());
    state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
    read(&mut state, netns, counters(5));
    state.listed(Listing::default(), now);
    assert_eq!(state.unattributed().receive.packets, 0, "it may still be named");
    state.expire(now + LINGER);
    assert_eq!(state.unattributed().receive.packets, 5);
}

#[test]
fn a_container_that_ended_before_the_engine_told_of_it_gets_its_name_while_it_lingers() {
    let now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    let file = file("aaaaaaaaaaaa", 1);
    state.looked(&file, NetnsId(100), vec![device(ETH0, "eth0")], now);
    state.listed(Listing::default(), now);
    assert!(state.ended().all(|ended| ended.owner.is_none()));
    state.set_inventory(inventory("web.1", "aaaaaaaaaaaa"));
    assert!(state.ended().all(|ended| ended.owner.is_some()));
}

#[test]
fn of_several_devices_with_the_address_that_the_engine_gave_one_is_on_the_network() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    // One of them even has a lower ifindex.
    let devices = vec![device(3, "low"), device(ETH0, "eth0"), device(9, "high")];
    state.looked(&file, netns, devices, now);
    state.name();
    let on_network = |state: &State| -> Vec<u32> {
        let is_on = |owner: &Owner| matches!(owner, Owner::Container { network, .. } if &**network == "front");
        let owner = |id: &InterfaceId| state.interface(*id).and_then(|interface| interface.owner.as_ref());
        let ids = state.interface_ids().filter(|id| owner(id).is_some_and(is_on));
        ids.map(|id| id.ifindex).collect()
    };
    assert_eq!(on_network(&state), [ETH0]);
    state.set_inventory(inventory("web.1", "aaaaaaaaaaaa"));
    assert_eq!(on_network(&state), [ETH0], "and stays so");
}

#[test]
fn to_name_what_was_looked_at_is_to_name_everything() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    state.set_inventory(inventory("web.1", "aaaaaaaaaaaa"));
    let owners = |state: &State| -> Vec<_> { state.interfaces().map(|it| it.owner.clone()).collect() };
    let mut devices = vec![device(ETH0, "eth0")];
    // The container makes a device with the same address, and then one is deleted.
    for ifindex in [ETH0 + 1, ETH0 - 1] {
        devices.push(device(ifindex, "own"));
        state.looked(&file, netns, devices.clone(), now);
        assert!(owners(&state).contains(&None), "the new one has no owner yet");
        state.name_in([netns]);
        let named = owners(&state);
        assert!(!named.contains(&None), "{named:?}");
        state.name();
        assert_eq!(named, owners(&state));
    }
    devices.remove(0);
    state.looked(&file, netns, devices, now);
    state.name_in([netns, NetnsId(99)]);
    let named = owners(&state);
    state.name();
    assert_eq!(named, owners(&state));
}

#[test]
fn of_a_containers_former_namespaces_the_latest_stands_whatever_its_number() {
    let now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    let list = |state: &mut State, files, now| {
        state.listed(
            Listing {
                files,
                ..Listing::default()
            },
            now,
        )
    };
    for (number, netns) in [NetnsId(200), NetnsId(100)].into_iter().enumerate() {
        let now = now + Duration::from_secs(number as u64);
        let sandbox = format!("aaaaaaaaaaa{number}");
        let file = file(&sandbox, 1);
        list(&mut state, vec![file.clone()], now);
        state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
        state.set_inventory(inventory("web.1", &sandbox));
        list(&mut state, Vec::new(), now);
    }
    assert_eq!(state.standing().into_values().collect::<Vec<_>>(), [NetnsId(100)]);
}
