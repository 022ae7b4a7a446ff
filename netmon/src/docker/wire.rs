//! The parts of the engine's JSON that netmon reads.
//!
//! bollard's own types are not used. They know every field of every answer, and their enums know only today's values.
//! A new value in a field that netmon ignores would make a container's description unreadable. One such container
//! would make a whole list unreadable. Fields that are not named here are ignored.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, SeqAccess, Visitor},
};

/// `GET /version`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Version {
    /// The newest API version that the engine speaks. An answer without it is not from an engine.
    pub(super) api_version: String,
}

/// `GET /info`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    pub(super) name: String,
    #[serde(default)]
    pub(super) server_version: String,
    #[serde(default)]
    pub(super) kernel_version: String,
    pub(super) swarm: Option<Swarm>,
    /// Missing unless they were configured.
    #[serde(default)]
    pub(super) default_address_pools: Option<Vec<AddressPool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct AddressPool {
    pub(super) base: String,
    /// The prefix length of each subnet.
    pub(super) size: u8,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub(super) struct Swarm {
    #[serde(rename = "NodeID")]
    pub(super) node_id: String,
    pub(super) node_addr: String,
    pub(super) control_available: bool,
}

/// An element of `GET /containers/json`. Whatever the other fields are, a container with an id is listed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) id: String,
    #[serde(default)]
    pub(super) names: serde_json::Value,
    #[serde(default)]
    pub(super) state: serde_json::Value,
    /// [`NetworkSettings`].
    #[serde(default)]
    pub(super) network_settings: serde_json::Value,
}

/// The same element, read for its endpoints only.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Summary {
    pub(super) id: String,
    pub(super) network_settings: Option<NetworkSettings>,
}

/// An element of `GET /containers/json`, read for which one was created last.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Ended {
    pub(super) id: String,
    /// In seconds since the epoch.
    pub(super) created: i64,
}

/// `GET /containers/{id}/json` of a container that ended, read for its exit status.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct End {
    pub(super) state: EndState,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EndState {
    pub(super) exit_code: i64,
}

