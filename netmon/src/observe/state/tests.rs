//! Tests of the registry with made-up events.

mod late;
mod readings;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Number, Owner, Scope, State,
    lifecycle::{DEVICES_PER_NAMESPACE, LINGERING_PER_NAMESPACE},
};
use crate::model::{
    counters::{DeviceCounters, Directions},
    health::AttachFailure,
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
                strays: 0
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
    let devices = devices.collect();
    state.close_reading(&opening, &HashMap::new(), &devices, &HashMap::new());
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
        .chain(state.ended().map(|ended| ended.totals.receive.packets))
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
fn what_the_kernel_says_at_a_devices_end_is_its_last_value() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    state.on_device_change(netns, &news(false, false, counters(15)));
    state.on_device_change(netns, &news(true, false, counters(17)));
    state.looked(&file, netns, Vec::new(), now);
    assert_eq!(packets(&state), [17]);
    assert_eq!(state.interfaces().count(), 0);
}

#[test]
fn what_was_heard_of_a_device_that_went_up_again_is_not_its_last_value() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    state.on_device_change(netns, &news(false, false, counters(15)));
    state.on_device_change(netns, &news(false, true, counters(15)));
    read(&mut state, netns, counters(20));
    state.looked(&file, netns, Vec::new(), now);
    assert_eq!(packets(&state), [20]);
}

#[test]
fn a_device_that_came_and_went_between_two_looks_is_counted() {
    let now = Instant::now();
    let (mut state, file, netns) = empty_container(now);
    let mac = MacAddress([2, 0x42, 0, 0, 0, 5]);
    state.set_inventory(inventory_with("web.1", "aaaaaaaaaaaa", Some(mac)));
    for (gone, up, sent) in [(false, true, 0), (false, false, 5), (true, false, 5)] {
        let mut change = news(gone, up, counters(sent));
        change.device.mac = Some(mac);
        hear(&mut state, &change);
    }
    state.looked(&file, netns, Vec::new(), now);
    assert_eq!(packets(&state), [5]);
    assert_eq!(state.interfaces().count(), 0);
    let service = state.services().into_values().next();
    assert_eq!(
        service.map(|sum| sum.transmit.packets),
        Some(5),
        "its container is known"
    );
}

/// The first look came between the device's creation and its configuration, and the container ended before the next
/// look.
#[test]
fn a_device_that_got_its_address_after_the_only_look_is_on_its_network() {
    let now = Instant::now();
    let (mut state, file, netns) = empty_container(now);
    let mac = MacAddress([2, 0x42, 0, 0, 0, 5]);
    state.set_inventory(inventory_with("web.1", "aaaaaaaaaaaa", Some(mac)));
    let early = Device::new(ETH0, "veth1234567".to_owned(), DeviceKind::Veth);
    state.looked(&file, netns, vec![early], now);
    state.name();
    for (name, gone, up, sent) in [
        ("eth0", false, true, 0),
        ("eth0", false, false, 5),
        ("veth1234567", false, false, 5),
        ("veth1234567", true, false, 5),
    ] {
        let mut change = news(gone, up, counters(sent));
        name.clone_into(&mut change.device.name);
        change.device.mac = Some(mac);
        hear(&mut state, &change);
    }
    state.looked(&file, netns, Vec::new(), now);
    let ended = state.ended().next().expect("one that ended");
    assert_eq!((ended.device.name.as_str(), ended.is_own()), ("eth0", false));
    let service = state.services().into_iter().next();
    let sum = service.map(|(key, sum)| (key.network.to_string(), sum.transmit.packets));
    assert_eq!(sum, Some(("front".to_owned(), 5)));
}

#[test]
fn of_a_device_that_was_only_heard_of_in_its_end_its_last_value_is_known() {
    let now = Instant::now();
    let (mut state, file, netns) = empty_container(now);
    hear(&mut state, &news(true, false, counters(5)));
    assert_eq!(packets(&state), [5]);
    state.looked(&file, netns, Vec::new(), now);
    assert_eq!(packets(&state), [5]);
}

