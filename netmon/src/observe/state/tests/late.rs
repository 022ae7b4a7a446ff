//! What becomes known late or changes: names that arrive late, the node's namespace on another file, messages that
//! may be about another device.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ETH0, LINGER, NSID, SCOPE, counters, device, empty_container, inventory, news, one_container, packets, read,
    readings::attach,
};
use crate::{
    model::{
        interface::{Device, DeviceKind, InterfaceId, MacAddress, NetnsId},
        inventory::{Container, Identity, Inventory},
        netns::{DeviceChange, Listing, NetnsFile, Role},
        place::{Attribution, Cause, Place},
        tcp::sockets::Purpose,
        times::Times,
    },
    observe::state::{Number, State, lifecycle::PARTED},
};

/// Longer than netmon waits for a name.
const LONG: Duration = Duration::from_secs(40);

/// Whether the sockets of this namespace have to be counted.
fn lacks_sockets(state: &State, file: &NetnsFile, netns: NetnsId) -> bool {
    state.sockets_purpose(file, netns) == Some(Purpose::Correction)
}

fn container(attribution: Option<Attribution>) -> Option<(String, Arc<str>)> {
    match attribution? {
        Attribution::In {
            place: Place::Container { identity },
            network,
        } => Some((identity.container.clone(), network)),
        Attribution::In { .. } | Attribution::Nowhere(_) => None,
    }
}

fn listing(file: &NetnsFile) -> Listing {
    Listing {
        files: vec![file.clone()],
        ..Listing::default()
    }
}

#[test]
fn what_was_nobodys_for_want_of_a_name_is_the_containers_when_it_has_one() {
    let begin = Instant::now();
    let (mut state, file, netns) = one_container(begin);
    let mut unnamed = State::new(SCOPE, LINGER);
    unnamed.listed(listing(&file), begin);
    unnamed.looked(&file, netns, vec![device(ETH0, "eth0")], begin);
    let id = InterfaceId { netns, ifindex: ETH0 };
    assert_eq!(unnamed.attribution(id, begin), None);
    assert_eq!(
        unnamed.attribution(id, begin + LONG),
        Some(Attribution::Nowhere(Cause::Unnamed))
    );
    unnamed.set_inventory(inventory("web.1", "aaaaaaaaaaaa"));
    let front = Some(("web.1".to_owned(), Arc::from("front")));
    assert_eq!(container(unnamed.attribution(id, begin + LONG)), front);

    // The same if the directory was not visible for so long that the namespace seemed foreign.
    let foreign = InterfaceId {
        netns: NetnsId(7),
        ifindex: ETH0,
    };
    state.attribution(foreign, begin);
    let nowhere = Some(Attribution::Nowhere(Cause::ForeignNamespace));
    assert_eq!(state.attribution(foreign, begin + LONG), nowhere);
    state.looked(
        &super::file("bbbbbbbbbbbb", 2),
        NetnsId(7),
        vec![device(ETH0, "eth0")],
        begin,
    );
    assert_eq!(state.attribution(foreign, begin + LONG), nowhere);
    state.set_inventory(inventory("web.2", "bbbbbbbbbbbb"));
    let front = Some(("web.2".to_owned(), Arc::from("front")));
    assert_eq!(container(state.attribution(foreign, begin + LONG)), front);
}

#[test]
fn what_was_decided_goes_with_a_container_that_gets_another_name() {
    let now = Instant::now();
    let (mut state, _, netns) = one_container(now);
    let id = InterfaceId { netns, ifindex: ETH0 };
    let name = |state: &mut State| container(state.attribution(id, now)).map(|(name, _)| name);
    assert_eq!(name(&mut state).as_deref(), Some("web.1"));
    let mut renamed: Inventory = (*inventory("web.1", "aaaaaaaaaaaa")).clone();
    for container in renamed.containers.values_mut() {
        let identity = Identity {
            container: "web-old".to_owned(),
            ..(*container.identity).clone()
        };
        *container = Arc::new(Container {
            identity: Arc::new(identity),
            ..(**container).clone()
        });
    }
    state.set_inventory(Arc::new(renamed));
    assert_eq!(name(&mut state).as_deref(), Some("web-old"));
}