/// `GET /containers/{id}/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) state: State,
    pub(super) config: Option<Config>,
    pub(super) host_config: Option<HostConfig>,
    pub(super) network_settings: Option<NetworkSettings>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct State {
    /// Also true for a paused container and for one that waits to be restarted.
    pub(super) running: bool,
    #[serde(default)]
    pub(super) restarting: bool,
    /// In the year 1 if it never started.
    #[serde(default)]
    pub(super) started_at: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Config {
    pub(super) image: String,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct HostConfig {
    pub(super) network_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NetworkSettings {
    pub(super) sandbox_key: String,
    /// By network name.
    pub(super) networks: Option<BTreeMap<String, Option<Endpoint>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Endpoint {
    #[serde(rename = "NetworkID")]
    pub(super) network_id: String,
    /// Another one after each start of the container.
    #[serde(rename = "EndpointID")]
    pub(super) its_id: String,
    pub(super) mac_address: String,
    #[serde(rename = "IPAddress")]
    pub(super) ip_address: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub(super) global_ipv6_address: String,
    pub(super) aliases: Option<Vec<String>>,
}

/// An element of `GET /networks`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own in the engine's description"
)]
pub(super) struct Network {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) driver: String,
    #[serde(default)]
    pub(super) scope: String,
    #[serde(default)]
    pub(super) internal: bool,
    #[serde(default)]
    pub(super) attachable: bool,
    #[serde(default)]
    pub(super) ingress: bool,
    #[serde(default, rename = "EnableIPv6")]
    pub(super) enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    pub(super) ipam: Option<Ipam>,
    pub(super) options: Option<BTreeMap<String, String>>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Ipam {
    pub(super) config: Option<Vec<IpamConfig>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct IpamConfig {
    pub(super) subnet: String,
}

/// An element of `GET /nodes`, which only a manager answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SwarmNode {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) description: Option<NodeDescription>,
    pub(super) status: Option<NodeStatus>,
    pub(super) manager_status: Option<ManagerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NodeDescription {
    pub(super) hostname: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NodeStatus {
    pub(super) state: String,
    /// May be `0.0.0.0` for a manager.
    pub(super) addr: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ManagerStatus {
    /// With a port.
    pub(super) addr: String,
}

/// `GET /networks/{id}?verbose=true`, of which only the network's gossip is read. Its `Peers` also have names, but
/// these are random numbers that each engine draws at its start.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VerboseNetwork {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    /// This node's endpoints on the network: by container id, or by another name if the endpoint is not a
    /// container's.
    pub(super) containers: Option<BTreeMap<String, serde_json::Value>>,
    /// By service name, which is empty for containers outside of a service. Each value is a [`NetworkService`].
    pub(super) services: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NetworkContainer {
    /// With the prefix length of the subnet.
    #[serde(rename = "IPv4Address")]
    pub(super) ipv4_address: String,
    /// The same; empty if it has none.
    #[serde(rename = "IPv6Address")]
    pub(super) ipv6_address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NetworkService {
    /// `<nil>` if there is none.
    #[serde(rename = "VIP")]
    pub(super) vip: String,
    pub(super) tasks: Option<List<NetworkTask>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkTask {
    pub(super) name: String,
    #[serde(rename = "EndpointIP")]
    pub(super) endpoint_ip: String,
    /// `Host IP` is the address that the endpoint's node sends from.
    pub(super) info: Option<BTreeMap<String, String>>,
}

/// A line of `GET /events`. Newer engines no longer send the fields `status`, `id` and `from`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Event {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) action: String,
    pub(super) actor: Option<Actor>,
    /// Seconds since the epoch.
    #[serde(default, rename = "time")]
    pub(super) time: i64,
    /// Nanoseconds since the epoch.
    #[serde(default, rename = "timeNano")]
    pub(super) time_nano: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Actor {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) attributes: Option<Attributes>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Attributes {
    /// In a network's event: the container that was connected or disconnected.
    pub(super) container: String,
}

/// A list whose elements are decoded one by one. Those that cannot be decoded are skipped.
#[derive(Debug)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    /// The decoding errors of the skipped elements.
    pub(super) skipped: Vec<String>,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Elements(PhantomData))
    }
}

struct Elements<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for Elements<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<List<T>, A::Error> {
        let (mut items, mut skipped) = (Vec::new(), Vec::new());
        while let Some(element) = elements.next_element::<serde_json::Value>()? {
            match T::deserialize(element) {
                Ok(item) => items.push(item),
                Err(error) => skipped.push(error.to_string()),
            }
        }
        Ok(List { items, skipped })
    }

    /// Go encodes an empty list as null.
    fn visit_unit<E>(self) -> Result<List<T>, E> {
        Ok(List {
            items: Vec::new(),
            skipped: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{List, Listed};

    fn ids(json: &str) -> (Vec<String>, usize) {
        let list: List<Listed> = serde_json::from_str(json).expect("a list");
        (list.items.into_iter().map(|item| item.id).collect(), list.skipped.len())
    }

    #[test]
    fn an_element_that_makes_no_sense_does_not_cost_the_others() {
        let json = r#"[{"Id":"a","State":"molten"}, {"Id":7}, null, {"State":"running"}, [], {"Id":"b"}]"#;
        assert_eq!(ids(json), (vec!["a".to_owned(), "b".to_owned()], 4));
    }

    #[test]
    fn an_empty_list_may_be_null() {
        assert_eq!(ids("null"), (vec![], 0));
        assert_eq!(ids("[]"), (vec![], 0));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for json in [r#"{"message":"no"}"#, "7", r#""x""#, r#"[{"Id":"a"}"#] {
            assert!(
                serde_json::from_str::<List<Listed>>(json).is_err(),
                "{json} was taken for a list"
            );
        }
    }
}
