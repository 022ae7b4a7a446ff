//! Containers as engines 20.10 and 28 describe them, in every network mode and stage of life.

use std::{net::IpAddr, path::PathBuf};

use super::{CONTAINERS_20, CONTAINERS_28, Described, described, endpoints, labelled, named, read, sample, task};
use crate::{
    docker::{
        convert::{Stage, complete},
        wire,
    },
    model::inventory::{Container, Endpoint, Sandbox},
};

fn own(file: &str) -> Sandbox {
    Sandbox::Own(PathBuf::from(format!("/var/run/docker/netns/{file}")))
}

fn running(json: &str, name: &str) -> Container {
    let Described { container, stage, .. } = sample(json, name);
    assert_eq!(stage, Stage::Running, "{name}");
    assert!(container.running, "{name}");
    container
}

/// Network name, hardware address and IP addresses of each endpoint.
fn places(container: &Container) -> Vec<(&str, String, String)> {
    let place = |endpoint: &Endpoint| {
        let addresses: Vec<String> = endpoint.addresses.iter().map(IpAddr::to_string).collect();
        let mac = endpoint.mac.map(|mac| mac.to_string()).unwrap_or_default();
        (mac, addresses.join(" "))
    };
    let named = container.endpoints.iter().map(|endpoint| {
        let (mac, addresses) = place(endpoint);
        (endpoint.network_name.as_str(), mac, addresses)
    });
    named.collect()
}

fn place<'a>(network: &'a str, mac: &str, addresses: &str) -> (&'a str, String, String) {
    (network, mac.to_owned(), addresses.to_owned())
}

#[test]
fn a_container_on_the_default_bridge_has_its_own_sandbox_and_one_place() {
    let old = running(CONTAINERS_20, "x-bridge");
    assert!(old.id.starts_with("0937b6819ece") && old.id.len() == 64);
    assert_eq!(old.identity.container, "x-bridge");
    assert_eq!((&*old.identity.service, &*old.identity.stack), ("", ""));
    assert_eq!(
        (&*old.image, &*old.task_id, &*old.task_slot, &*old.network_mode),
        ("lab/bb:1", "", "", "default")
    );
    assert_eq!(old.sandbox, own("d5dac00e536c"));
    assert_eq!(places(&old), [place("bridge", "02:42:ac:11:00:02", "172.17.0.2")]);

    let new = running(CONTAINERS_28, "x-bridge");
    assert_eq!(new.network_mode, "bridge");
    assert_eq!(new.sandbox, own("7d92af3db6f2"));
    assert_eq!(places(&new), [place("bridge", "4e:08:b4:4d:05:fd", "172.17.0.2")]);
}

#[test]
fn a_container_on_a_network_of_the_users_has_that_networks_name_for_a_mode() {
    let old = running(CONTAINERS_20, "x-ubridge");
    assert_eq!((&*old.network_mode, &old.sandbox), ("br1", &own("f6f66d60af91")));
    assert_eq!(places(&old), [place("br1", "02:42:ac:13:00:02", "172.19.0.2")]);
    let new = running(CONTAINERS_28, "x-ubridge");
    assert_eq!((&*new.network_mode, &new.sandbox), ("br1", &own("55a1b575e6e6")));
    assert_eq!(places(&new), [place("br1", "76:27:0e:2f:60:5c", "172.19.0.2")]);
}

#[test]
fn every_network_of_a_container_is_a_place_of_its_own() {
    assert_eq!(
        places(&running(CONTAINERS_20, "x-multi")),
        [
            place("br1", "02:42:ac:13:00:03", "172.19.0.3"),
            place("br6", "02:42:ac:15:00:03", "172.21.0.3 fd00:db8:1::3"),
            place("bridge", "02:42:ac:11:00:03", "172.17.0.3"),
            place("demo_front", "02:42:0a:00:01:0c", "10.0.1.12"),
            place("ovl1", "02:42:0a:00:03:07", "10.0.3.7"),
        ]
    );
    assert_eq!(
        places(&running(CONTAINERS_28, "x-multi")),
        [
            place("br1", "0e:e9:76:df:db:b0", "172.19.0.3"),
            place("ovl1", "02:42:0a:00:01:0d", "10.0.1.13"),
        ]
    );
}