#[test]
fn late_news_of_a_device_that_was_found_gone_is_not_another_device() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    let since = now;
    state.numbered(netns, Number { nsid: NSID, since });
    state.looked(&file, netns, Vec::new(), now);
    hear(&mut state, &news(false, true, counters(11)));
    hear(&mut state, &news(false, false, counters(12)));
    hear(&mut state, &news(true, false, counters(12)));
    assert_eq!(packets(&state), [12], "but its last value");
    hear(&mut state, &news(true, false, counters(3)));
    assert_eq!(packets(&state), [12]);
    let recent = state.ended().next().map(|ended| ended.recent.transmit.packets);
    assert_eq!(recent, Some(2), "of it since netmon came");
}

#[test]
fn news_from_before_a_namespace_had_its_number_makes_no_device_there() {
    let before = Instant::now();
    let (mut state, ..) = empty_container(before + Duration::from_millis(1));
    let change = DeviceChange {
        after: before,
        ..news(true, false, counters(5))
    };
    hear(&mut state, &change);
    assert_eq!(packets(&state), [0_u64; 0]);
}

#[test]
fn a_number_that_two_had_is_the_ones_who_had_it_when_the_news_was_made() {
    let begin = Instant::now();
    let (mut state, _, older) = empty_container(begin);
    let (younger, later) = (NetnsId(90), begin + Duration::from_secs(1));
    state.looked(&file("bbbbbbbbbbbb", 2), younger, Vec::new(), later);
    let since = later;
    state.numbered(younger, Number { nsid: NSID, since });
    let at = |milliseconds| begin + Duration::from_millis(milliseconds);
    assert_eq!(state.namespace_by_number(NSID, at(999)), Some(older));
    assert_eq!(state.namespace_by_number(NSID, at(1001)), Some(younger));
    assert_eq!(state.namespace_by_number(NSID + 1, at(1001)), None);
}

#[test]
fn a_look_tells_more_of_a_device_than_news_did() {
    let now = Instant::now();
    let (mut state, file, netns) = empty_container(now);
    let mut change = news(false, true, counters(0));
    "veth1234567".clone_into(&mut change.device.name);
    hear(&mut state, &change);
    "eth0".clone_into(&mut change.device.name);
    hear(&mut state, &change);
    let described = |state: &State| state.interfaces().next().map(|it| Device::clone(&it.device));
    assert_eq!(described(&state).as_ref(), Some(&change.device), "by the last news");
    let device = device(ETH0, "eth0");
    state.looked(&file, netns, vec![device.clone()], now);
    hear(&mut state, &change);
    assert_eq!(described(&state), Some(device), "news has no addresses");
}

#[test]
fn devices_that_are_only_heard_of_are_no_more_than_others() {
    let (mut state, ..) = empty_container(Instant::now());
    for ifindex in 0..1_000 {
        let mut change = news(false, true, counters(1));
        change.device.ifindex = ifindex;
        hear(&mut state, &change);
    }
    assert_eq!(packets(&state).len(), DEVICES_PER_NAMESPACE);
}

#[test]
fn news_that_may_have_been_overtaken_is_forgotten() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    state.on_device_change(netns, &news(false, false, counters(15)));
    state.on_overrun();
    read(&mut state, netns, counters(20));
    state.looked(&file, netns, Vec::new(), now);
    assert_eq!(packets(&state), [20]);
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
            strays: 0,
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
fn a_container_cannot_crowd_out_others_with_devices_of_its_own_making() {
    let now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    let devices = (1..2000)
        .map(|ifindex| device(ifindex, &format!("d{ifindex}")))
        .collect();
    state.looked(&file("aaaaaaaaaaaa", 1), NetnsId(100), devices, now);
    assert_eq!(state.interfaces().count(), DEVICES_PER_NAMESPACE);
    assert!(state.attach_health(Instant::now()).failures[&AttachFailure::TooManyDevices] > 0);
}

