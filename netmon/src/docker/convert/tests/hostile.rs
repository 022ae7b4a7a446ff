//! Answers that no engine should give. The conversion returns something or nothing, and never panics.

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_oneof, proptest};
use serde_json::{Value, json};

use super::{converted, described, labelled, task};
use crate::{
    docker::{
        convert::{
            Change, Described, EVENT_KINDS, LONGEST_ID, LONGEST_TEXT, Stage, VNI_LIMIT, container, endpoints, event,
            id, network, node,
        },
        wire,
    },
    model::inventory::Sandbox,
};

#[test]
fn long_names_that_differ_only_at_the_end_stay_different() {
    let name = |end: char| {
        let part = json!({ "Name": format!("/{}{end}", "x".repeat(300)) });
        described(&part).container.identity.container.clone()
    };
    let (one, other) = (name('1'), name('2'));
    assert_ne!(one, other);
    assert_eq!(one, name('1'), "a name changes from one description to the next");
    for name in [one, other] {
        assert!(name.len() <= LONGEST_TEXT, "{} bytes", name.len());
        assert!(name.starts_with(&"x".repeat(200)), "{name:?}");
    }
}

#[test]
fn a_long_name_is_cut_between_two_characters() {
    let name = |text: String| {
        let described = described(&json!({ "Name": text }));
        described.container.identity.container.clone()
    };
    assert_eq!(name(format!("/{}", "x".repeat(LONGEST_TEXT))), "x".repeat(LONGEST_TEXT));
    let cut = name(format!("/{}", "x".repeat(5_000_000)));
    assert_eq!(cut.len(), LONGEST_TEXT);
    // Each character has three bytes.
    let cut = name("€".repeat(1000));
    let (begin, hash) = cut.split_once('~').expect("a hash");
    assert!(begin.len() > 200 && begin.chars().all(|it| it == '€'), "{begin:?}");
    assert_eq!(hash.len(), 16);
}

#[test]
fn every_text_of_a_container_is_cut() {
    let long = "é".repeat(LONGEST_TEXT);
    let (name, mut labels) = task(&format!("{long}_{long}"), &long, &long);
    labels["com.docker.stack.namespace"] = long.clone().into();
    let part = json!({
        "Name": format!("/{name}"),
        "Config": { "Image": long, "Labels": labels },
        "HostConfig": { "NetworkMode": long },
        "NetworkSettings": { "Networks": { long.clone(): { "NetworkID": "n1" } } },
    });
    let container = described(&part).container;
    let texts = [
        &container.identity.service,
        &container.identity.stack,
        &container.task_id,
        &container.task_slot,
        &container.image,
        &container.network_mode,
        &container.endpoints[0].network_name,
    ];
    for text in texts {
        assert!(text.len() <= LONGEST_TEXT, "{} bytes", text.len());
        assert!(text.starts_with(&"é".repeat(100)), "{text:?}");
    }
}

#[test]
fn what_stands_in_a_name_stays_in_it() {
    let odd = "a\"b\\c\nd\0e{}";
    let identity = labelled(&json!({ "com.docker.compose.service": odd }))
        .container
        .identity;
    assert_eq!(identity.service, odd);
}

const NO_IDS: [&str; 9] = ["", "a/b", "../info", "a b", "a?b", "a%2fb", "a\r\nHost: b", "é", "a.b"];

#[test]
fn an_id_is_plain_text_that_cannot_lead_a_request_elsewhere() {
    for text in NO_IDS {
        assert_eq!(id(text), None, "{text:?} was taken for an id");
    }
    assert_eq!(id(&"a".repeat(LONGEST_ID + 1)), None);
    for text in [
        "a",
        "c0ffee",
        "y66y328oa23vc7r1ehlh6r2gk",
        "A-b_9",
        &"f".repeat(LONGEST_ID),
    ] {
        assert_eq!(id(text).as_deref(), Some(text));
    }
}

