//! Snapshots for the golden pages.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use netmon_common::tcp::Tcp;

use crate::model::{
    buffers::{Conntrack, ContainerBuffers, Neighbours, NodeBuffers, Queue, Softnet},
    counters::{Directions, Totals},
    interface::{Device, DeviceKind, MacAddress},
    inventory::{Container, Identity, Network, Node, Sandbox},
    overlay::OuterCounts,
    place::Cause,
    protocols::Losses,
    snapshot::{
        AttachFailure, AttachHealth, BufferRows, CollectorRow, ConnectionsRow, ContainerRow, ContainerState,
        DockerHealth, DropRow, DropRows, EncryptedRow, Health, Histogram, HttpHealth, InterfaceRow, LimitHealth,
        MapRow, MemberRow, MemberRows, OverlayNetworkRow, OverlayRow, OverlayRows, PeerRow, ProcessHealth, ProgramRow,
        QueueRow, ServiceRow, Snapshot, SocketRows, TcpRow, UnattributedRow, UnderlayRow, VirtualAddressRow, VxlanRow,
    },
    tcp::{Events, Segments},
};

fn identity(container: &str, service: &str, stack: &str) -> Arc<Identity> {
    Arc::new(Identity {
        container: container.to_owned(),
        service: service.to_owned(),
        stack: stack.to_owned(),
    })
}

fn container(identity: &Arc<Identity>, id: char, network_mode: &str, sandbox: Sandbox) -> Arc<Container> {
    let task = |text: &str| {
        if identity.service.is_empty() {
            String::new()
        } else {
            text.to_owned()
        }
    };
    Arc::new(Container {
        id: String::from(id).repeat(64).into(),
        identity: Arc::clone(identity),
        image: "registry.example/shop/web:1.4@sha256:0123".to_owned(),
        task_id: task("y6k0ncezn0bpeanuwnpc5x5p8"),
        task_slot: task("1"),
        network_mode: network_mode.to_owned(),
        sandbox,
        endpoints: Vec::new(),
        running: true,
    })
}

fn device(name: &str, kind: DeviceKind, addresses: &[&str]) -> Arc<Device> {
    Arc::new(Device {
        mac: Some(MacAddress([0x02, 0x42, 0x0a, 0, 1, 7])),
        addresses: addresses
            .iter()
            .map(|address| address.parse::<IpAddr>().expect("an address"))
            .collect(),
        mtu: 1450,
        up: true,
        ..Device::new(42, name.to_owned(), kind)
    })
}

/// Values that differ in every family.
fn totals(base: u64) -> Directions<Totals> {
    let totals = |base: u64| Totals {
        packets: base + 1,
        bytes: base * 1000,
        segments: base + 2,
        tcp_segments: base + 5,
        errors: base + 3,
        dropped: base + 4,
    };
    Directions {
        receive: totals(base),
        transmit: totals(base + 100),
    }
}

fn interface(identity: &Arc<Identity>, network: &str, name: &str, base: u64) -> InterfaceRow {
    InterfaceRow {
        identity: Arc::clone(identity),
        network: network.into(),
        device: device(
            name,
            DeviceKind::Veth,
            &["fe80::42", "10.0.1.7", "10.0.1.8", "fd00:1::7"],
        ),
        totals: totals(base),
    }
}

