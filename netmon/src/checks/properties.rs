//! Every check returns, whatever the facts are.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use proptest::prelude::*;

use super::{ALL, look, register::Register, samples};
use crate::model::{
    counters::Directions,
    dns::Resolver,
    facts::{
        Asked, Backend, Balanced, CheckFacts, ContainerFacts, Encryption, Forwarding, Moved, Neighbour, NodeFacts,
        OverlayFacts, Route, Unread,
    },
    interface::{Device, DeviceKind, MacAddress},
    inventory::{self, Container, Identity, Inventory, Network, Pool, Sandbox, Subnet},
    overlay::{Tunnel, TunnelKind},
    peers::{Member, Members, Peer, PeerSource, Peers},
};

/// Few names, so that they meet. One is hostile.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(""),
        Just("shop"),
        Just("ingress"),
        Just("a\"b\n\0"),
        Just("docker_gwbridge")
    ]
    .prop_map(str::to_owned)
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0_u8..4).prop_map(|last| IpAddr::from([10, 0, 0, last])),
        (0_u8..4).prop_map(|last| IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x0a00, u16::from(last)])),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        Just(IpAddr::from([0, 0, 0, 0])),
    ]
}

fn mac() -> impl Strategy<Value = MacAddress> {
    (0_u8..3).prop_map(|last| MacAddress([2, 0, 0, 0, 0, last]))
}

fn device() -> impl Strategy<Value = Device> {
    let kind = prop_oneof![
        Just(DeviceKind::Vxlan),
        Just(DeviceKind::Bridge),
        Just(DeviceKind::Other)
    ];
    let addresses = prop::collection::vec(address(), 0..3);
    let few = || prop::option::of(0_u32..4);
    let mtu = prop_oneof![Just(0), Just(1500), any::<u32>()];
    (
        (0_u32..4, name(), kind, addresses),
        (few(), few(), few()),
        (mtu, any::<bool>(), prop::option::of(mac())),
    )
        .prop_map(
            |((ifindex, name, kind, addresses), (vni, master, peer), (mtu, up, mac))| Device {
                mac,
                addresses,
                mtu,
                vni,
                master,
                peer,
                up,
                ..Device::new(ifindex, name, kind)
            },
        )
}

fn subnet() -> impl Strategy<Value = Subnet> {
    (address(), any::<u8>()).prop_map(|(address, prefix)| Subnet { address, prefix })
}

fn network() -> impl Strategy<Value = Network> {
    let driver = prop_oneof![Just("bridge"), Just("overlay"), Just("macvlan"), Just("")];
    let subnets = prop::collection::vec(subnet(), 0..3);
    (
        name(),
        driver,
        subnets,
        prop::collection::vec(0_u32..4, 0..3),
        any::<[bool; 2]>(),
    )
        .prop_map(|(name, driver, subnets, vnis, [internal, ipv6])| Network {
            internal,
            ipv6,
            vnis,
            subnets,
            ..samples::network(&name, driver, &[])
        })
}

fn members() -> impl Strategy<Value = Members> {
    let member =
        (address(), name(), name(), prop::option::of(address())).prop_map(|(address, container, service, node)| {
            let member = Member {
                container,
                service,
                node,
            };
            (address, member)
        });
    let virtual_ips = prop::collection::vec((name(), address()), 0..3);
    (prop::collection::vec(member, 0..6), virtual_ips, any::<bool>()).prop_map(|(endpoints, virtual_ips, is_cut)| {
        Members {
            virtual_ips: virtual_ips.into_iter().collect(),
            endpoints: endpoints.into_iter().collect(),
            is_cut,
            ..Members::default()
        }
    })
}

fn container() -> impl Strategy<Value = Container> {
    (
        (name(), name(), address(), prop::option::of(mac()), any::<bool>()),
        (
            name(),
            name(),
            name(),
            prop::option::of(name()),
            prop::option::of(any::<u32>()),
        ),
    )
        .prop_map(
            |((container, network, address, mac, running), (service, stack, alias, shares, started))| {
                let mut container = samples::container(&container, running, &[(&network, &address.to_string())]);
                for endpoint in &mut container.endpoints {
                    endpoint.mac = mac;
                    endpoint.aliases = vec![alias.as_str().into()];
                }
                container.identity = Arc::new(Identity {
                    service,
                    stack,
                    ..Identity::clone(&container.identity)
                });
                if let Some(of) = shares {
                    container.sandbox = Sandbox::Shared(of.into());
                }
                container.started = started.map(|at| UNIX_EPOCH + Duration::from_secs(at.into()));
                container
            },
        )
}

