//! The fuzz targets: everything that reads input from outside, and what must hold of the result.
//!
//! A target takes any bytes and returns. Beyond calling the code it checks properties: bounds are kept, text can be
//! written, what was written can be read back. The programs in `fuzz/` run one target each, for any length of time.
//! The tests here run every input that was kept, and some that are derived from them. None of this is in the daemon.

use crate::{
    collectors::fuzz::page,
    config,
    datapath::fuzz::types,
    docker::fuzz::{answers, events, host},
    http::fuzz::{addresses, certificate, headers, request, web_config},
    model::{interface::MacAddress, inventory::Subnet, netns::Role},
    netns::fuzz::{netlink, procfs},
};

/// A target's name, which is also that of its program and of its folder of inputs, and what it runs.
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
/// A property does not hold: a fault was found. Also if there is no such target.
pub fn run(target: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, run) = found.unwrap_or_else(|| panic!("there is no fuzz target {target}"));
    run(data);
}

/// Short texts that an operator or an engine writes: times, addresses, paths, file names.
fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(time) = config::duration(text) {
        let again = format!("{}ms", time.as_millis());
        assert_eq!(config::duration(&again), Ok(time), "{text:?} is not {again}");
    }
    if let Ok(path) = config::path(text) {
        assert!(path.starts_with('/') && path.is_ascii(), "{path:?} is not a path");
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