/// A bit of everything.
pub(super) fn snapshot() -> Snapshot {
    let web = identity("shop_web.1.y6k0ncezn0bpeanuwnpc5x5p8", "shop_web", "shop");
    let sidecar = identity("sidecar", "", "");
    let hostile = identity(
        "odd",
        "a \"quoted\" \\ service # {x=\"1\"} 2",
        "two\nlines\u{0}and a snow☃man",
    );
    let overlay = Network {
        id: "z1qkbaqjuhvnwcdzy1bnuvbnl".into(),
        name: "shop_front".to_owned(),
        driver: "overlay".to_owned(),
        scope: "swarm".to_owned(),
        attachable: true,
        encrypted: true,
        mtu: Some(1400),
        vnis: vec![4097, 4098],
        subnets: vec![
            "10.0.1.0/24".parse().expect("a subnet"),
            "fd00:1::/64".parse().expect("a subnet"),
        ],
        stack: "shop".to_owned(),
        ..Network::default()
    };
    let bridge = Network {
        id: "b".repeat(64).into(),
        name: "bridge".to_owned(),
        driver: "bridge".to_owned(),
        scope: "local".to_owned(),
        ..Network::default()
    };
    Snapshot {
        is_partial: false,
        node: Some(Arc::new(Node {
            hostname: "node-1".to_owned(),
            node_id: "j1p9ftg5s8d1q1evs8tg3ucrd".to_owned(),
            address: Some([192, 0, 2, 11].into()),
            role: "manager".to_owned(),
            engine_version: "28.5.2".to_owned(),
            kernel_version: "6.12.48+deb13-amd64".to_owned(),
        })),
        containers: vec![
            // The ended container had the same name as the running one.
            ContainerRow {
                container: container(&web, 'a', "default", Sandbox::Absent),
                state: ContainerState::Ended,
                shares_with: None,
            },
            ContainerRow {
                container: container(
                    &web,
                    'b',
                    "default",
                    Sandbox::Own("/var/run/docker/netns/1a2b3c4d5e6f".into()),
                ),
                state: ContainerState::Observed,
                shares_with: None,
            },
            ContainerRow {
                container: container(&sidecar, 'c', "container:bbbb", Sandbox::Shared("b".repeat(64).into())),
                state: ContainerState::Shared,
                shares_with: Some(web.container.clone()),
            },
        ],
        interfaces: vec![
            interface(&web, "shop_front", "eth0", 1000),
            interface(&web, "docker_gwbridge", "eth1", 2000),
            interface(&hostile, "", "eth\\x0a0", 3000),
            // This must not happen. If it does, the first row stays.
            interface(&web, "shop_front", "eth0", 666),
        ],
        unattributed: totals(7000),
        services: vec![ServiceRow {
            service: "shop_web".to_owned(),
            stack: "shop".to_owned(),
            network: "shop_front".into(),
            totals: totals(4000),
        }],
        vxlans: vec![VxlanRow {
            network: "shop_front".into(),
            device: device("vxlan0", DeviceKind::Vxlan, &[]),
            totals: totals(5000),
        }],
        overlay: between_nodes(),
        members: members(),
        drops: drops(&web),
        tcp: tcp(&web),
        connections: vec![ConnectionsRow {
            identity: Arc::clone(&web),
            states: vec![("established", 4), ("listen", 1)],
        }],
        sockets: SocketRows {
            containers: vec![(Arc::clone(&web), losses(1))],
            node: Some(losses(100)),
        },
        buffers: buffers(&web),
        networks: vec![Arc::new(overlay), Arc::new(bridge)],
        health: health(),
    }
}

/// Values that differ in every family.
fn losses(base: u64) -> Losses {
    Losses {
        tcp_listen_overflows: base,
        tcp_listen_drops: base + 1,
        tcp_backlog_drops: base + 2,
        tcp_receive_queue_drops: base + 3,
        tcp_prunes: base + 4,
        udp_receive_buffer_errors: base + 5,
        udp_send_buffer_errors: base + 6,
        udp_checksum_errors: base + 7,
        udp_no_ports: base + 8,
        ip_no_routes: base + 9,
        ip_reassembly_failures: base + 10,
    }
}

/// Values in every queue and table.
fn buffers(web: &Arc<Identity>) -> BufferRows {
    let queue = |kind: &str, drops| Queue {
        kind: kind.to_owned(),
        drops,
        overlimits: drops + 1,
        backlog_bytes: drops + 2,
    };
    BufferRows {
        containers: vec![(
            Arc::clone(web),
            ContainerBuffers {
                conntrack_entries: Some(7),
                listen_backlog_limit: Some(4096),
            },
        )],
        queues: vec![QueueRow {
            identity: Arc::clone(web),
            network: "shop_front".into(),
            interface: "eth0".to_owned(),
            queue: queue("tbf", 10),
        }],
        node: Some(Arc::new(NodeBuffers {
            softnet: Softnet {
                processed: 1000,
                dropped: 1,
                times_squeezed: 2,
            },
            queues: vec![("eth0".to_owned(), queue("fq_codel", 20))],
            conntrack: Some(Conntrack {
                entries: 100,
                limit: 262_144,
                drops: 3,
                early_drops: 4,
                insert_failures: 5,
            }),
            neighbours: vec![Neighbours {
                family: "ipv4",
                entries: 12,
                thresholds: [128, 512, 1024],
                full: 6,
            }],
            tcp_memory_bytes: 4096,
            udp_memory_bytes: 8192,
            sysctls: vec![("net.core.rmem_max", 212_992)],
        })),
    }
}