#[test]
fn the_nodes_namespace_stays_what_it_is_when_the_engine_mounts_it() {
    let now = Instant::now();
    let node = |path: &str| NetnsFile {
        path: PathBuf::from(path),
        inode: 5,
        role: Role::Node,
    };
    let (own, engines) = (node("/proc/self/ns/net"), node("/netns/default"));
    let mut state = State::new(SCOPE, LINGER);
    state.listed(listing(&own), now);
    state.looked(&own, NetnsId(1), Vec::new(), now);
    for file in [&engines, &own, &engines] {
        assert!(state.listed(listing(file), now).is_empty(), "it needs no new look");
        assert_eq!(state.node().map(|(_, node)| &node.file), Some(file));
    }
    // The same after it was taken for deleted.
    state.listed(Listing::default(), now);
    assert!(state.node().is_none());
    state.looked(&own, NetnsId(1), Vec::new(), now);
    assert_eq!(state.node().map(|(_, node)| &node.file), Some(&own));
}

#[test]
fn segments_that_passed_a_network_stay_its_own_when_the_container_has_left_it() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    attach(&mut state, netns, 1, 1_000);
    state.looked(&file, netns, Vec::new(), now);
    state.looked(&file, netns, vec![device(ETH0 + 1, "eth0")], now);
    let passed = |state: &State| {
        let sandbox = state.namespaces()[&netns].sandbox().expect("a container's");
        sandbox.passed_before.get("front").copied()
    };
    assert_eq!(passed(&state), None);
    state.expire(now + LINGER);
    assert_eq!((state.ended().count(), passed(&state)), (0, Some(1_000)));
}

#[test]
fn an_interface_that_was_refused_programs_and_went_down_is_waited_for_and_not_for_its_time() {
    let now = Instant::now();
    let (mut state, _, netns) = one_container(now);
    let id = InterfaceId { netns, ifindex: ETH0 };
    let interface = state.interfaces.get_mut(&id).expect("an interface");
    interface.fail(&Times::default(), now);
    let retry_at = interface.retry_at().expect("a time");
    Arc::make_mut(&mut interface.device).up = false;
    assert_eq!(state.next_try(now, Duration::ZERO), Some(retry_at));
    assert_eq!(state.candidate(retry_at, Duration::ZERO), None);
    assert_eq!(state.next_try(retry_at, Duration::ZERO), None);
}

#[test]
fn news_of_one_that_had_the_number_before_is_not_believed_of_a_device_that_has_another_address() {
    let begin = Instant::now();
    let (mut state, _, netns) = one_container(begin);
    let since = begin + Duration::from_secs(1);
    state.numbered(netns, Number { nsid: NSID, since });
    let addressed = |mac: &str, change: DeviceChange, after| DeviceChange {
        after,
        device: Device {
            mac: mac.parse::<MacAddress>().ok(),
            ..change.device
        },
        ..change
    };
    let (own, others) = ("02:42:0a:00:01:05", "02:42:0a:00:01:06");
    state.on_device_change(netns, &addressed(own, news(false, true, counters(10)), since));
    // The other device's final counters (500) were sent before this namespace had the nsid. This device's own were
    // sent after it.
    state.on_device_change(netns, &addressed(others, news(true, false, counters(500)), begin));
    state.on_device_change(netns, &addressed(own, news(true, false, counters(12)), begin));
    state.listed(Listing::default(), since);
    assert_eq!(packets(&state), [12]);

    // A device without an owner may have had no hardware address when it was read.
    let (mut state, file, netns) = empty_container(begin);
    state.set_inventory(Arc::default());
    state.looked(&file, netns, vec![device(ETH0, "eth0")], begin);
    state.numbered(netns, Number { nsid: NSID + 1, since });
    state.on_device_change(netns, &addressed(own, news(true, false, counters(3)), begin));
    state.listed(Listing::default(), since);
    assert_eq!(packets(&state), [3]);
}

