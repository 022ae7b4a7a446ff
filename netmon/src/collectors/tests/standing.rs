//! Two namespaces with the same labels: all collectors show the same one.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    collectors::{buffers, drops, sockets, tcp, traffic, vxlan},
    model::{
        buffers::Queue,
        counters::{DeviceCounters, Directions},
        drops::{Drop, Drops},
        interface::{Device, DeviceKind, InterfaceId, NetnsId},
        inventory::{Container, Endpoint, Identity, Inventory, Network, Sandbox},
        netns::{Listing, NetnsFile, Role},
        protocols::{Losses, Protocols},
    },
    observe::state::{Counts, Scope, State},
};

const ETH0: u32 = 7;
const VXLAN: u32 = 3;

/// A container's namespace, and that of an overlay network.
struct Pair {
    container: NetnsFile,
    overlay: NetnsFile,
}

impl Pair {
    fn new(letter: &str) -> Self {
        let file = |name: String| NetnsFile {
            role: Role::of(&name),
            path: PathBuf::from(format!("/netns/{name}")),
            inode: 1,
        };
        Self {
            container: file(letter.repeat(12)),
            overlay: file(format!("1-{}", letter.repeat(10))),
        }
    }

    /// What the engine says of them: always the same names.
    fn inventory(&self) -> Arc<Inventory> {
        let name = |file: &NetnsFile| file.path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let (sandbox, overlay) = (name(&self.container), name(&self.overlay));
        let sandbox = sandbox.expect("a name");
        let id = format!("{}00000", overlay.expect("a name").trim_start_matches("1-"));
        let network = Network {
            id: id.as_str().into(),
            name: "mesh".into(),
            driver: "overlay".into(),
            ..Network::default()
        };
        let container = Container {
            id: sandbox.as_str().into(),
            identity: Arc::new(Identity {
                container: "web".to_owned(),
                ..Identity::default()
            }),
            image: String::new(),
            task_id: String::new(),
            task_slot: String::new(),
            network_mode: String::new(),
            sandbox: Sandbox::Own(self.container.path.clone()),
            endpoints: vec![Endpoint {
                network: id.as_str().into(),
                network_name: "mesh".to_owned(),
                mac: None,
                addresses: vec!["10.0.1.5".parse().expect("an address")],
                ..Endpoint::default()
            }],
            started: None,
            running: true,
        };
        Arc::new(Inventory {
            node: None,
            containers: [(sandbox.as_str().into(), Arc::new(container))].into(),
            networks: [(id.as_str().into(), Arc::new(network))].into(),
            peers: Arc::default(),
            members: [].into(),
        })
    }
}

/// A registry with two pairs, the first one of which was seen before the other. Each counted its own cookie.
fn two(cookies: [(u64, u64); 2], now: Instant) -> (State, [Pair; 2]) {
    let scope = Scope {
        containers: true,
        vxlan: true,
    };
    let mut state = State::new(scope, Duration::from_mins(1));
    let pairs = [Pair::new("a"), Pair::new("b")];
    state.listed(Listing::default(), now);
    for (pair, (container, overlay)) in pairs.iter().zip(cookies) {
        let eth0 = Device {
            addresses: vec!["10.0.1.5".parse().expect("an address")],
            up: true,
            ..Device::new(ETH0, "eth0".to_owned(), DeviceKind::Veth)
        };
        let tunnel = Device::new(VXLAN, "vxlan0".to_owned(), DeviceKind::Vxlan);
        state.looked(&pair.container, NetnsId(container), vec![eth0], now);
        state.looked(&pair.overlay, NetnsId(overlay), vec![tunnel], now);
        state.set_inventory(pair.inventory());
        for netns in [container, overlay] {
            count(&mut state, NetnsId(netns));
        }
    }
    (state, pairs)
}

/// Counts as much as the namespace's cookie.
fn count(state: &mut State, netns: NetnsId) {
    let counters = DeviceCounters {
        packets: netns.0,
        bytes: netns.0,
        ..DeviceCounters::default()
    };
    let counters = Directions {
        receive: counters,
        transmit: counters,
    };
    let opening = state.open_reading(netns).expect("an interface");
    let devices = state.interfaces_of(netns).map(|(ifindex, interface)| {
        interface.queue = Some(Queue {
            kind: "fq".to_owned(),
            drops: u32::try_from(netns.0).unwrap_or(0),
            ..Queue::default()
        });
        (ifindex, counters)
    });
    let devices: Vec<_> = devices.collect();
    state.close_reading(&opening, &Counts::default(), &devices, &Counts::default());
    let losses = Losses {
        tcp_listen_drops: netns.0,
        ..Losses::default()
    };
    state.counted(
        netns,
        Protocols {
            losses,
            ..Protocols::default()
        },
    );
    state.set_conntrack_entries(netns, Some(netns.0));
}

