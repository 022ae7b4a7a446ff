//! Other nodes and the containers on them, as engines describe them.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use proptest::prelude::{any, prop, prop_assert, proptest};
use serde_json::{Value, json};

use super::read;
use crate::{
    docker::{
        convert::{
            LONGEST_TEXT, SwarmNode, by_address, members,
            peers::{ID_LENGTH, MOST_BALANCERS, MOST_OF_A_NETWORK},
            swarm_node,
        },
        wire::{self, List},
    },
    model::peers::{Member, Members, Peer},
};

const NODES_20: &str = include_str!("../samples/20.10-nodes.json");
const NODES_28: &str = include_str!("../samples/28-nodes.json");
const VERBOSE_20: &str = include_str!("../samples/20.10-verbose.json");
const VERBOSE_28: &str = include_str!("../samples/28-verbose.json");

fn nodes(json: &str) -> Vec<SwarmNode> {
    let List { items, skipped }: List<wire::SwarmNode> = read(json);
    assert_eq!(skipped, [""; 0]);
    items.into_iter().filter_map(swarm_node).collect()
}

/// The members of a network in a sample, by the network's name.
fn sample(json: &str, name: &str) -> Members {
    let all: Vec<Value> = read(json);
    let one = all
        .into_iter()
        .find(|one| one["Name"] == name)
        .expect("the sample has it");
    let (members, nonsense) = members(serde_json::from_value(one).expect("a network"));
    assert_eq!(nonsense, [""; 0]);
    members
}

