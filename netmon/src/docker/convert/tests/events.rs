//! Event streams, line by line as three engines wrote them.

use super::read;
use crate::docker::{
    convert::{Change, EVENT_ACTIONS, EVENT_KINDS, EVENT_KINDS_WANTED, Event, event},
    wire,
};

const STREAMS: [(&str, &str); 4] = [
    ("20.10", STREAM_20),
    ("20.10, a manager", STREAM_20_MANAGER),
    ("26", STREAM_26),
    ("28", STREAM_28),
];
const STREAM_20: &str = include_str!("../samples/20.10-events.jsonl");
const STREAM_20_MANAGER: &str = include_str!("../samples/20.10-events-manager.jsonl");
const STREAM_26: &str = include_str!("../samples/26-events.jsonl");
const STREAM_28: &str = include_str!("../samples/28-events.jsonl");

fn heard(stream: &str) -> Vec<Event> {
    stream.lines().map(|line| event(&read::<wire::Event>(line))).collect()
}

fn changes(stream: &str) -> Vec<Change> {
    heard(stream).into_iter().map(|event| event.change).collect()
}

/// The conversion of one line.
fn meaning(line: &serde_json::Value) -> Event {
    event(&serde_json::from_value(line.clone()).expect("an event"))
}

#[test]
fn every_line_of_every_engine_is_read_with_its_kind_and_its_moment() {
    for (engine, stream) in STREAMS {
        let events = heard(stream);
        assert!(events.len() >= 10, "{engine}");
        for (Event { kind, at, .. }, line) in events.into_iter().zip(stream.lines()) {
            let said = read::<wire::Event>(line).kind;
            let wanted = EVENT_KINDS_WANTED.into_iter().find(|wanted| *wanted == said);
            assert_eq!(kind, wanted.unwrap_or("other"), "{engine}: {said}");
            assert!(EVENT_KINDS.contains(&kind));
            assert!(
                (1_795_000_000_000_000_000..1_796_000_000_000_000_000).contains(&at),
                "{engine}: {at}"
            );
        }
    }
}

#[test]
fn run_connect_disconnect_and_stop_on_an_old_engine() {
    let id = || "b0cd8b5124b1f7294238226ae7e5894cd6d6f4e87a4f6f1a8f4ed481c507d232".into();
    assert_eq!(
        changes(STREAM_20),
        [
            // docker run
            Change::Nothing,
            Change::Connected(id()),
            Change::Started(id()),
            // An overlay network appears on the node with its first container there.
            Change::Networks,
            Change::Connected(id()),
            // The old engine sends this event twice.
            Change::Disconnected(id()),
            Change::Disconnected(id()),
            Change::Networks,
            // docker stop: the kill event itself means nothing
            Change::Nothing,
            Change::Died(id()),
            Change::Disconnected(id()),
            Change::Removed(id()),
        ]
    );
}

#[test]
fn newer_engines_disconnect_before_the_end() {
    let id = || "f9886457ab76".to_owned();
    let short = |change: Change| {
        let cut = |id: &str| id[..12].to_owned();
        match change {
            Change::Started(id) => ("started", cut(&id)),
            Change::Died(id) => ("died", cut(&id)),
            Change::Removed(id) => ("removed", cut(&id)),
            Change::Altered(id) => ("altered", cut(&id)),
            Change::Connected(id) => ("connected", cut(&id)),
            Change::Disconnected(id) => ("disconnected", cut(&id)),
            Change::Nothing => ("nothing", String::new()),
            Change::Networks => ("networks", String::new()),
            Change::Node => ("node", String::new()),
        }
    };
    let nothing = || ("nothing", String::new());
    let run_and_stop = |id: fn() -> String| {
        [
            nothing(),
            ("connected", id()),
            ("started", id()),
            nothing(),
            ("disconnected", id()),
            ("died", id()),
            ("removed", id()),
        ]
    };
    let heard: Vec<_> = changes(STREAM_26).into_iter().map(short).collect();
    assert_eq!(heard[..7], run_and_stop(id));
    let task = || "8d274ecddf19".to_owned();
    assert_eq!(heard[7..], [nothing(), ("connected", task()), ("started", task())]);

    let heard: Vec<_> = changes(STREAM_28).into_iter().map(short).collect();
    assert_eq!(heard[..7], run_and_stop(|| "2428bf12f225".to_owned()));
    assert_eq!(heard[7], ("connected", "e3a3b3746f83".to_owned()));
    let task = || "0c203dc85d86".to_owned();
    let networks = ("networks", String::new());
    assert_eq!(
        heard[8..],
        [networks, nothing(), ("connected", task()), ("started", task())]
    );
}

