//! Tests of the check of subnets.

use super::{anew, look};
use crate::{
    checks::samples::{container, device, facts, network, node},
    model::{facts::Route, finding::Severity, inventory::Network},
};

fn found(networks: &[(&str, &str, &str)], own: &[&str]) -> Vec<(String, String)> {
    let networks = networks
        .iter()
        .map(|(name, driver, subnet)| network(name, driver, &[subnet]));
    let mut facts = facts(networks.collect::<Vec<_>>(), []);
    facts.node = Ok(node(|node| node.devices = vec![device("eth0", own)]));
    let found = look(&facts).expect("it can look").into_iter();
    found
        .map(|it| (it.subject.network.to_string(), it.subject.item.to_string()))
        .collect()
}

fn pair(network: &str, item: &str) -> (String, String) {
    (network.to_owned(), item.to_owned())
}

#[test]
fn subnets_that_overlap_are_found_once() {
    let found = found(
        &[
            ("b", "overlay", "10.0.0.0/16"),
            ("a", "bridge", "10.0.1.0/24"),
            ("c", "bridge", "10.1.0.0/24"),
        ],
        &["192.168.1.2"],
    );
    assert_eq!(found, [pair("a", "b")]);
}

#[test]
fn the_nodes_own_address_in_an_overlay_is_found() {
    let overlay = [("shop", "overlay", "10.94.0.0/16")];
    assert_eq!(found(&overlay, &["10.94.0.13"]), [pair("shop", "10.94.0.13")]);
    assert!(found(&overlay, &["10.95.0.13"]).is_empty());
}

#[test]
fn a_route_that_leads_elsewhere_is_found_and_one_by_its_bridge_is_none() {
    let with = |driver: &str, route: &str, by: u32| {
        let networks = [network("front", driver, &["10.20.0.0/16"])];
        let mut facts = facts(networks, [container("web", true, &[("front", "10.20.0.2")])]);
        let address = if driver == "bridge" { "10.20.0.1" } else { "10.30.0.1" };
        let mut bridge = device("br-front", &[address]);
        bridge.ifindex = 3;
        facts.node = Ok(node(|node| {
            node.devices = vec![device("tun0", &["10.8.0.2"]), bridge];
            node.routes = Some(vec![Route {
                subnet: route.parse().expect("a subnet"),
                ifindex: by,
                is_link: false,
                is_main: true,
            }]);
        }));
        let found = look(&facts).expect("it can look").into_iter();
        found
            .map(|it| (it.severity, it.subject.item.to_string()))
            .collect::<Vec<_>>()
    };
    let found = |severity, item: &str| vec![(severity, item.to_owned())];
    assert_eq!(
        with("bridge", "10.20.4.0/24", 2),
        found(Severity::Critical, "10.20.4.0/24")
    );
    assert_eq!(
        with("overlay", "10.20.4.0/24", 2),
        found(Severity::Warning, "10.20.4.0/24")
    );
    assert_eq!(with("bridge", "10.16.0.0/12", 2), []);
    assert_eq!(with("bridge", "10.20.0.0/16", 3), []);
    assert_eq!(with("bridge", "0.0.0.0/0", 2), []);
    assert_eq!(with("bridge", "10.21.0.0/16", 2), []);
}

#[test]
fn the_nodes_own_address_in_a_bridge_networks_subnet_is_found() {
    let with = |used| {
        let mut facts = facts(
            [network("front", "bridge", &["172.18.0.0/16"])],
            [container("web", used, &[("front", "172.18.0.2")])],
        );
        let mut bridge = device("br-front", &["172.18.0.1"]);
        bridge.ifindex = 3;
        facts.node = Ok(node(|node| {
            node.devices = vec![device("eth0", &["172.18.4.4"]), bridge];
        }));
        let found = look(&facts).expect("it can look").into_iter();
        found
            .map(|it| (it.severity, it.subject.item.to_string()))
            .collect::<Vec<_>>()
    };
    assert_eq!(with(true), [(Severity::Warning, "172.18.4.4".to_owned())]);
    assert_eq!(with(false), [(Severity::Info, "172.18.4.4".to_owned())]);
}

#[test]
fn a_container_on_an_overlay_is_on_the_gateway_bridge_too() {
    let severity = |internal| {
        let shop = Network {
            internal,
            ..network("shop", "overlay", &["172.18.0.0/16"])
        };
        let networks = [shop, network("docker_gwbridge", "bridge", &["172.18.0.0/16"])];
        let found = look(&facts(networks, [container("web", true, &[("shop", "172.18.0.2")])])).expect("it can look");
        found[0].severity
    };
    assert_eq!(severity(false), Severity::Warning);
    assert_eq!(severity(true), Severity::Info);
}

#[test]
fn the_networks_that_the_engine_makes_are_made_anew_in_their_own_ways() {
    let ingress = Network {
        ingress: true,
        ..network("ingress", "overlay", &[])
    };
    assert!(anew(&ingress).contains("--ingress"));
    assert!(anew(&network("bridge", "bridge", &[])).contains("`bip`"));
    assert!(anew(&network("docker_gwbridge", "bridge", &[])).contains("Drain"));
}

#[test]
fn a_bridge_has_an_address_of_its_network_and_macvlan_shares_the_sites() {
    assert!(found(&[("a", "bridge", "172.18.0.0/16")], &["172.18.0.1"]).is_empty());
    assert!(found(&[("lan", "macvlan", "192.168.1.0/24")], &["192.168.1.2"]).is_empty());
}