/// An unencrypted network, and one with unencrypted packets that should be encrypted.
fn between_nodes() -> OverlayRows {
    let counts = |packets: u64| Directions {
        receive: OuterCounts {
            packets,
            bytes: packets * 150,
        },
        transmit: OuterCounts {
            packets: packets / 2,
            bytes: packets * 75,
        },
    };
    let row = |network: &str, peer: &str, must_be_encrypted, packets| OverlayRow {
        network: network.into(),
        peer: peer.into(),
        must_be_encrypted,
        is_stranger: false,
        counts: counts(packets),
    };
    OverlayRows {
        clear: vec![
            row("shop_front", "node-2", false, 400),
            row("shop_secret", "192.0.2.13", true, 2),
        ],
        encrypted: vec![EncryptedRow {
            peer: "192.0.2.13".into(),
            is_stranger: false,
            counts: counts(800),
        }],
        networks: [("shop_front", 1450, 50), ("shop_secret", 1424, 76)]
            .map(|(network, mtu_bytes, overhead_bytes)| OverlayNetworkRow {
                network: network.into(),
                mtu_bytes,
                overhead_bytes,
            })
            .to_vec(),
        underlay: vec![UnderlayRow {
            interface: "ens3".to_owned(),
            mtu_bytes: 1500,
        }],
        peers: [
            ("node-2", [192, 0, 2, 12], "node-2", "zaamjexqiv28iqqixxvhegt85"),
            ("192.0.2.13", [192, 0, 2, 13], "", ""),
        ]
        .map(|(peer, address, hostname, node_id)| PeerRow {
            peer: peer.into(),
            address: address.into(),
            hostname: hostname.into(),
            node_id: node_id.into(),
        })
        .to_vec(),
        xfrm_errors: Some(Arc::new(
            [("XfrmInNoStates", 0), ("XfrmOutNoStates", 3)]
                .map(|(reason, count)| (reason.into(), count))
                .into(),
        )),
    }
}

/// Containers on this node and others, with and without a service, and a service's virtual address.
fn members() -> MemberRows {
    let endpoint = |host, container: &str, service: &str, peer: &str| MemberRow {
        network: "shop_front".into(),
        address: [10, 0, 1, host].into(),
        container: container.to_owned(),
        service: service.to_owned(),
        peer: peer.into(),
    };
    MemberRows {
        endpoints: vec![
            endpoint(7, "shop_web.2.q1", "shop_web", "node-2"),
            endpoint(8, "an \"odd\" one\n", "", "192.0.2.13"),
        ],
        services: vec![VirtualAddressRow {
            network: "shop_front".into(),
            service: "shop_web".to_owned(),
            address: [10, 0, 1, 2].into(),
        }],
        is_whole: true,
        is_cut: false,
    }
}

/// Drops of every kind of owner.
fn drops(web: &Arc<Identity>) -> DropRows {
    let row = |network: &str, reason: &str, packets| DropRow {
        network: network.into(),
        reason: reason.into(),
        packets,
    };
    DropRows {
        containers: vec![
            (Arc::clone(web), row("shop_front", "NETFILTER_DROP", 7)),
            (Arc::clone(web), row("", "NO_SOCKET", 1)),
        ],
        overlays: vec![row("shop_front", "NO_TX_TARGET", 4)],
        load_balancers: vec![row("shop_front", "IP_RPFILTER", 2)],
        node: vec![row("", "PKT_TOO_SMALL", 3), row("bridge", "NETFILTER_DROP", 5)],
        unattributed: vec![UnattributedRow {
            reason: "UDP_CSUM".into(),
            cause: Cause::NoNamespace,
            packets: 6,
        }],
    }
}