#[test]
fn a_manager_hears_of_nodes_services_and_networks_of_the_whole_swarm() {
    let events = heard(STREAM_20_MANAGER);
    let count = |wanted: &Change| events.iter().filter(|event| event.change == *wanted).count();
    assert_eq!(count(&Change::Node), 11);
    assert_eq!(count(&Change::Networks), 5);
    for Event { kind, change, .. } in &events {
        assert_eq!(*kind == "node", *change == Change::Node);
        assert!(*kind != "service" || *change == Change::Nothing);
    }
}

#[test]
fn the_moment_is_the_exact_one_or_the_second_or_unknown() {
    let at = |line: serde_json::Value| meaning(&line).at;
    let both = serde_json::json!({ "Type": "image", "time": 7, "timeNano": 7_000_000_001_i64 });
    assert_eq!(at(both), 7_000_000_001);
    assert_eq!(at(serde_json::json!({ "Type": "image", "time": 7 })), 7_000_000_000);
    assert_eq!(at(serde_json::json!({ "Type": "image", "time": i64::MAX })), i64::MAX);
    assert_eq!(at(serde_json::json!({ "Type": "image" })), 0);
}

#[test]
fn what_alters_a_container_and_podmans_words_are_understood() {
    let change = |action: &str| {
        let line = serde_json::json!({ "Type": "container", "Action": action, "Actor": { "ID": "c1" } });
        meaning(&line).change
    };
    for action in ["rename", "update", "pause", "unpause"] {
        assert_eq!(change(action), Change::Altered("c1".into()), "{action}");
    }
    for action in ["die", "died"] {
        assert_eq!(change(action), Change::Died("c1".into()), "{action}");
    }
    for action in ["destroy", "remove"] {
        assert_eq!(change(action), Change::Removed("c1".into()), "{action}");
    }
    for action in ["", "create", "exec_start: sh", "health_status: healthy", "oom", "START"] {
        assert_eq!(change(action), Change::Nothing, "{action}");
    }
}

#[test]
fn the_daemon_reloading_is_about_the_node() {
    let line = serde_json::json!({ "Type": "daemon", "Action": "reload", "Actor": { "ID": "whatever" } });
    assert_eq!((meaning(&line).kind, meaning(&line).change), ("daemon", Change::Node));
}

#[test]
fn whatever_means_something_is_requested_and_checks_of_health_are_not() {
    let is_requested = |line: &str| {
        let event: wire::Event = read(line);
        EVENT_KINDS_WANTED.contains(&event.kind.as_str()) && EVENT_ACTIONS.contains(&event.action.as_str())
    };
    for (engine, stream) in STREAMS {
        for line in stream.lines() {
            let means = event(&read::<wire::Event>(line)).change != Change::Nothing;
            assert!(!means || is_requested(line), "{engine}: {line}");
        }
    }
    for action in [
        "exec_create: true",
        "exec_start: true",
        "exec_die",
        "health_status: healthy",
        "top",
    ] {
        assert!(!is_requested(
            &serde_json::json!({ "Type": "container", "Action": action }).to_string()
        ));
    }
    assert!(!is_requested(r#"{"Type":"volume","Action":"create"}"#));
}
