//! Containers, networks and nodes as the engine's API describes them. Must not know which there are, or who asks.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr, path::PathBuf};

use serde_json::{Value, json};

/// The interface of a container on one of the engine's networks.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// The network's name.
    pub network: String,
    /// Its hardware address.
    pub mac: String,
    /// Its IPv4 address.
    pub address: String,
    /// Its IPv6 address.
    pub ipv6_address: String,
}

/// What netmon reads of a container.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// Its name, without the slash.
    pub name: String,
    /// The file of its network namespace.
    pub sandbox: PathBuf,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `default`, `host`, `none`, `container:...`.
    pub network_mode: String,
    /// Its interfaces.
    pub endpoints: Vec<Endpoint>,
}

impl Container {
    /// Its id, derived from its name.
    #[must_use]
    pub fn id(&self) -> String {
        id_of(&self.name)
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "Id": self.id(), "Name": format!("/{}", self.name),
            "State": { "Status": "running", "Running": true, "Restarting": false, "StartedAt": "2026-01-01T00:00:00Z" },
            "Config": { "Image": "demo:latest", "Labels": self.labels },
            "HostConfig": { "NetworkMode": self.network_mode },
            "NetworkSettings": { "SandboxKey": self.sandbox, "Networks": self.networks() },
        })
    }

    /// The container as an element of a list.
    pub(super) fn listed(&self) -> Value {
        json!({
            "Id": self.id(), "Names": [format!("/{}", self.name)], "State": "running",
            "NetworkSettings": { "Networks": self.networks() },
        })
    }

    /// The container as engines from 26 on describe it after it ended.
    pub(super) fn forgotten(&self) -> Value {
        let mut json = self.json();
        json["State"] = json!({ "Status": "exited", "Running": false, "StartedAt": "2026-01-01T00:00:00Z" });
        json["NetworkSettings"] = json!({ "SandboxKey": "", "Networks": {} });
        json
    }

    fn networks(&self) -> serde_json::Map<String, Value> {
        let described = |endpoint: &Endpoint| {
            json!({
                "NetworkID": network_id(&endpoint.network), "MacAddress": endpoint.mac,
                // Each start gives a container another sandbox and other endpoints.
                "EndpointID": id_of(&format!("{} {}", self.sandbox.display(), endpoint.network)),
                "IPAddress": endpoint.address, "GlobalIPv6Address": endpoint.ipv6_address,
            })
        };
        self.endpoints
            .iter()
            .map(|it| (it.network.clone(), described(it)))
            .collect()
    }
}

/// The labels that Swarm gives the container of a task, by its name: `service.slot.id`.
#[must_use]
pub fn task_labels(name: &str) -> BTreeMap<String, String> {
    let mut parts = name.rsplitn(3, '.');
    let id = parts.next().unwrap_or_default();
    let service = parts.nth(1).unwrap_or_default();
    [
        ("com.docker.swarm.service.name", service),
        ("com.docker.swarm.task.name", name),
        ("com.docker.swarm.task.id", id),
    ]
    .map(|(label, value)| (label.to_owned(), value.to_owned()))
    .into()
}

/// The labels that Compose gives a container. Unlike Swarm's, they do not depend on its name.
#[must_use]
pub fn compose_labels(project: &str, service: &str) -> BTreeMap<String, String> {
    [
        ("com.docker.compose.project", project),
        ("com.docker.compose.service", service),
    ]
    .map(|(label, value)| (label.to_owned(), value.to_owned()))
    .into()
}

/// The nodes of the engine's Swarm: id, name, address.
pub const NODES: [(&str, &str, &str); 2] = [
    ("aaaaaaaaaaaaaaaaaaaaaaaa1", "demo", "10.88.0.1"),
    ("aaaaaaaaaaaaaaaaaaaaaaaa2", "node2", "10.88.0.2"),
];

/// The name of a bridge network's bridge on the node.
pub const BRIDGE: &str = "br0";

/// A network of the engine.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Its name. Its id is derived from it.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Its subnet; several are separated by commas.
    pub subnet: String,
    /// Its VNI, if it is an overlay.
    pub vni: Option<u32>,
    /// Whether it encrypts traffic between nodes.
    pub encrypted: bool,
}

impl Network {
    pub(super) fn json(&self) -> Value {
        let mut options = BTreeMap::new();
        if let Some(vni) = self.vni {
            options.insert("com.docker.network.driver.overlay.vxlanid_list", vni.to_string());
        }
        if self.encrypted {
            options.insert("encrypted", String::new());
        }
        if self.driver == "bridge" {
            options.insert("com.docker.network.bridge.name", BRIDGE.to_owned());
        }
        let subnets: Vec<Value> = self.subnet.split(',').map(|it| json!({ "Subnet": it })).collect();
        json!({
            "Id": network_id(&self.name), "Name": self.name, "Driver": self.driver,
            "Scope": if self.vni.is_some() { "swarm" } else { "local" }, "Internal": false, "Attachable": true,
            "Ingress": false, "EnableIPv6": self.subnet.contains(':'), "IPAM": { "Config": subnets },
            "Options": options, "Labels": {},
        })
    }
}

/// The id of the network of that name.
#[must_use]
pub fn network_id(name: &str) -> String {
    id_of(name)
}

/// An id with the length and the characters of the engine's ids. It is derived from the name backwards: an id is
/// sometimes cut to its beginning, and names of one stack begin alike.
pub(super) fn id_of(name: &str) -> String {
    let mut hex = String::new();
    for byte in name.bytes().rev() {
        // Writing to a string cannot fail.
        let _written = write!(hex, "{byte:02x}");
    }
    format!("{hex:0<64.64}")
}

/// The only task of a service, on the second node.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// The name of its network.
    pub network: String,
    /// Its service.
    pub service: String,
    /// Its address on the network.
    pub address: IpAddr,
}

impl Elsewhere {
    /// The service and its task, as the network's verbose description has them.
    pub(super) fn service(&self) -> (String, Value) {
        let [_, (_, _, node)] = NODES;
        let task = json!({
            "Name": format!("{}.1.x", self.service), "EndpointIP": self.address, "Info": { "Host IP": node },
        });
        (self.service.clone(), json!({ "VIP": "<nil>", "Tasks": [task] }))
    }
}
