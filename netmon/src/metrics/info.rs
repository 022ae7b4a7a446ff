//! Facts that do not change while their subject exists: ids, addresses, options.

use std::fmt::{self, Display, Write as _};

use super::{
    catalog,
    family::Page,
    labels::{Block, BuildInfo, NetworkInfo, NodeInfo, Rows},
};
use crate::{
    model::{
        inventory::{Network, Node},
        snapshot::Snapshot,
    },
    version,
};

/// Writes this build's version.
pub(super) fn encode_build(page: &mut Page<'_>) -> fmt::Result {
    let build = BuildInfo {
        version: version::VERSION,
        revision: version::REVISION,
        rustc: version::RUSTC,
    };
    catalog::BUILD_INFO.encode(page, [(&build.block(), ())])
}

/// Writes the facts of the node and of the networks.
pub(super) fn encode(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    if let Some(node) = &snapshot.node {
        catalog::NODE_INFO.encode(page, [(&node_info(node), ())])?;
    }
    let networks = Rows::new(snapshot.networks.iter().map(|network| (network_info(network), ())));
    catalog::NETWORK_INFO.encode(page, networks.each(|()| ()))
}

fn node_info(node: &Node) -> Block<NodeInfo<'static>> {
    let Node {
        hostname,
        node_id,
        address,
        role,
        engine_version,
        kernel_version,
    } = node;
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    NodeInfo {
        hostname,
        node_id,
        address: &address,
        role,
        engine_version,
        kernel_version,
    }
    .block()
}

fn network_info(network: &Network) -> Block<NetworkInfo<'static>> {
    let Network {
        id,
        name,
        driver,
        scope,
        internal,
        attachable,
        ingress,
        ipv6,
        encrypted,
        mtu,
        bridge: _,
        vnis,
        subnets,
        stack,
    } = network;
    NetworkInfo {
        network: name,
        network_id: id,
        driver,
        scope,
        internal: boolean(*internal),
        attachable: boolean(*attachable),
        ingress: boolean(*ingress),
        encrypted: boolean(*encrypted),
        ipv6: boolean(*ipv6),
        mtu: &mtu.map(|mtu| mtu.to_string()).unwrap_or_default(),
        vni: &join(vnis),
        subnet: &join(subnets),
        stack,
    }
    .block()
}

const fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Several facts in one label, separated by commas.
pub(super) fn join(items: impl IntoIterator<Item = impl Display>) -> String {
    let mut text = String::new();
    for item in items {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _: fmt::Result = write!(text, "{comma}{item}");
    }
    text
}
