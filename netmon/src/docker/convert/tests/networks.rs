//! Networks and nodes as engines describe them.

use serde_json::json;

use super::read;
use crate::{
    docker::{
        convert::{network, node},
        wire::{self, List},
    },
    model::inventory::{Network, Node, Pool, Subnet},
};

const NETWORKS_20: &str = include_str!("../samples/20.10-networks.json");
const NETWORKS_28: &str = include_str!("../samples/28-networks.json");

fn sample(json: &str, name: &str) -> Network {
    let List { items, skipped }: List<wire::Network> = read(json);
    assert_eq!(skipped, [""; 0]);
    let one = items.into_iter().find(|one| one.name == name);
    network(one.expect("the sample has it")).expect("it has an id")
}

/// A minimal description of a network, with these options.
fn with_options(options: &serde_json::Value) -> Network {
    let described = json!({ "Id": "n1", "Name": "net", "Options": options });
    network(serde_json::from_value(described).expect("a network")).expect("it has an id")
}

fn subnet(text: &str) -> Subnet {
    text.parse().expect("a subnet")
}

#[test]
fn an_overlay_of_a_stack_is_read_whole() {
    let expected = Network {
        id: "y66y328oa23vc7r1ehlh6r2gk".into(),
        name: "demo_front".to_owned(),
        driver: "overlay".to_owned(),
        scope: "swarm".to_owned(),
        attachable: true,
        vnis: vec![4097],
        subnets: vec![subnet("10.0.1.0/24")],
        stack: "demo".to_owned(),
        ..Network::default()
    };
    assert_eq!(sample(NETWORKS_20, "demo_front"), expected);
    let new = sample(NETWORKS_28, "demo_front");
    let expected = Network {
        id: new.id.clone(),
        vnis: vec![4099],
        subnets: vec![subnet("10.0.3.0/24")],
        ..expected
    };
    assert_eq!(new, expected);
}

#[test]
fn every_network_of_a_real_list_is_read() {
    for (engine, json) in [("20.10", NETWORKS_20), ("28", NETWORKS_28)] {
        let List { items, skipped }: List<wire::Network> = read(json);
        assert_eq!((items.len(), skipped.len()), (12, 0), "{engine}");
        assert!(items.into_iter().all(|item| network(item).is_some()), "{engine}");
    }
}

#[test]
fn the_networks_that_docker_makes_for_itself_are_told_apart() {
    for (engine, json) in [("20.10", NETWORKS_20), ("28", NETWORKS_28)] {
        let ingress = sample(json, "ingress");
        assert_eq!((&*ingress.driver, &*ingress.scope), ("overlay", "swarm"), "{engine}");
        assert!(ingress.ingress && !ingress.attachable && !ingress.internal, "{engine}");
        assert_eq!(
            (ingress.vnis, ingress.subnets),
            (vec![4096], vec![subnet("10.0.0.0/24")])
        );
        let gateway = sample(json, "docker_gwbridge");
        assert_eq!((&*gateway.driver, &*gateway.scope), ("bridge", "local"), "{engine}");
        assert!(!gateway.ingress, "{engine}");
        assert_eq!(gateway.subnets, [subnet("172.18.0.0/16")]);
        assert_eq!(sample(json, "bridge").mtu, Some(1500), "{engine}");
    }
}

#[test]
fn networks_without_addresses_have_no_subnets_written_as_an_empty_list_or_as_none() {
    for json in [NETWORKS_20, NETWORKS_28] {
        let (host, none) = (sample(json, "host"), sample(json, "none"));
        assert_eq!((&*host.driver, &*none.driver), ("host", "null"));
        assert_eq!((host.subnets, none.subnets), (vec![], vec![]));
    }
}

#[test]
fn switches_and_the_mtu_are_read_where_they_were_set() {
    for json in [NETWORKS_20, NETWORKS_28] {
        let internal = sample(json, "demo_back");
        assert!(internal.internal && !internal.attachable && !internal.encrypted);
        assert!(sample(json, "brint").internal);
        let six = sample(json, "br6");
        assert!(six.ipv6 && !six.internal);
        assert_eq!(six.mtu, Some(1400));
        assert!(six.subnets.contains(&subnet("fd00:db8:1::/64")));
        assert_eq!(six.subnets.len(), 2);
        let plain = sample(json, "br1");
        assert!(!plain.ipv6 && !plain.internal);
        assert_eq!((plain.mtu, plain.vnis, &*plain.stack), (None, vec![], ""));
        assert_eq!(sample(json, "mv1").driver, "macvlan");
    }
}

#[test]
fn encryption_is_on_if_the_option_is_there_and_does_not_say_otherwise() {
    for on in ["", "true", "1", "yes"] {
        assert!(with_options(&json!({ "encrypted": on })).encrypted, "{on:?}");
    }
    for off in ["false", "False", "0"] {
        assert!(!with_options(&json!({ "encrypted": off })).encrypted, "{off:?}");
    }
    assert!(!with_options(&json!({})).encrypted);
    assert!(!with_options(&json!(null)).encrypted);
}

#[test]
fn an_mtu_that_is_no_number_or_left_to_the_driver_is_none() {
    for none in ["", "0", "-1", "9000 bytes", "99999999999"] {
        let network = with_options(&json!({ "com.docker.network.driver.mtu": none }));
        assert_eq!(network.mtu, None, "{none:?}");
    }
}