fn container_facts() -> impl Strategy<Value = ContainerFacts> {
    let devices = prop::collection::vec((device(), name()), 0..3);
    (devices, prop::option::of(0_u32..4)).prop_map(|(devices, way_out)| ContainerFacts {
        devices: devices
            .into_iter()
            .map(|(device, network)| (Arc::new(device), network.into()))
            .collect(),
        way_out,
    })
}

fn neighbour() -> impl Strategy<Value = Neighbour> {
    (0_u32..4, address(), prop::option::of(mac()), any::<bool>()).prop_map(|(ifindex, address, mac, is_permanent)| {
        Neighbour {
            ifindex,
            address,
            mac,
            is_permanent,
        }
    })
}

fn overlay() -> impl Strategy<Value = OverlayFacts> {
    let forwarding = (0_u32..4, mac(), address()).prop_map(|(ifindex, mac, node)| Forwarding { ifindex, mac, node });
    (
        prop::collection::vec(device(), 0..4),
        prop::collection::vec(forwarding, 0..6),
        prop::collection::vec(neighbour(), 0..6),
    )
        .prop_map(|(devices, forwarding, neighbours)| OverlayFacts {
            devices,
            forwarding,
            neighbours,
        })
}

fn inventory() -> impl Strategy<Value = Inventory> {
    let is_manager = any::<bool>();
    (
        (
            prop::option::of(address()),
            prop::collection::vec((subnet(), any::<u8>()), 0..3),
        ),
        prop::collection::vec((network(), prop::option::of(members())), 0..4),
        prop::collection::vec(container(), 0..4),
        prop::collection::vec((address(), name()), 0..3),
        is_manager,
    )
        .prop_map(|((own, pools), networks, containers, peers, is_manager)| Inventory {
            node: Some(Arc::new(inventory::Node {
                address: own,
                pools: pools.into_iter().map(|(base, size)| Pool { base, size }).collect(),
                ..inventory::Node::default()
            })),
            members: networks
                .iter()
                .map(|(network, members)| (Arc::clone(&network.id), members.clone().map(Arc::new)))
                .collect(),
            networks: networks
                .into_iter()
                .map(|(network, _)| (Arc::clone(&network.id), Arc::new(network)))
                .collect(),
            containers: containers
                .into_iter()
                .map(|it| (Arc::clone(&it.id), Arc::new(it)))
                .collect(),
            peers: Arc::new(Peers {
                source: if is_manager {
                    PeerSource::Manager
                } else {
                    PeerSource::Worker
                },
                nodes: peers
                    .into_iter()
                    .map(|(address, hostname)| {
                        let peer = Peer {
                            hostname: hostname.into(),
                            ..Peer::default()
                        };
                        (address, peer)
                    })
                    .collect(),
            }),
        })
}

fn balanced() -> impl Strategy<Value = Vec<Balanced>> {
    let backend = (address(), 0_u32..3).prop_map(|(address, weight)| Backend { address, weight });
    let service = (any::<u32>(), prop::collection::vec(backend, 0..4));
    let service = service.prop_map(|(mark, backends)| Balanced { mark, backends });
    prop::collection::vec(service, 0..3)
}

fn moved() -> impl Strategy<Value = Moved> {
    let count = || prop_oneof![0_u64..10, Just(u64::MAX)];
    let kind = prop_oneof![
        Just(TunnelKind::Esp),
        (0_u32..4).prop_map(|vni| TunnelKind::Vxlan { vni })
    ];
    let tunnel = (kind, address()).prop_map(|(kind, remote)| Tunnel { kind, remote });
    let directions = (count(), count()).prop_map(|(receive, transmit)| Directions { receive, transmit });
    let reason = prop_oneof![Just("NETFILTER_DROP"), Just("PKT_TOO_BIG"), Just("")].prop_map(Arc::from);
    (
        any::<u32>(),
        prop::collection::btree_map(tunnel, directions, 0..3),
        prop::collection::btree_map((0_u32..4, reason), count(), 0..4),
        prop::collection::vec((name(), any::<bool>(), [count(), count(), count()]), 0..4),
    )
        .prop_map(|(seconds, tunnels, node_drops, asked)| Moved {
            time: Duration::from_secs(seconds.into()),
            tunnels,
            node_drops,
            asked: asked
                .into_iter()
                .map(|(id, is_docker, [answered, unanswered, slow])| {
                    let resolver = if is_docker { Resolver::Docker } else { Resolver::Outside };
                    let asked = Asked {
                        answered,
                        unanswered,
                        servfail: slow,
                        refused: unanswered,
                        slow,
                    };
                    ((Arc::from(id), resolver), asked)
                })
                .collect(),
        })
}