/// How old an interface has to be to get programs.
const AGE: Duration = Duration::from_secs(1);

#[test]
fn programs_go_to_the_newest_interface_of_a_running_container() {
    let now = Instant::now();
    let (mut state, ..) = one_container(now);
    let id = InterfaceId {
        netns: NetnsId(100),
        ifindex: ETH0,
    };
    let candidate = |state: &State, now| state.candidate(now, AGE).map(|candidate| candidate.id);
    assert_eq!(candidate(&state, now), None, "it is too young");
    assert_eq!(state.next_try(now, AGE), Some(now + AGE));
    assert_eq!(candidate(&state, now + AGE), Some(id));
    let mut starting = Arc::unwrap_or_clone(inventory("web.1", "aaaaaaaaaaaa"));
    for container in starting.containers.values_mut() {
        Arc::make_mut(container).running = false;
    }
    state.set_inventory(Arc::new(starting));
    assert_eq!(candidate(&state, now + AGE), None);
}

#[test]
fn an_interface_that_nobody_owns_gets_no_programs() {
    let now = Instant::now();
    let (mut state, ..) = one_container(now);
    state.looked(&file("cccccccccccc", 3), NetnsId(300), vec![device(ETH0, "eth0")], now);
    state.name();
    assert_eq!(
        state.candidate(now + AGE, AGE).map(|candidate| candidate.id.netns),
        Some(NetnsId(100))
    );
}

/// A device that belongs to no network of the engine.
fn own(ifindex: u32) -> Device {
    Device {
        addresses: Vec::new(),
        ..device(ifindex, &format!("own{ifindex}"))
    }
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
fn the_engines_device_is_watched_behind_thousands_of_the_containers_own() {
    let now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    let (file, netns) = (file("aaaaaaaaaaaa", 1), NetnsId(100));
    state.set_inventory(inventory("web.1", "aaaaaaaaaaaa"));
    let mut devices: Vec<_> = (10..2010).map(own).collect();
    for _ in 0..3 {
        state.looked(&file, netns, devices.clone(), now);
    }
    let refused = |state: &State| state.attach_health(Instant::now()).failures[&AttachFailure::TooManyDevices];
    assert_eq!(refused(&state), 2000 - DEVICES_PER_NAMESPACE as u64, "each once");
    devices.push(device(5000, "eth1"));
    state.looked(&file, netns, devices, now);
    state.name();
    let id = InterfaceId { netns, ifindex: 5000 };
    assert!(state.interface(id).is_some_and(|interface| interface.owner.is_some()));
}

#[test]
fn devices_that_a_container_makes_and_ends_without_end_do_not_linger_without_end() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    for number in 100..5100 {
        state.looked(&file, netns, vec![device(ETH0, "eth0"), own(number)], now);
        state.name();
    }
    assert!(state.ended().count() <= LINGERING_PER_NAMESPACE);
    state.looked(&file, netns, Vec::new(), now);
    assert!(
        state.ended().any(|ended| ended.device.name == "eth0"),
        "the engine's does"
    );
}

#[test]
fn of_a_containers_former_namespaces_the_latest_stands_whatever_its_number() {
    let now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    let list = |state: &mut State, files, now| state.listed(Listing { files, strays: 0 }, now);
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

#[test]
fn namespaces_that_are_none_of_ours_are_forgotten() {
    let now = Instant::now();
    let (mut state, _, netns) = one_container(now);
    let late = now + Duration::from_secs(40);
    for foreign in 1000..3000 {
        let id = |netns| InterfaceId { netns, ifindex: 1 };
        assert!(state.attribution(id(NetnsId(foreign)), now).is_none());
        assert!(state.attribution(id(NetnsId(foreign)), late).is_some());
        state.attribution(id(netns), now);
    }
    state.expire(late);
    state.expire(late + Duration::from_hours(1));
    assert_eq!(state.attributions.len(), 1);
}
