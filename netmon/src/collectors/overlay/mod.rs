//! Traffic between nodes, by overlay network and remote node.

pub mod facts;
pub mod families;
mod kernel;
pub mod mtu;
#[cfg(test)]
mod sample;

use crate::{
    collectors::Definition,
    model::collector::{Collector, Need},
};

/// Its name.
pub const NAME: Collector = Collector("overlay");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "Traffic between nodes, by overlay network and remote node; how large packets may be.",
    is_optional: true,
    incomplete: Some((
        "kernel programs on the node's devices; the node's network namespace; or, where a network is encrypted, counters of encryption errors (`CONFIG_XFRM_STATISTICS`)",
        "the log says which: `--network host` or `--path.node-netns`, another kernel, else `--no-collector.overlay`",
    )),
    needs: &[Need::Tunnels, Need::Encryption],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: sample::rows,
    start: || Box::new(kernel::Collector::default()),
};