/// Something, or nothing because it could not be read.
fn read<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Result<T, Unread>> {
    prop::option::weighted(0.9, strategy).prop_map(|read| read.ok_or_else(|| Unread("it could not be read".to_owned())))
}

fn facts() -> impl Strategy<Value = CheckFacts> {
    let routes = (subnet(), 0_u32..4, any::<bool>()).prop_map(|(subnet, ifindex, is_link)| Route {
        subnet,
        ifindex,
        is_link,
        is_main: true,
    });
    let node = (
        prop::collection::vec(device(), 0..4),
        prop::option::of(any::<bool>()),
        (prop::option::of(0_u32..4), prop::collection::btree_set(0_u32..4, 0..3)),
        prop::option::of(prop::collection::vec(routes, 0..4)),
        prop::collection::vec(neighbour(), 0..4),
        read(prop::collection::vec((address(), any::<bool>()), 0..3)),
    )
        .prop_map(
            |(devices, forwards, (way_out, underlay), routes, neighbours, encryptions)| NodeFacts {
                devices,
                forwards_ipv4: forwards,
                forwards_ipv6: forwards,
                way_out,
                underlay,
                routes,
                neighbours,
                connections: forwards.map(|it| (u64::from(it), 1)),
                encryptions: encryptions.map(|all| {
                    let of = |(to, has_state)| Encryption { to, has_state };
                    all.into_iter().map(of).collect()
                }),
            },
        );
    let overlays = prop::collection::vec((name(), read(overlay())), 0..3);
    let containers = prop::collection::vec((name(), read(container_facts())), 0..4);
    let balancers = prop::collection::vec((name(), read(prop::option::of(balanced()))), 0..3);
    let rest = (containers, read(moved()), prop::option::of(name()));
    (read(inventory()), read(node), overlays, balancers, rest).prop_map(
        |(engine, node, overlays, balancers, (containers, moved, unseen))| CheckFacts {
            moved,
            unseen: unseen.filter(|it| !it.is_empty()),
            engine: engine.map(Arc::new),
            node,
            overlays: by_name(overlays),
            balancers: by_name(balancers),
            containers: by_name(containers),
        },
    )
}

fn by_name<T>(named: Vec<(String, T)>) -> BTreeMap<Arc<str>, T> {
    named.into_iter().map(|(name, it)| (Arc::from(name), it)).collect()
}

proptest! {
    #[test]
    fn every_check_returns_and_says_what_and_whom(facts in facts()) {
        let looked = look(&facts);
        prop_assert_eq!(looked.len(), ALL.len());
        for looked in &looked {
            let Ok(found) = &looked.outcome else { continue };
            for finding in found {
                prop_assert_eq!(finding.check, looked.definition.name);
                prop_assert!(!finding.evidence.is_empty() && !finding.remedy.is_empty());
                prop_assert!(finding.remedy.contains('`'), "no command: {}", finding.remedy);
            }
        }
        let now = std::time::Instant::now();
        let (report, _) = Register::default().take_in(looked, now, std::time::SystemTime::UNIX_EPOCH);
        prop_assert_eq!(report.checks.len(), ALL.len());
    }
}

#[test]
fn checks_without_facts_say_that_they_could_not_look() {
    let unread = || Unread("nothing was read".to_owned());
    let facts = CheckFacts {
        engine: Err(unread()),
        node: Err(unread()),
        overlays: BTreeMap::new(),
        balancers: BTreeMap::new(),
        containers: BTreeMap::new(),
        moved: Err(unread()),
        unseen: None,
    };
    // What keeps netmon from seeing is known without them.
    for looked in look(&facts)
        .into_iter()
        .filter(|it| it.definition.name.as_str() != "sight")
    {
        assert!(
            looked.outcome.is_err(),
            "{} looked at nothing",
            looked.definition.name.as_str()
        );
    }
}
