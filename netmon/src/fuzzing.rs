//! What is fuzzed: everything that reads what comes from outside, and what has to hold of what is made of it.
//!
//! A target takes any bytes and returns. What stands in it beyond the call of the code are properties: bounds that are
//! kept, text that can be written, what was written and is read back. The programs in `fuzz/` run one target each for as
//! long as one likes; the tests here run every input that was kept, and some that are made of them. Nothing of it is in
//! the daemon.

use crate::{
    config,
    datapath::fuzz::types,
    docker::fuzz::{answers, events, host},
    http::fuzz::{addresses, certificate, headers, request, web_config},
    metrics::fuzz::page,
    model::{interface::MacAddress, inventory::Subnet},
    netns::{
        discover::Role,
        fuzz::{netlink, procfs},
    },
};

/// A target's name, which is that of its program and of the folder of its inputs, and what it runs.
type Target = (&'static str, fn(&[u8]));

/// Every target.
const TARGETS: [Target; 11] = [
    ("answers", answers),
    ("certificate", certificate),
    ("events", events),
    ("headers", headers),
    ("netlink", netlink),
    ("page", page),
    ("procfs", procfs),
    ("request", request),
    ("settings", settings),
    ("types", types),
    ("web_config", web_config),
];

/// Runs a target.
///
/// # Panics
/// Something does not hold that should: a fault was found. And if there is no such target.
pub fn run(target: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, run) = found.unwrap_or_else(|| panic!("there is no fuzz target {target}"));
    run(data);
}

/// Small things that an operator or an engine writes: times, addresses, paths, names of files.
fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(time) = config::duration(text) {
        let again = format!("{}ms", time.as_millis());
        assert_eq!(config::duration(&again), Ok(time), "{text:?} is not {again}");
    }
    if let Ok(path) = config::path(text) {
        assert!(path.starts_with('/') && path.is_ascii(), "{path:?} is no path");
    }
    if let Ok(address) = text.parse::<MacAddress>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Ok(subnet) = text.parse::<Subnet>() {
        assert_eq!(subnet.to_string().parse(), Ok(subnet));
        assert!(
            subnet.contains(subnet.address),
            "{subnet} does not contain its own address"
        );
    }
    match Role::of(text) {
        Role::Overlay { network } | Role::LoadBalancer { network } => assert!(text.ends_with(&network)),
        Role::Sandbox | Role::Ingress | Role::Node => {}
    }
    host(text);
    addresses(text);
}

#[cfg(test)]
mod tests;