#[test]
fn networks_are_known_by_their_ids() {
    let container = running(CONTAINERS_28, "x-multi");
    let ids: Vec<&str> = container.endpoints.iter().map(|endpoint| &*endpoint.network).collect();
    let br1 = "dd0c21ba85eedeca49ec364b6bf4fd78f90acc829fdb660f378cf72b3c12a6d4";
    assert_eq!(ids, [br1, "p0axekvpyqlusvf8jpjwqk07l"]);
}

#[test]
fn addresses_of_both_families_belong_to_one_place() {
    let old = running(CONTAINERS_20, "x-six");
    assert_eq!(
        places(&old),
        [place("br6", "02:42:ac:15:00:02", "172.21.0.2 fd00:db8:1::2")]
    );
    let new = running(CONTAINERS_28, "x-six");
    assert_eq!(
        places(&new),
        [place("br6", "ee:69:f4:15:39:46", "172.20.0.2 fd00:db8:1::2")]
    );
}

#[test]
fn a_macvlan_is_a_network_like_any_other() {
    let old = running(CONTAINERS_20, "x-mv");
    assert_eq!(old.sandbox, own("d8f47b8622c8"));
    assert_eq!(places(&old), [place("mv1", "02:42:0a:5e:00:41", "10.94.0.65")]);
    let new = running(CONTAINERS_28, "x-mv");
    assert_eq!(places(&new), [place("mv1", "de:e7:99:a5:41:af", "10.94.0.65")]);
}

#[test]
fn modes_without_a_network_say_whose_interfaces_there_are() {
    for (engine, json) in [("20.10", CONTAINERS_20), ("28", CONTAINERS_28)] {
        let host = running(json, "x-host");
        assert_eq!(host.sandbox, Sandbox::Host, "{engine}");
        assert!(!host.endpoints.iter().any(Endpoint::is_located), "{engine}");
        let none = running(json, "x-none");
        assert_eq!(none.sandbox, Sandbox::Isolated, "{engine}");
        assert!(!none.endpoints.iter().any(Endpoint::is_located), "{engine}");
        let lender = running(json, "x-ubridge");
        let joined = running(json, "x-join");
        assert_eq!(joined.sandbox, Sandbox::Shared(lender.id), "{engine}");
        assert_eq!(joined.endpoints, [], "{engine}");
    }
}

#[test]
fn a_task_on_the_nodes_own_network_is_told_by_the_sandboxs_file() {
    let part = serde_json::json!({
        "HostConfig": { "NetworkMode": "default" },
        "NetworkSettings": { "SandboxKey": "/var/run/docker/netns/default" },
    });
    assert_eq!(described(&part).container.sandbox, Sandbox::Host);
}

#[test]
fn what_was_never_started_has_neither_sandbox_nor_place() {
    for (engine, json) in [("20.10", CONTAINERS_20), ("28", CONTAINERS_28)] {
        let Described { container, stage, .. } = sample(json, "x-created");
        assert_eq!(stage, Stage::NotStarted, "{engine}");
        assert!(!container.running, "{engine}");
        assert_eq!(container.sandbox, Sandbox::Absent, "{engine}");
        assert_eq!(container.endpoints, [], "{engine}");
    }
}

#[test]
fn what_ended_keeps_its_network_without_addresses_and_on_older_engines_its_sandbox() {
    let old = sample(CONTAINERS_20, "x-exited");
    assert_eq!((old.stage, old.container.running), (Stage::Ended, false));
    assert_eq!(old.container.sandbox, own("8468771d23c7"));
    assert_eq!(places(&old.container), [place("br1", "", "")]);
    let new = sample(CONTAINERS_28, "x-exited");
    assert_eq!((new.stage, new.container.running), (Stage::Ended, false));
    assert_eq!(new.container.sandbox, Sandbox::Absent);
    assert_eq!(places(&new.container), [place("br1", "", "")]);
}

#[test]
fn when_a_container_was_started_is_compared_as_a_time() {
    let started = |at: &str| {
        let state = serde_json::json!({ "State": { "Running": true, "StartedAt": at } });
        described(&state).container.started
    };
    // As texts these are in the other order: the engine leaves out zeros at the end.
    let (earlier, later) = (started("2026-11-23T16:17:40.1Z"), started("2026-11-23T16:17:40.12Z"));
    assert!(earlier.is_some() && earlier < later, "{earlier:?}, {later:?}");
    assert_eq!(started("2026-11-23T18:17:40.1+02:00"), earlier);
    for never in ["0001-01-01T00:00:00Z", "", "yesterday", "9999999-01-01T00:00:00Z"] {
        assert_eq!(started(never), None, "{never}");
    }
}