#[test]
fn of_more_namespaces_than_are_remembered_the_first_that_ended_is_forgotten_whatever_its_cookie() {
    let begin = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    state.listed(Listing::default(), begin);
    // The one that ends first, one more than are remembered, and the one with the lowest cookie, which ends last.
    let first = NetnsId(3 * PARTED as u64);
    let others = (0..PARTED as u64 - 1).map(|number| NetnsId(PARTED as u64 + number));
    let last = NetnsId(1);
    let cookies: Vec<_> = [first].into_iter().chain(others).chain([last]).collect();
    let mut now = begin;
    for netns in &cookies {
        let file = super::file(&format!("{:012x}", netns.0), netns.0);
        state.listed(listing(&file), now);
        state.looked(&file, *netns, Vec::new(), now);
        now += Duration::from_millis(1);
        state.listed(Listing::default(), now);
    }
    // All at once, as after a time without a look.
    state.expire(now + LINGER);
    let is_remembered = |netns: NetnsId| lacks_sockets(&state, &super::file("cccccccccccc", 1), netns);
    assert!(is_remembered(last), "the last to end is forgotten");
    assert!(!is_remembered(first), "the first to end is remembered");
    assert!(cookies[1..].iter().all(|netns| is_remembered(*netns)));
    // One that comes back and ends again is the last to have ended.
    let (again, next) = (cookies[1], NetnsId(2));
    for netns in [again, next] {
        let file = super::file(&format!("{:012x}", netns.0), netns.0);
        state.looked(&file, netns, Vec::new(), now);
        state.listed(Listing::default(), now);
        now += LINGER;
        state.expire(now);
    }
    let is_remembered = |netns: NetnsId| lacks_sockets(&state, &super::file("cccccccccccc", 1), netns);
    assert_eq!([again, cookies[2], next].map(is_remembered), [true, false, true]);
}

#[test]
fn an_overlay_that_is_made_anew_under_its_former_name_is_not_older_than_netmon() {
    let now = Instant::now();
    let overlay = |inode| super::file("1-abcdef0123", inode);
    let segments = |state: &State, netns| {
        let interface = &state.interfaces[&InterfaceId { netns, ifindex: ETH0 }];
        interface.ledger.totals().receive.segments
    };
    let look = |state: &mut State, inode, netns| {
        state.listed(listing(&overlay(inode)), now);
        let vxlan = Device::new(ETH0, "vxlan0".to_owned(), DeviceKind::Vxlan);
        state.looked(&overlay(inode), netns, vec![vxlan], now);
        read(state, netns, counters(5));
    };
    let mut state = State::new(SCOPE, LINGER);
    look(&mut state, 1, NetnsId(100));
    assert_eq!(segments(&state, NetnsId(100)), 0, "they are from before netmon");
    state.listed(Listing::default(), now);
    look(&mut state, 2, NetnsId(200));
    assert_eq!(segments(&state, NetnsId(200)), 5);

    // The same if no look at the first one succeeded.
    let mut state = State::new(SCOPE, LINGER);
    state.listed(listing(&overlay(1)), now);
    state.listed(Listing::default(), now);
    look(&mut state, 2, NetnsId(200));
    assert_eq!(segments(&state, NetnsId(200)), 5);
    // A sandbox that is not seen for a while is the same: its name is not given again.
    let sandbox = super::file("aaaaaaaaaaaa", 1);
    let mut state = State::new(SCOPE, LINGER);
    state.listed(listing(&sandbox), now);
    state.listed(Listing::default(), now);
    assert!(lacks_sockets(&state, &sandbox, NetnsId(100)));
}

#[test]
fn who_was_there_before_netmon_is_named_before_its_sockets_are_counted() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    assert_eq!(state.awaiting_sockets().next(), None);
    state.await_sockets(netns);
    assert!(lacks_sockets(&state, &file, netns));
    assert_eq!(state.awaiting_sockets().collect::<Vec<_>>(), [netns]);
    // Another file says nothing of this one.
    let mut other = file.clone();
    other.inode += 1;
    state.await_no_sockets(&other);
    assert_eq!(state.awaiting_sockets().next(), Some(netns));
    // The namespace cannot be looked at any more: nobody waits, and a later look may count them.
    state.await_no_sockets(&file);
    assert_eq!(state.awaiting_sockets().next(), None);
    assert!(lacks_sockets(&state, &file, netns));
}
