//! The conversion, on real answers of engines and on answers that no engine should give.
//!
//! The samples are excerpts: unused fields are left out, and lists are cut to a few elements.

mod containers;
mod events;
mod hostile;
mod networks;
mod peers;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Described, container, endpoints};
use crate::docker::wire;

const CONTAINERS_20: &str = include_str!("samples/20.10-containers.json");
const CONTAINERS_28: &str = include_str!("samples/28-containers.json");

fn read<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).expect("the wire's types read it")
}

/// A container from a sample, by its name or the beginning of its name.
fn sample(json: &str, name: &str) -> Described {
    let all: Vec<wire::Container> = read(json);
    let one = all.into_iter().find(|one| one.name[1..].starts_with(name));
    container(one.expect("the sample has it")).expect("it has an id")
}

/// The conversion of an ordinary description in which this part is replaced. `None` if the result has no id.
fn converted(part: &Value) -> Option<Described> {
    let mut whole = json!({
        "Id": "c0ffee",
        "Name": "/one",
        "State": { "Running": true, "StartedAt": "2026-11-23T16:17:40.734399289Z" },
    });
    for (field, value) in part.as_object().into_iter().flatten() {
        whole[field] = value.clone();
    }
    container(read(&whole.to_string()))
}

fn described(part: &Value) -> Described {
    converted(part).expect("it has an id")
}

fn labelled(labels: &Value) -> Described {
    named("one", labels)
}

fn named(name: &str, labels: &Value) -> Described {
    let name = format!("/{name}");
    described(&json!({ "Name": name, "Config": { "Image": "image", "Labels": labels } }))
}

/// The labels that Swarm gives a task's container, and the container's name.
fn task(service: &str, slot: &str, id: &str) -> (String, Value) {
    let name = format!("{service}.{slot}.{id}");
    let labels = json!({
        "com.docker.swarm.service.name": service,
        "com.docker.swarm.task.name": name,
        "com.docker.swarm.task.id": id,
    });
    (name, labels)
}