#[test]
fn a_paused_container_runs_and_one_that_waits_for_its_restart_does_not() {
    let stage = |state: serde_json::Value| {
        let Described { container, stage, .. } = described(&serde_json::json!({ "State": state }));
        (stage, container.running)
    };
    let at = "2026-11-23T16:17:40Z";
    let paused = serde_json::json!({ "Status": "paused", "Running": true, "Paused": true, "StartedAt": at });
    assert_eq!(stage(paused), (Stage::Running, true));
    let restarting = serde_json::json!({ "Running": true, "Restarting": true, "StartedAt": at });
    assert_eq!(stage(restarting), (Stage::Restarting, false));
    let silent = serde_json::json!({ "Running": false });
    assert_eq!(stage(silent), (Stage::NotStarted, false));
}

#[test]
fn a_tasks_labels_name_service_stack_slot_and_task() {
    let task = running(CONTAINERS_20, "demo_web");
    assert_eq!(task.identity.container, "demo_web.3.r2wxhwvcfb9n3jot2txseunfj");
    assert_eq!((&*task.identity.service, &*task.identity.stack), ("demo_web", "demo"));
    assert_eq!((&*task.task_id, &*task.task_slot), ("r2wxhwvcfb9n3jot2txseunfj", "3"));
    assert_eq!(task.sandbox, own("e5dd65290b6f"));
    assert_eq!(
        places(&task),
        [
            place("demo_back", "02:42:0a:00:02:05", "10.0.2.5"),
            place("demo_front", "02:42:0a:00:01:04", "10.0.1.4"),
        ]
    );
    let task = running(CONTAINERS_28, "demo_web");
    assert_eq!((&*task.identity.service, &*task.identity.stack), ("demo_web", "demo"));
    assert_eq!((&*task.task_id, &*task.task_slot), ("qylwdwe7bwc1usnjx1wuyhmdr", "2"));
    assert_eq!(task.network_mode, "bridge");
}

#[test]
fn the_slot_of_a_global_services_task_is_its_node_and_dots_belong_to_the_service() {
    let slot = |service: &str, slot: &str| {
        let (name, labels) = task(service, slot, "r2wxhwvcfb9n");
        named(&name, &labels).container.task_slot
    };
    assert_eq!(slot("agent", "vdpc5hmlzye21v2nbgoxkmn8n"), "vdpc5hmlzye21v2nbgoxkmn8n");
    assert_eq!(slot("my.odd.service", "7"), "7");
    for (service, part) in [("", ""), ("web", ""), ("", "7")] {
        assert_eq!(slot(service, part), "", "{service:?} and {part:?} are no task's");
    }
}

/// Service, stack, task and slot.
fn claims(name: &str, labels: &serde_json::Value) -> [String; 4] {
    let container = named(name, labels).container;
    let identity = &container.identity;
    [
        identity.service.clone(),
        identity.stack.clone(),
        container.task_id.clone(),
        container.task_slot.clone(),
    ]
}

#[test]
fn swarms_labels_count_only_on_the_container_that_swarm_made_for_the_task() {
    let (name, mut labels) = task("shop_web", "3", "r2wxhwvcfb9n");
    labels["com.docker.stack.namespace"] = "shop".into();
    assert_eq!(claims(&name, &labels), ["shop_web", "shop", "r2wxhwvcfb9n", "3"]);
    // An image that was committed from the task has its labels.
    for other in [
        "evil",
        "",
        "shop_web.3",
        "shop_web.3.r2wxhwvcfb9n.1",
        "shop_web.4.r2wxhwvcfb9n",
    ] {
        assert_eq!(claims(other, &labels), ["", "", "", ""], "{other:?} is not the task");
    }
    // Labels whose parts contradict each other.
    for part in ["service.name", "task.name", "task.id"] {
        let mut labels = labels.clone();
        labels[format!("com.docker.swarm.{part}")] = "other".into();
        assert_eq!(claims(&name, &labels), ["", "", "", ""], "{part} is another's");
        labels[format!("com.docker.swarm.{part}")] = "".into();
        assert_eq!(claims(&name, &labels), ["", "", "", ""], "{part} is empty");
    }
    // A service outside of the stack whose image was committed from one of the stack's tasks.
    for other in ["debug", "shopping_web", "shop"] {
        let (name, mut labels) = task(other, "1", "p6h2r9y4s1j8");
        labels["com.docker.stack.namespace"] = "shop".into();
        assert_eq!(claims(&name, &labels), [other, "", "p6h2r9y4s1j8", "1"]);
    }
    // The labels of a stack alone, and names that an image may guess.
    let stack = serde_json::json!({ "com.docker.stack.namespace": "shop" });
    assert_eq!(claims("evil", &stack), ["", "", "", ""]);
    let (_, mut labels) = task("web", "1", "x");
    labels["com.docker.swarm.task.name"] = "web".into();
    labels["com.docker.swarm.task.id"] = "web".into();
    assert_eq!(claims("web", &labels), ["", "", "", ""]);
}