#[test]
fn what_has_no_id_is_left_out() {
    for text in NO_IDS {
        assert!(converted(&json!({ "Id": text })).is_none(), "{text:?}");
        let nameless: wire::Network = serde_json::from_value(json!({ "Id": text, "Name": "net" })).expect("a network");
        assert_eq!(network(nameless), None, "{text:?}");
        let part = json!({ "NetworkSettings": { "Networks": {
            "bad": { "NetworkID": text, "MacAddress": "02:42:ac:11:00:02" },
            "good": { "NetworkID": "n1" },
            "none": null,
        } } });
        let endpoints = described(&part).container.endpoints;
        let names: Vec<_> = endpoints.iter().map(|endpoint| &*endpoint.network_name).collect();
        assert_eq!(names, ["good"], "{text:?}");
        let part = json!({ "HostConfig": { "NetworkMode": format!("container:{text}") } });
        assert_eq!(described(&part).container.sandbox, Sandbox::Absent, "{text:?}");
    }
}

#[test]
fn an_event_about_what_cannot_be_an_id_is_about_nothing() {
    for text in NO_IDS {
        for (kind, action) in [("container", "start"), ("container", "die"), ("network", "connect")] {
            let actor = json!({ "ID": text, "Attributes": { "container": text } });
            let line = json!({ "Type": kind, "Action": action, "Actor": actor });
            let line: wire::Event = serde_json::from_value(line).expect("an event");
            assert_eq!(event(&line).change, Change::Nothing, "{text:?}");
        }
    }
    for actor in [
        json!(null),
        json!({}),
        json!({ "Attributes": null }),
        json!({ "Attributes": {} }),
    ] {
        for (kind, action) in [("container", "start"), ("network", "disconnect")] {
            let line = json!({ "Type": kind, "Action": action, "Actor": actor });
            let line: wire::Event = serde_json::from_value(line).expect("an event");
            assert_eq!(event(&line).change, Change::Nothing, "{actor}");
        }
    }
}

#[test]
fn kinds_of_events_that_nobody_knows_are_others() {
    for kind in ["", "Container", "sandbox", "container\"} 1\n", &"x".repeat(100_000)] {
        let line: wire::Event = serde_json::from_value(json!({ "Type": kind, "Action": "start" })).expect("an event");
        assert_eq!((event(&line).kind, event(&line).change), ("other", Change::Nothing));
    }
}

#[test]
fn a_description_may_leave_out_nearly_everything() {
    let least = json!({ "Id": "c1", "Name": "", "State": { "Running": false } });
    let Described { container, stage, .. } =
        container(serde_json::from_value(least).expect("a container")).expect("an id");
    assert_eq!((stage, container.running), (Stage::NotStarted, false));
    assert_eq!(container.sandbox, Sandbox::Absent);
    assert_eq!((&*container.identity.container, &*container.image), ("", ""));
    assert_eq!(container.endpoints, []);
    let nulls = json!({
        "Config": null, "HostConfig": null, "NetworkSettings": { "Networks": null },
    });
    assert_eq!(described(&nulls).container.sandbox, Sandbox::Absent);
    let network = network(serde_json::from_value(json!({ "Id": "n1", "Name": "" })).expect("a network"));
    assert!(network.is_some());
}

#[test]
fn addresses_that_are_none_are_left_out() {
    let part = json!({ "NetworkSettings": { "SandboxKey": "relative/file", "Networks": { "net": {
        "NetworkID": "n1", "MacAddress": "02:42", "IPAddress": "999.1.1.1", "GlobalIPv6Address": "fd00::1",
    } } } });
    let container = described(&part).container;
    assert_eq!(container.sandbox, Sandbox::Absent);
    let endpoint = &container.endpoints[0];
    assert_eq!(endpoint.mac, None);
    assert_eq!(
        endpoint.addresses,
        ["fd00::1".parse::<std::net::IpAddr>().expect("an address")]
    );
}