#[test]
fn an_overlay_has_one_network_identifier_for_each_subnet() {
    let vnis = |list: &str| with_options(&json!({ "com.docker.network.driver.overlay.vxlanid_list": list })).vnis;
    assert_eq!(vnis("4097,4098"), [4097, 4098]);
    assert_eq!(vnis("4097, 4098,"), [4097, 4098]);
    assert_eq!(vnis("16777215,16777216,x,-1,99999999999"), [16_777_215]);
    assert_eq!(vnis(""), [0; 0]);
}

#[test]
fn a_compose_network_belongs_to_its_project_and_a_stacks_to_its_stack() {
    let stack = |labels: serde_json::Value| {
        let described = json!({ "Id": "n1", "Name": "net", "Labels": labels });
        let described = serde_json::from_value(described).expect("a network");
        network(described).expect("it has an id").stack
    };
    assert_eq!(stack(json!({ "com.docker.compose.project": "shop" })), "shop");
    let both = json!({ "com.docker.compose.project": "shop", "com.docker.stack.namespace": "live" });
    assert_eq!(stack(both), "live");
    assert_eq!(stack(json!(null)), "");
}

#[test]
fn a_subnet_that_is_none_does_not_cost_the_others() {
    let described = json!({ "Id": "n1", "Name": "net", "IPAM": { "Config": [
        { "Subnet": "10.0.0.0/99" }, { "Gateway": "10.0.0.1" }, { "Subnet": "10.1.0.0/16" },
    ] } });
    let network = network(serde_json::from_value(described).expect("a network")).expect("it has an id");
    assert_eq!(network.subnets, [subnet("10.1.0.0/16")]);
}

fn sampled_node(json: &str) -> Node {
    node(&read(json))
}

#[test]
fn a_manager_and_a_worker_are_told_apart() {
    let expected = |hostname: &str, node_id: &str, role: &str, engine: &str| Node {
        hostname: hostname.to_owned(),
        node_id: node_id.to_owned(),
        address: Some(
            if hostname == "n1" { "10.94.0.11" } else { "10.94.0.12" }
                .parse()
                .expect("an address"),
        ),
        role: role.to_owned(),
        engine_version: engine.to_owned(),
        kernel_version: "6.18.44-fc-v669".to_owned(),
        ..Node::default()
    };
    assert_eq!(
        sampled_node(include_str!("../samples/20.10-info-manager.json")),
        expected("n1", "3vbnvsjui39kv3wr0ktoygybq", "manager", "20.10.24+dfsg1")
    );
    assert_eq!(
        sampled_node(include_str!("../samples/20.10-info-worker.json")),
        expected("n2", "vdpc5hmlzye21v2nbgoxkmn8n", "worker", "20.10.24+dfsg1")
    );
    assert_eq!(
        sampled_node(include_str!("../samples/28-info-manager.json")),
        expected("n1", "4gs9yc45awl0indxrqo9mxzrn", "manager", "28.5.2+dfsg4")
    );
    assert_eq!(
        sampled_node(include_str!("../samples/28-info-worker.json")),
        expected("n2", "zdt1qp3itqz7ccoik5c5ysf7p", "worker", "28.5.2+dfsg4")
    );
}

#[test]
fn configured_pools_are_kept_and_nonsense_is_left_out() {
    let pools = [
        json!({ "Base": "10.10.0.0/16", "Size": 24 }),
        json!({ "Base": "nonsense", "Size": 24 }),
    ];
    let info = json!({ "Name": "n", "DefaultAddressPools": pools });
    let pool = Pool {
        base: subnet("10.10.0.0/16"),
        size: 24,
    };
    assert_eq!(sampled_node(&info.to_string()).pools, [pool]);
    assert!(
        sampled_node(r#"{ "Name": "n", "DefaultAddressPools": null }"#)
            .pools
            .is_empty()
    );
}

#[test]
fn a_network_without_a_gateway_leads_nowhere() {
    let of = |options: &serde_json::Value| {
        let network = Network {
            driver: "bridge".to_owned(),
            ..with_options(options)
        };
        network.leads_out()
    };
    assert!(of(&json!({})));
    assert!(of(&json!({ "com.docker.network.bridge.inhibit_ipv4": "false" })));
    assert!(!of(&json!({ "com.docker.network.bridge.inhibit_ipv4": "true" })));
    assert!(!of(
        &json!({ "com.docker.network.bridge.gateway_mode_ipv4": "isolated" })
    ));
    assert!(of(&json!({ "com.docker.network.bridge.gateway_mode_ipv4": "nat" })));
}

#[test]
fn outside_a_swarm_a_node_has_neither_id_nor_role() {
    let expected = Node {
        hostname: "alone".to_owned(),
        ..Node::default()
    };
    for json in [
        r#"{"Name":"alone"}"#,
        r#"{"Name":"alone","Swarm":null}"#,
        r#"{"Name":"alone","Swarm":{"NodeID":"","LocalNodeState":"inactive","ControlAvailable":false}}"#,
    ] {
        assert_eq!(sampled_node(json), expected, "{json}");
    }
}