fn of_services(services: &Value) -> (Members, Vec<String>) {
    members(read(&json!({ "Id": "n1", "Services": services }).to_string()))
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn member(container: &str, service: &str, node: &str) -> Member {
    Member {
        container: container.to_owned(),
        service: service.to_owned(),
        node: Some(address(node)),
    }
}

#[test]
fn a_manager_names_every_node_by_its_address() {
    for (engine, json) in [("20.10", NODES_20), ("28", NODES_28)] {
        let peers = by_address(&nodes(json), []);
        let names: Vec<_> = peers
            .iter()
            .map(|(address, peer)| (address.to_string(), peer.name().map(ToString::to_string)))
            .collect();
        let expected = [("10.94.0.11", "n1"), ("10.94.0.12", "n2"), ("10.94.0.13", "n3")]
            .map(|(address, name)| (address.to_owned(), Some(name.to_owned())));
        assert_eq!(names, expected, "{engine}");
        assert!(peers.values().all(|peer| peer.node_id.len() == ID_LENGTH), "{engine}");
    }
}

fn node(id: &str, hostname: &str, state: &str, status: &str, manager: Option<&str>) -> SwarmNode {
    let mut json = json!({
        "ID": id, "Description": { "Hostname": hostname }, "Status": { "State": state, "Addr": status },
    });
    if let Some(addr) = manager {
        json["ManagerStatus"] = json!({ "Addr": addr });
    }
    swarm_node(read(&json.to_string())).expect("it has an id")
}

#[test]
fn a_manager_that_listens_everywhere_is_found_by_what_others_call_it() {
    let addresses = [
        node("a", "n1", "ready", "0.0.0.0", Some("10.94.0.11:2377")),
        node("b", "n2", "ready", "::", Some("[fd00::12]:2377")),
        node("c", "n3", "ready", "10.94.0.13", Some("0.0.0.0:2377")),
        node("d", "n4", "unknown", "", None),
        node("e", "n5", "ready", "0.0.0.0", Some("n5:2377")),
    ]
    .map(|node| node.address.map(|address| address.to_string()));
    let expected = [Some("10.94.0.11"), Some("fd00::12"), Some("10.94.0.13"), None, None];
    assert_eq!(addresses, expected.map(|text| text.map(ToOwned::to_owned)));
}

#[test]
fn what_is_left_of_a_former_node_takes_nobodys_name_and_address() {
    let peers = by_address(
        &[
            node("a", "n2", "down", "10.94.0.12", None),
            node("b", "n2", "ready", "10.94.0.12", None),
            node("c", "n3", "down", "10.94.0.99", None),
            node("d", "n3", "ready", "10.94.0.13", None),
        ],
        [],
    );
    assert_eq!(&*peers[&address("10.94.0.12")].node_id, "b");
    let name = |text: &str| peers[&address(text)].name().map(ToString::to_string);
    assert_eq!(name("10.94.0.12"), Some("n2".to_owned()));
    assert_eq!(name("10.94.0.13"), Some("n3".to_owned()));
    assert_eq!(name("10.94.0.99"), None);
}

#[test]
fn nodes_of_one_hostname_have_none_to_be_told_apart_by() {
    let peers = by_address(
        &[
            node("a", "localhost", "ready", "10.94.0.12", None),
            node("b", "localhost", "ready", "10.94.0.13", None),
            node("c", "", "ready", "10.94.0.14", None),
        ],
        [],
    );
    assert_eq!(peers.len(), 3);
    assert!(peers.values().all(|peer| peer.name().is_none()), "{peers:?}");
    assert_eq!(&*peers[&address("10.94.0.12")].hostname, "localhost");
}

#[test]
fn the_address_that_a_nodes_tasks_send_from_is_the_nodes_too() {
    let known = [node("3vbnvsjui39kv3wr0ktoygybq", "n1", "ready", "10.94.0.11", None)];
    let gossip: BTreeMap<IpAddr, Arc<str>> = BTreeMap::from([
        (address("10.95.0.11"), "3vbnvsjui39kv3wr0ktoygybq".into()),
        (address("10.95.0.12"), "vdpc5hmlzye21v2nbgoxkmn8n".into()),
    ]);
    let peers = by_address(&known, &gossip);
    assert_eq!(&*peers[&address("10.95.0.11")].hostname, "n1");
    // A worker does not get the node's name, but it gets the id.
    let unnamed = Peer {
        node_id: "vdpc5hmlzye21v2nbgoxkmn8n".into(),
        ..Peer::default()
    };
    assert_eq!(peers[&address("10.95.0.12")], unnamed);
}

#[test]
fn a_worker_knows_who_is_on_a_network_on_other_nodes() {
    let front = sample(VERBOSE_20, "demo_front");
    assert_eq!(front.endpoints.len(), 8);
    assert_eq!(
        front.endpoints[&address("10.0.1.2")],
        member("demo_web.1.knxn1d22ve9tc0xf6q5txr9zh", "demo_web", "10.94.0.13")
    );
    // Containers outside of a service are members too.
    assert_eq!(
        front.endpoints[&address("10.0.1.11")],
        member("x-multi", "", "10.94.0.11")
    );
    // Traffic to a virtual IP comes from this load balancer's address. This node's other containers are among the
    // tasks.
    let balancer = BTreeMap::from([(address("10.0.1.9"), "lb-demo_front".to_owned())]);
    assert_eq!(front.load_balancers, balancer);
    // `<nil>` is not an address.
    assert_eq!(front.virtual_ips, BTreeMap::new());
    // The names of a global service's tasks contain node ids.
    let ids: Vec<_> = front.nodes.values().map(|id| &**id).collect();
    assert_eq!(
        ids,
        [
            "3vbnvsjui39kv3wr0ktoygybq",
            "vdpc5hmlzye21v2nbgoxkmn8n",
            "zaamjexqiv28iqqixxvhegt85"
        ]
    );
}

#[test]
fn virtual_addresses_are_those_of_services() {
    let one = sample(VERBOSE_28, "ovl1");
    assert_eq!(
        one.virtual_ips,
        BTreeMap::from([("ing".to_owned(), address("10.0.1.5"))])
    );
    assert_eq!(
        one.endpoints[&address("10.0.1.7")],
        member("ing.2.wam9poykoi7q5hkrfklrx0xyk", "ing", "10.94.0.13")
    );
    assert_eq!(one.nodes, BTreeMap::new());
    let mesh = sample(VERBOSE_28, "ingress");
    assert_eq!((mesh.endpoints.len(), mesh.virtual_ips.len()), (3, 1));
    assert!(mesh.load_balancers.values().eq(["ingress-sbox"]));
}

/// Newer engines leave all of these out of the gossip.
#[test]
fn this_nodes_load_balancer_is_once_among_those_of_the_routing_mesh() {
    let mesh = sample(VERBOSE_20, "ingress");
    let balancer = BTreeMap::from([(address("10.0.0.3"), "ingress-sbox".to_owned())]);
    assert_eq!(mesh.load_balancers, balancer);
    let others = BTreeMap::from([
        (address("10.0.0.2"), member("ingress-endpoint", "", "10.94.0.11")),
        (
            address("10.0.0.5"),
            member("shop_db.1.go79ivpzatq1js9vk0o9uc682", "shop_db", "10.94.0.12"),
        ),
    ]);
    assert_eq!(mesh.endpoints, others);
}

#[test]
fn the_network_by_which_containers_leave_has_their_addresses_and_no_load_balancer() {
    let described = json!({
        "Id": "g1",
        "Name": "docker_gwbridge",
        "Containers": {
            "0a0f98433f46430cbf22f63cc0b1825c3b7d4444c5f74f98b6e34dd3c7d8e37c": {
                "Name": "gateway_0a0f98433f46", "IPv4Address": "172.18.0.3/16", "IPv6Address": "",
            },
            "b76d42792aa23488249de1e9b52952e7a27875eb8a21f6ba00056565e96984ff": {
                "Name": "gateway_b76d42792aa2", "IPv4Address": "172.18.0.4/16", "IPv6Address": "fd18::4/64",
            },
            "ingress-sbox": { "Name": "gateway_ingress-sbox", "IPv4Address": "172.18.0.2/16", "IPv6Address": "" },
            "lb-front": 7,
        },
        "Services": null,
    });
    let (members, nonsense) = members(read(&described.to_string()));
    assert_eq!(nonsense, [""; 0]);
    let gateways: Vec<_> = members
        .gateways
        .iter()
        .filter(|(_, id)| id.len() == 64)
        .map(|(address, id)| (address.to_string(), &id[..6]))
        .collect();
    let wanted = [
        ("172.18.0.3", "0a0f98"),
        ("172.18.0.4", "b76d42"),
        ("fd18::4", "b76d42"),
    ];
    assert_eq!(gateways, wanted.map(|(address, id)| (address.to_owned(), id)));
    assert!(members.load_balancers.is_empty() && members.endpoints.is_empty());
}

#[test]
fn one_that_makes_no_sense_does_not_cost_the_others() {
    let (members, nonsense) = of_services(&json!({
        "a": 7,
        "b": { "VIP": 7 },
        "c": { "Tasks": [{ "Name": "c.1.x", "EndpointIP": "10.0.1.3" }, { "Name": 7 }, { "Name": "c.2.x", "EndpointIP": "" }] },
        "d": { "Tasks": null },
    }));
    assert_eq!(members.endpoints.len(), 1);
    assert_eq!(members.endpoints[&address("10.0.1.3")].node, None);
    assert_eq!(nonsense.len(), 4, "{nonsense:?}");
    assert_eq!(of_services(&Value::Null), (Members::default(), Vec::new()));
}

#[test]
fn a_container_of_no_service_cannot_pass_itself_off_as_a_nodes_task() {
    let name = format!("x.{}.{}", "a".repeat(ID_LENGTH), "b".repeat(ID_LENGTH));
    let task = json!([{ "Name": name, "EndpointIP": "10.0.1.3", "Info": { "Host IP": "10.94.0.12" } }]);
    assert_eq!(of_services(&json!({ "": { "Tasks": task } })).0.nodes, BTreeMap::new());
    assert_eq!(of_services(&json!({ "x": { "Tasks": task } })).0.nodes.len(), 1);
}

#[test]
fn a_network_that_is_too_large_is_cut_and_says_so() {
    let task = |number: usize| {
        let address = IpAddr::from([10, 9, number.to_be_bytes()[6], number.to_be_bytes()[7]]);
        json!({ "Name": format!("web.{number}.x"), "EndpointIP": address })
    };
    let tasks: Vec<Value> = (0..=MOST_OF_A_NETWORK).map(task).collect();
    let (whole, _) = of_services(&json!({ "web": { "Tasks": tasks[..MOST_OF_A_NETWORK] } }));
    assert!(!whole.is_cut && whole.endpoints.len() == MOST_OF_A_NETWORK);
    let (cut, _) = of_services(&json!({ "web": { "Tasks": tasks } }));
    assert!(cut.is_cut && cut.endpoints.len() == MOST_OF_A_NETWORK);
}

#[test]
fn load_balancers_beyond_a_bound_are_cut_and_it_says_so() {
    let with = |balancers: usize| {
        let balancer = |number: usize| {
            let balancer = json!({ "IPv4Address": format!("10.0.1.{number}/24") });
            (format!("lb-{number}"), balancer)
        };
        let mut containers: serde_json::Map<_, _> = (1..=balancers).map(balancer).collect();
        containers.insert("lb-without".to_owned(), json!({ "IPv4Address": "" }));
        let (members, nonsense) = members(read(&json!({ "Id": "n1", "Containers": containers }).to_string()));
        assert_eq!(nonsense.len(), 1, "{nonsense:?}");
        (members.load_balancers.len(), members.is_cut)
    };
    assert_eq!(with(MOST_BALANCERS), (MOST_BALANCERS, false));
    assert_eq!(with(MOST_BALANCERS + 1), (MOST_BALANCERS, true));
}

#[test]
fn nodes_beyond_a_bound_are_cut_and_it_says_so() {
    // All tasks claim one address on the network, and each its own node.
    let task = |number: usize| {
        let [.., high, low] = number.to_be_bytes();
        let name = format!("web.{}.{}", "n".repeat(ID_LENGTH), "t".repeat(ID_LENGTH));
        json!({ "Name": name, "EndpointIP": "10.0.1.3", "Info": { "Host IP": IpAddr::from([10, 9, high, low]) } })
    };
    let with = |nodes: usize| {
        let tasks: Vec<_> = (0..nodes).map(task).chain([task(0)]).collect();
        let (members, _) = of_services(&json!({ "web": { "Tasks": tasks } }));
        (members.nodes.len(), members.is_cut)
    };
    assert_eq!(with(MOST_OF_A_NETWORK), (MOST_OF_A_NETWORK, false));
    assert_eq!(with(MOST_OF_A_NETWORK + 1), (MOST_OF_A_NETWORK, true));
}

proptest! {
    #[test]
    fn any_gossip_is_read_and_bounded(
        service in any::<String>(), vip in any::<String>(), name in any::<String>(), address in any::<String>(),
        host in any::<String>(), times in 1..400_usize,
    ) {
        let tasks = json!([{ "Name": name.repeat(times), "EndpointIP": address, "Info": { "Host IP": host } },
            { "Name": name.repeat(times), "EndpointIP": "10.0.0.9", "Info": { "Host IP": host } }]);
        let (members, _) = of_services(&json!({ service.repeat(times): { "VIP": vip, "Tasks": tasks } }));
        prop_assert!(!members.endpoints.is_empty());
        for member in members.endpoints.values() {
            prop_assert!(member.container.len() <= LONGEST_TEXT && member.service.len() <= LONGEST_TEXT);
        }
    }

    #[test]
    fn any_nodes_have_names_that_tell_them_apart(
        nodes in prop::collection::vec(("[ab]", "[nm]{0,1}", any::<bool>(), "10\\.0\\.0\\.[0-3]"), 0..6)
    ) {
        let nodes: Vec<SwarmNode> = nodes
            .iter()
            .map(|(id, name, ready, address)| node(id, name, if *ready { "ready" } else { "down" }, address, None))
            .collect();
        let peers = by_address(&nodes, []);
        for (address, peer) in &peers {
            let namesakes = peers.iter().filter(|(other, it)| *other != address && it.node_id != peer.node_id);
            for (_, other) in namesakes {
                prop_assert!(peer.name().is_none() || peer.name() != other.name(), "{:?}", peers);
            }
        }
    }
}