/// The field names that the wire types read, so that most of the generated JSON is decoded.
const FIELDS: [&str; 40] = [
    "Id",
    "ID",
    "Name",
    "Type",
    "Action",
    "Actor",
    "Attributes",
    "container",
    "time",
    "timeNano",
    "State",
    "Running",
    "Restarting",
    "StartedAt",
    "Config",
    "Image",
    "Labels",
    "HostConfig",
    "NetworkMode",
    "NetworkSettings",
    "SandboxKey",
    "Networks",
    "NetworkID",
    "MacAddress",
    "IPAddress",
    "GlobalIPv6Address",
    "Driver",
    "Scope",
    "Internal",
    "EnableIPv6",
    "IPAM",
    "Subnet",
    "Options",
    "encrypted",
    "com.docker.network.driver.mtu",
    "com.docker.network.driver.overlay.vxlanid_list",
    "com.docker.swarm.task.name",
    "com.docker.compose.service",
    "Swarm",
    "NodeID",
];

fn any_text() -> impl Strategy<Value = String> {
    let known = [
        "c0ffee",
        "container",
        "network",
        "start",
        "connect",
        "container:x",
        "none",
        "10.0.0.0/8",
        "a.1.b",
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        any::<String>(),
        "[€é/.,:x0-9]{0,400}",
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 8, |inner| {
        let field = prop_oneof![3 => prop::sample::select(FIELDS.to_vec()).prop_map(str::to_owned), 1 => any_text()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((field, inner), 0..10).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// An answer of the right shape, with arbitrary text in every field and possibly arbitrary JSON in one.
fn any_answer() -> impl Strategy<Value = Value> {
    let texts = prop::collection::btree_map(
        prop_oneof![
            prop::sample::select(FIELDS.to_vec()).prop_map(str::to_owned),
            any_text()
        ],
        any_text(),
        0..8,
    );
    let shaped = (prop::collection::vec(any_text(), 12), texts, any::<(bool, bool, i64)>());
    let shaped = shaped.prop_map(|(text, texts, (one, two, number))| {
        json!({
            "Id": text[0], "Name": text[1], "Type": text[2], "Action": text[3],
            "Actor": { "ID": text[4], "Attributes": { "container": text[5] } },
            "time": number, "timeNano": number,
            "State": { "Running": one, "Restarting": two, "StartedAt": text[6] },
            "Config": { "Image": text[7], "Labels": texts },
            "HostConfig": { "NetworkMode": text[8] },
            "NetworkSettings": { "SandboxKey": text[9], "Networks": { text[1].clone(): {
                "NetworkID": text[0], "MacAddress": text[10], "IPAddress": text[11],
            } } },
            "Options": texts, "Labels": texts, "IPAM": { "Config": [{ "Subnet": text[11] }] },
            "Swarm": { "NodeID": text[4], "ControlAvailable": one },
        })
    });
    (
        shaped,
        prop::option::of((prop::sample::select(FIELDS.to_vec()), any_json())),
    )
        .prop_map(|(mut answer, odd)| {
            if let Some((field, value)) = odd {
                answer[field] = value;
            }
            answer
        })
}

proptest! {
    /// Any answer is either refused or converted, and the result stays within the limits.
    #[test]
    fn no_answer_is_too_odd(answer in prop_oneof![any_json(), any_answer()]) {
        if let Ok(info) = serde_json::from_value::<wire::Info>(answer.clone()) {
            prop_assert!(node(&info).hostname.len() <= LONGEST_TEXT);
        }
        if let Ok(summary) = serde_json::from_value::<wire::Summary>(answer.clone()) {
            prop_assert!(endpoints(summary.network_settings.as_ref()).iter().all(|it| id(&it.network).is_some()));
        }
        if let Ok(one) = serde_json::from_value::<wire::Network>(answer.clone())
            && let Some(network) = network(one)
        {
            prop_assert!(id(&network.id).is_some());
            prop_assert!(network.vnis.iter().all(|vni| *vni < VNI_LIMIT));
        }
        if let Ok(line) = serde_json::from_value::<wire::Event>(answer.clone()) {
            prop_assert!(EVENT_KINDS.contains(&event(&line).kind));
        }
        if let Ok(one) = serde_json::from_value::<wire::Container>(answer)
            && let Some(Described { container, stage, .. }) = container(one)
        {
            prop_assert!(id(&container.id).is_some());
            prop_assert!(container.identity.container.len() <= LONGEST_TEXT);
            prop_assert!(container.running == (stage == Stage::Running));
        }
    }
}
