//! What a list says of a running container that its description says, too. If the two agree, the description is up to
//! date, and the engine need not be asked for it.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
};

use super::id;
use crate::{docker::wire, model::inventory::ContainerId};

/// The name of a running container, and its endpoints with their ids. Only a hash of these is kept, because a text may
/// have any length. An endpoint gets another id whenever its container starts, and whenever it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::docker) struct Summary(u64);

/// An element of a list of containers.
#[derive(Clone, Debug)]
pub(in crate::docker) struct Listed {
    pub(in crate::docker) id: ContainerId,
    /// `None` if the element does not say enough.
    pub(in crate::docker) summary: Option<Summary>,
}

/// An element of a list. `None` if it has no valid id.
pub(in crate::docker) fn listed(listed: wire::Listed) -> Option<Listed> {
    let wire::Listed {
        id: its_id,
        names,
        state,
        network_settings,
    } = listed;
    let its_id = id(&its_id)?;
    let names: Vec<String> = serde_json::from_value(names).unwrap_or_default();
    // Other names are those of links: "/other/alias".
    let name = names.iter().map(|name| bare(name)).find(|name| !name.contains('/'));
    let settings: Option<wire::NetworkSettings> = serde_json::from_value(network_settings).ok();
    // A paused container runs, too.
    let is_running = matches!(state.as_str(), Some("running" | "paused"));
    let summary = name.zip(settings).filter(|_| is_running);
    Some(Listed {
        id: its_id,
        summary: summary.and_then(|(name, settings)| summary_of(name, &settings)),
    })
}

/// The summary of a running container. `None` if a restart could leave it as it is: the container has no endpoint, or
/// one without an id.
pub(super) fn summary_of(name: &str, settings: &wire::NetworkSettings) -> Option<Summary> {
    let networks = settings.networks.as_ref().filter(|networks| !networks.is_empty())?;
    let mut hasher = DefaultHasher::new();
    bare(name).hash(&mut hasher);
    for (network, endpoint) in networks {
        let wire::Endpoint {
            network_id,
            its_id,
            mac_address,
            ip_address,
            global_ipv6_address,
            // A list has them, too, but not all that a description has.
            aliases: _,
        } = endpoint.as_ref().filter(|endpoint| !endpoint.its_id.is_empty())?;
        [
            network,
            network_id,
            its_id,
            mac_address,
            ip_address,
            global_ipv6_address,
        ]
        .hash(&mut hasher);
    }
    Some(Summary(hasher.finish()))
}

fn bare(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Listed, Summary, listed};
    use crate::docker::convert::container;

    fn networks() -> Value {
        json!({ "Networks": { "front": {
            "NetworkID": "n1", "EndpointID": "e1", "MacAddress": "02:42:ac:11:00:02", "IPAddress": "172.17.0.2",
            "GlobalIPv6Address": "",
        } } })
    }

    fn in_list(names: &Value, state: &str, settings: &Value) -> Option<Summary> {
        let element = json!({ "Id": "c0ffee", "Names": names, "State": state, "NetworkSettings": settings });
        let Listed { id, summary } = listed(serde_json::from_value(element).ok()?)?;
        assert_eq!(&*id, "c0ffee");
        summary
    }

    fn described(name: &str, state: &Value, settings: &Value) -> Option<Summary> {
        let whole = json!({ "Id": "c0ffee", "Name": name, "State": state, "NetworkSettings": settings });
        container(serde_json::from_value(whole).ok()?)?.summary
    }

    #[test]
    fn a_list_and_a_description_of_the_same_run_agree() {
        let runs = json!({ "Running": true, "StartedAt": "2026-11-23T16:17:40.734399289Z" });
        let said = described("/one", &runs, &networks());
        assert!(said.is_some());
        assert_eq!(in_list(&json!(["/other/alias", "/one"]), "running", &networks()), said);
        assert_eq!(in_list(&json!(["/one"]), "paused", &networks()), said);
    }

    #[test]
    fn another_name_another_start_and_another_network_are_seen() {
        let names = json!(["/one"]);
        let said = in_list(&names, "running", &networks());
        assert_ne!(in_list(&json!(["/two"]), "running", &networks()), said);
        for (field, value) in [
            ("EndpointID", "e2"),
            ("NetworkID", "n2"),
            ("MacAddress", "02:42:ac:11:00:03"),
            ("IPAddress", "172.17.0.3"),
            ("GlobalIPv6Address", "fd00::1"),
        ] {
            let mut other = networks();
            other["Networks"]["front"][field] = value.into();
            assert_ne!(in_list(&names, "running", &other), said, "{field}");
        }
        let mut more = networks();
        more["Networks"]["back"] = more["Networks"]["front"].clone();
        assert_ne!(in_list(&names, "running", &more), said);
    }

    #[test]
    fn what_does_not_tell_one_start_from_the_next_is_no_summary() {
        let names = json!(["/one"]);
        for state in ["restarting", "created", "exited", ""] {
            assert_eq!(in_list(&names, state, &networks()), None, "{state}");
        }
        let mut no_id = networks();
        no_id["Networks"]["front"]["EndpointID"] = "".into();
        for settings in [json!({ "Networks": {} }), json!({}), json!(7), Value::Null, no_id] {
            assert_eq!(in_list(&names, "running", &settings), None, "{settings}");
        }
        for names in [json!([]), json!(["/other/alias"]), json!(7), Value::Null] {
            assert_eq!(in_list(&names, "running", &networks()), None, "{names}");
        }
        let restarts = json!({ "Running": true, "Restarting": true, "StartedAt": "2026-11-23T16:17:40Z" });
        assert_eq!(described("/one", &restarts, &networks()), None);
    }
}