/// What each collector shows of the container, and what of the network.
fn shown(state: &mut State, now: Instant) -> ([Vec<u64>; 6], [Vec<u64>; 2]) {
    let buffers = buffers::facts::rows(state);
    let traffic = traffic::facts::rows(state);
    let vxlan = vxlan::facts::rows(state);
    let sockets = sockets::facts::rows(state);
    let tcp = tcp::facts::passed(state).containers;
    let namespaces: Vec<_> = state
        .namespaces()
        .keys()
        .copied()
        .chain(state.ended().map(|it| it.id.netns))
        .collect();
    let drop = |netns: NetnsId| Drop {
        interface: InterfaceId { netns, ifindex: 0 },
        reason: 5,
        unplaced: false,
        packets: netns.0,
    };
    let dropped = Drops {
        counted: namespaces.into_iter().map(drop).collect(),
        ..Drops::default()
    };
    let dropped = drops::facts::rows(&dropped, &mut drops::facts::Retired::default(), state, now, |_| {
        String::new()
    });
    let of_container = [
        traffic.iter().map(|row| row.totals.receive.packets).collect(),
        buffers.queues.iter().map(|row| row.queue.drops.into()).collect(),
        buffers
            .containers
            .iter()
            .filter_map(|(_, it)| it.conntrack_entries)
            .collect(),
        sockets
            .containers
            .iter()
            .map(|(_, losses)| losses.tcp_listen_drops)
            .collect(),
        tcp.iter().map(|(_, netns)| netns.0).collect(),
        dropped.containers.iter().map(|(_, row)| row.packets).collect(),
    ];
    let of_network = [
        vxlan.iter().map(|row| row.totals.receive.packets).collect(),
        dropped.overlays.iter().map(|row| row.packets).collect(),
    ];
    (of_container, of_network)
}

/// Whatever the cookies are: each CPU allocates them from a batch of its own.
const COOKIES: [[(u64, u64); 2]; 2] = [[(100, 101), (200, 201)], [(200, 201), (100, 101)]];

#[test]
fn of_two_living_namespaces_with_the_same_labels_the_one_seen_last_is_shown_by_all() {
    for cookies in COOKIES {
        let now = Instant::now();
        let (mut state, _) = two(cookies, now);
        let [_, (container, overlay)] = cookies;
        let (of_container, of_network) = shown(&mut state, now);
        for (at, its) in of_container.into_iter().enumerate() {
            assert_eq!(its, [container], "{at}: {cookies:?}");
        }
        for (at, its) in of_network.into_iter().enumerate() {
            assert_eq!(its, [overlay], "{at}: {cookies:?}");
        }
    }
}

#[test]
fn a_device_that_is_gone_from_the_namespace_that_stands_is_shown_rather_than_anothers() {
    for cookies in COOKIES {
        let now = Instant::now();
        let (mut state, [_, last]) = two(cookies, now);
        let [_, (container, _)] = cookies;
        state.looked(&last.container, NetnsId(container), Vec::new(), now);
        let ([traffic, queues, ..], _) = shown(&mut state, now);
        assert_eq!((traffic, queues), (vec![container], vec![]), "{cookies:?}");
    }
}

#[test]
fn of_two_namespaces_that_end_at_once_the_one_seen_last_is_shown_by_all() {
    for cookies in COOKIES {
        let now = Instant::now();
        let (mut state, _) = two(cookies, now);
        let [_, (container, overlay)] = cookies;
        state.listed(Listing::default(), now);
        let ([traffic, _, conntrack, sockets, tcp, drops], of_network) = shown(&mut state, now);
        for its in [traffic, conntrack, sockets, tcp, drops] {
            assert_eq!(its, [container], "{cookies:?}");
        }
        for its in of_network {
            assert_eq!(its, [overlay], "{cookies:?}");
        }
    }
}