/// A container with programs on two networks.
fn tcp(web: &Arc<Identity>) -> Vec<TcpRow> {
    let mut counts = Tcp::ZERO;
    counts.connects = 10;
    counts.accepts = 20;
    counts.failures[1] = 2;
    counts.round_trips[2] = 5;
    counts.round_trips[12] = 1;
    counts.round_trip_microseconds = 702_000;
    let row = |network: &str, sent, events| TcpRow {
        identity: Arc::clone(web),
        network: network.into(),
        segments: Segments {
            sent,
            retransmitted: sent / 100,
            resets_sent: sent / 200,
            resets_received: sent / 400,
        },
        events: Some(events),
    };
    vec![
        row("shop_front", 1000, Events::from(counts)),
        row("", 400, Events::default()),
    ]
}

fn health() -> Health {
    let mut delay = Histogram::new(&[0.001, 0.01, 0.1, 1.0]);
    for milliseconds in [0.5, 20.0, 30.0, 5000.0] {
        delay.observe(Duration::from_secs_f64(milliseconds / 1000.0));
    }
    let program = |program, attach_point| ProgramRow {
        program,
        kind: "sched_cls",
        attach_point,
        mode: "tcx",
        missed_runs: None,
    };
    let of_events = ProgramRow {
        program: "drops",
        kind: "tracing",
        attach_point: "kfree_skb",
        mode: "tp_btf",
        missed_runs: Some(2),
    };
    let collector = |collector, micros, success| CollectorRow {
        collector,
        duration: Duration::from_micros(micros),
        success,
    };
    Health {
        docker: DockerHealth {
            up: true,
            last_sync: Some(1_795_000_000.25),
            events: BTreeMap::from([("container".to_owned(), 12), ("network".to_owned(), 0)]),
            reconnects: 1,
            decode_errors: 0,
        },
        attach: AttachHealth {
            delay,
            waiting: Some(1),
            failures: BTreeMap::from([(AttachFailure::Full, 2), (AttachFailure::Load, 0)]),
        },
        programs: vec![
            program("traffic_ingress", "ingress"),
            program("traffic_egress", "egress"),
            of_events,
        ],
        maps: vec![MapRow {
            map: "TRAFFIC",
            entries: 3,
            max_entries: 4096,
            update_failures: 0,
        }],
        limits: LimitHealth::default(),
        http: HttpHealth {
            connections: 1,
            turned_away: vec![("connections", 0), ("scrapes", 2)],
        },
        collectors: vec![collector("traffic", 1500, true), collector("vxlan", 20, false)],
        workers: vec![
            ("control", Duration::from_millis(1500)),
            ("reader", Duration::from_secs(15)),
        ],
        web_config: Some(true),
        shows_exporter: true,
        process: Some(ProcessHealth {
            cpu_seconds: 1.25,
            resident_memory_bytes: 12_582_912,
            virtual_memory_bytes: 400_000_000,
            open_fds: 23,
            max_fds: Some(1_048_576),
            start_time_seconds: 1_794_999_000.5,
            threads: 3,
            capabilities: vec!["CAP_NET_ADMIN".to_owned(), "CAP_SYS_ADMIN".to_owned()],
        }),
    }
}

/// `containers` containers with two interfaces each.
pub(super) fn crowd(containers: usize) -> Snapshot {
    let names = (0..containers).map(|number| identity(&format!("c{number:05}"), "crowd", ""));
    Snapshot {
        interfaces: names
            .flat_map(|identity| ["eth0", "eth1"].map(|name| interface(&identity, "front", name, 1)))
            .collect(),
        sockets: SocketRows::default(),
        buffers: BufferRows::default(),
        overlay: OverlayRows::default(),
        members: MemberRows::default(),
        drops: DropRows::default(),
        tcp: Vec::new(),
        connections: Vec::new(),
        ..snapshot()
    }
}