#[test]
fn a_container_of_compose_with_anothers_labels_of_swarm_is_composes() {
    let (name, mut labels) = task("shop_web", "3", "r2wxhwvcfb9n");
    labels["com.docker.stack.namespace"] = "shop".into();
    labels["com.docker.compose.service"] = "web".into();
    labels["com.docker.compose.project"] = "trial".into();
    assert_eq!(claims("trial-web-1", &labels), ["web", "trial", "", ""]);
    assert_eq!(claims(&name, &labels), ["shop_web", "shop", "r2wxhwvcfb9n", "3"]);
}

#[test]
fn composes_labels_name_service_and_project() {
    let labels = serde_json::json!({ "com.docker.compose.service": "db", "com.docker.compose.project": "shop" });
    let identity = labelled(&labels).container.identity;
    assert_eq!((&*identity.service, &*identity.stack), ("db", "shop"));
}

#[test]
fn swarms_labels_win_over_composes_and_are_not_mixed_with_them() {
    let (name, mut labels) = task("db_live", "1", "r2wxhwvcfb9n");
    labels["com.docker.compose.service"] = "db".into();
    labels["com.docker.compose.project"] = "shop".into();
    let identity = named(&name, &labels).container.identity;
    assert_eq!((&*identity.service, &*identity.stack), ("db_live", ""));
}

#[test]
fn an_empty_label_is_as_good_as_none() {
    let labels = serde_json::json!({
        "com.docker.compose.service": "db",
        "com.docker.swarm.service.name": "",
        "com.docker.stack.namespace": "",
        "com.docker.swarm.task.id": "",
    });
    let container = labelled(&labels).container;
    assert_eq!((&*container.identity.service, &*container.task_id), ("db", ""));
}

fn listed(name: &str) -> Vec<Endpoint> {
    let list: Vec<serde_json::Value> = read(include_str!("../samples/20.10-list.json"));
    let one = list.into_iter().find(|one| one["Names"][0] == name);
    let summary: wire::Summary = serde_json::from_value(one.expect("the sample has it")).expect("a summary");
    assert!(!summary.id.is_empty());
    endpoints(summary.network_settings.as_ref())
}

#[test]
fn a_list_has_the_same_places_as_the_description() {
    for name in ["x-multi", "x-exited", "x-created", "x-none"] {
        let description = sample(CONTAINERS_20, name).container;
        assert_eq!(listed(&format!("/{name}")), description.endpoints, "{name}");
    }
    assert_eq!(endpoints(None), []);
}

#[test]
fn places_seen_before_complete_a_description_without_any() {
    let seen = listed("/x-multi");
    let mut ended = sample(CONTAINERS_28, "x-exited").container;
    complete(&mut ended, seen.clone());
    assert_eq!(ended.endpoints, seen);
}

#[test]
fn a_description_with_places_of_its_own_is_complete() {
    let mut multi = sample(CONTAINERS_28, "x-multi").container;
    let own = multi.endpoints.clone();
    complete(&mut multi, listed("/x-multi"));
    assert_eq!(multi.endpoints, own);
}

#[test]
fn nothing_seen_before_takes_nothing_away() {
    let mut ended = sample(CONTAINERS_28, "x-exited").container;
    complete(&mut ended, Vec::new());
    assert_eq!(places(&ended), [place("br1", "", "")]);
}
