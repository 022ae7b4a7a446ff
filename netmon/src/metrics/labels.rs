//! Label sets: their names, and how values become text.
//!
//! A container's interface has the same labels in a dozen families. They are rendered once, into a [`Block`], and
//! each family copies it. Rendering them is most of the work of writing a page. A block also identifies a series:
//! "one label set is one series" is decided on the very bytes that are exposed.
//!
//! Values come from outside. A name may contain quotes, line feeds, a NUL (which ends Prometheus' parser in the
//! middle of the page) or a megabyte. The page always remains well-formed and bounded, and different values remain
//! different.

use std::{
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    marker::PhantomData,
};

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};

/// Longer values are cut, and end in a hash of the whole value. The engine's own names have at most a quarter of this
/// length. Labels that Compose passes on can have any length.
const MAX_VALUE_BYTES: usize = 1024;

/// The names of a label set.
pub trait LabelSet {
    /// Its label names, in the order of the exposition.
    const NAMES: &'static [&'static str];
}

/// No labels: the family has one series.
#[derive(Clone, Copy, Debug)]
pub enum Unlabelled {}

impl LabelSet for Unlabelled {
    const NAMES: &'static [&'static str] = &[];
}

/// The labels of one series, ready for the page: `container="web.1",service="web",...`
#[derive(Debug)]
pub struct Block<L> {
    text: String,
    labels: PhantomData<fn() -> L>,
}

impl<L: LabelSet> Block<L> {
    fn new(values: &[&str]) -> Self {
        let names = L::NAMES;
        let size = names.iter().map(|name| name.len() + r#","="#.len() + 1).sum::<usize>();
        let mut text = String::with_capacity(size + values.iter().map(|value| value.len()).sum::<usize>());
        for (name, value) in names.iter().zip(values) {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            push_value(&mut text, value);
            text.push('"');
        }
        Self {
            text,
            labels: PhantomData,
        }
    }
}

impl<L> EncodeLabelSet for Block<L> {
    /// The library takes labels apart and escapes values, but copies names. So the block is written in place of a
    /// name.
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        encoder.encode_label().encode_label_key()?.write_str(&self.text)
    }
}

/// Rows with different labels, sorted by their labels.
#[derive(Debug)]
pub(super) struct Rows<L, R> {
    rows: Vec<(Block<L>, R)>,
}

impl<L, R> Rows<L, R> {
    /// Sorts the rows. Of several rows with the same labels the first stays. Prometheus rejects a whole page if a
    /// series occurs twice.
    pub(super) fn new(rows: impl IntoIterator<Item = (Block<L>, R)>) -> Self {
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by(|(one, _), (other, _)| one.text.cmp(&other.text));
        rows.dedup_by(|(later, _), (earlier, _)| later.text == earlier.text);
        Self { rows }
    }

    /// A series for each row, with the value that `value` returns for it.
    pub(super) fn each<V>(&self, value: impl Fn(&R) -> V) -> impl Iterator<Item = (&Block<L>, V)> {
        self.rows.iter().map(move |(labels, row)| (labels, value(row)))
    }

    /// A series for each row, with the row itself as its value.
    pub(super) fn each_ref(&self) -> impl Iterator<Item = (&Block<L>, &R)> {
        self.rows.iter().map(|(labels, row)| (labels, row))
    }

    /// The rows.
    pub(super) fn iter(&self) -> impl Iterator<Item = &R> {
        self.rows.iter().map(|(_, row)| row)
    }

    /// Keeps at most the first `max` rows. Returns whether those were all.
    pub(super) fn keep(&mut self, max: usize) -> bool {
        let all = self.rows.len() <= max;
        self.rows.truncate(max);
        all
    }
}

macro_rules! label_sets {
    ($($(#[$doc:meta])* $set:ident { $($label:ident),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        #[expect(missing_docs, reason = "the labels are explained where the families are")]
        pub struct $set<'a> {
            $(pub $label: &'a str,)*
        }

        impl LabelSet for $set<'_> {
            const NAMES: &'static [&'static str] = &[$(label_name(stringify!($label))),*];
        }

        impl $set<'_> {
            /// Renders the labels.
            pub(super) fn block(&self) -> Block<$set<'static>> {
                let Self { $($label),* } = self;
                Block::new(&[$($label),*])
            }
        }
    )*};
}

label_sets! {
    /// An interface of a container.
    Interface { container, service, stack, network, interface }
    /// More facts about an interface.
    InterfaceInfo {
        container, service, stack, network, interface, mac_address, ip_address, ipv6_address, mtu, kind,
    }
    /// A container.
    Container { container, service, stack }
    /// A container on a network.
    ContainerNetwork { container, service, stack, network }
    /// Failed connections of a container.
    ContainerNetworkFailure { container, service, stack, network, reason }
    /// A container's connections in a state.
    Connections { container, service, stack, state }
    /// Dropped packets of a container.
    ContainerDrop { container, service, stack, network, reason }
    /// Dropped packets of a network.
    NetworkDrop { network, reason }
    /// Dropped packets without a known owner.
    UnattributedDrop { reason, cause }
    /// A service's traffic on a network.
    Service { service, stack, network }
    /// The vxlan device of an overlay network.
    Vxlan { network, interface }
    /// A network's traffic to or from another node.
    Peer { network, peer }
    /// One direction of a network's traffic with another node.
    PeerDirection { network, peer, direction }
    /// Encrypted traffic with another node.
    EncryptedPeer { peer }
    /// An overlay network.
    OverlayNetwork { network }
    /// A device that leads to other nodes.
    Underlay { interface }
    /// More facts about another node.
    PeerInfo { peer, address, hostname, node_id }
    /// A container on an overlay network, on this or another node.
    OverlayEndpoint { network, ip_address, container, service, peer }
    /// A service's virtual address on an overlay network.
    OverlayService { network, service, virtual_ip }
    /// More facts about a container.
    ContainerInfo {
        container, service, stack, container_id, image, task_id, task_slot, network_mode, state, shares_with,
    }
    /// The queue of a container's interface.
    InterfaceQueue { container, service, stack, network, interface, kind }
    /// The queue of a node's device.
    NodeQueue { interface, kind }
    /// An address family.
    Family { family }
    /// A limit of a neighbour table.
    Threshold { family, threshold }
    /// A kernel setting.
    Sysctl { name }
    /// A network.
    NetworkInfo {
        network, network_id, driver, scope, internal, attachable, ingress, encrypted, ipv6, mtu, vni, subnet, stack,
    }
    /// The node.
    NodeInfo { hostname, node_id, address, role, engine_version, kernel_version }
    /// This build of netmon.
    BuildInfo { version, revision, rustc }
    /// A kernel program.
    ProgramInfo { program, r#type, attach_point, mode }
    /// A container's state.
    State { state }
    /// A collector.
    ByCollector { collector }
    /// One of netmon's workers.
    ByWorker { worker }
    /// A limit.
    Limit { limit }
    /// Why something failed.
    Reason { reason }
    /// A type of the engine's events.
    Event { r#type }
    /// A kernel program.
    Program { program }
    /// A kernel map.
    Map { map }
    /// A capability of the process.
    Capability { capability }
}

/// The label name for a field.
const fn label_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// Appends a value as it is written between the quotes.
fn push_value(text: &mut String, value: &str) {
    if value.len() <= MAX_VALUE_BYTES {
        return push_escaped(text, value);
    }
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    push_escaped(text, &value[..value.floor_char_boundary(MAX_VALUE_BYTES)]);
    // Writing to a string cannot fail.
    let _: fmt::Result = write!(text, "~{:016x}", hasher.finish());
}

fn push_escaped(text: &mut String, value: &str) {
    let mut plain = 0;
    for (at, byte) in value.bytes().enumerate() {
        let escaped = match byte {
            b'\\' => r"\\",
            b'"' => r#"\""#,
            b'\n' => r"\n",
            0 => "\u{fffd}",
            _ => continue,
        };
        text.push_str(&value[plain..at]);
        text.push_str(escaped);
        plain = at + 1;
    }
    text.push_str(&value[plain..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{Interface, LabelSet as _, MAX_VALUE_BYTES, ProgramInfo, Rows, Vxlan, push_value};

    fn rendered(value: &str) -> String {
        let mut text = String::new();
        push_value(&mut text, value);
        text
    }

    fn vxlan(network: &str) -> super::Block<Vxlan<'static>> {
        Vxlan {
            network,
            interface: "vxlan0",
        }
        .block()
    }

    #[test]
    fn a_block_has_every_label_in_order() {
        let labels = Interface {
            container: "web.1",
            service: "web",
            stack: "",
            network: "front",
            interface: "eth0",
        };
        let expected = r#"container="web.1",service="web",stack="",network="front",interface="eth0""#;
        assert_eq!(labels.block().text, expected);
    }

    #[test]
    fn a_label_may_be_called_like_a_word_of_the_language() {
        assert_eq!(ProgramInfo::NAMES, ["program", "type", "attach_point", "mode"]);
    }

    #[test]
    fn what_would_end_a_value_or_the_page_is_escaped() {
        assert_eq!(rendered("a\"b\\c\nd\0e"), "a\\\"b\\\\c\\nd\u{fffd}e");
        assert_eq!(rendered("grüße ☂"), "grüße ☂");
    }

    #[test]
    fn long_values_are_cut_and_stay_different() {
        let (one, other) = ("☂".repeat(100_000), "☂".repeat(100_001));
        let (one, other) = (rendered(&one), rendered(&other));
        assert!(one.len() <= MAX_VALUE_BYTES + 17, "{} bytes", one.len());
        assert_ne!(one, other);
        assert_eq!(rendered(&"x".repeat(MAX_VALUE_BYTES)).len(), MAX_VALUE_BYTES);
    }

    #[test]
    fn of_rows_with_the_same_labels_the_first_stays() {
        let rows = Rows::new([(vxlan("b"), 1), (vxlan("a"), 2), (vxlan("b"), 3)]);
        assert_eq!(rows.iter().copied().collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn no_more_rows_are_kept_than_there_is_room_for() {
        for (max, kept, all) in [(0, 0, false), (1, 1, false), (2, 2, true), (3, 2, true)] {
            let mut rows = Rows::new(["a", "b"].map(|name| (vxlan(name), ())));
            assert_eq!(rows.keep(max), all, "with room for {max}");
            assert_eq!(rows.iter().count(), kept, "with room for {max}");
        }
    }

    proptest! {
        #[test]
        fn a_rendered_value_never_ends_early(value in any::<String>()) {
            let text = rendered(&value);
            prop_assert!(!text.contains(['\n', '\0']));
            let mut bytes = text.bytes();
            let mut back = Vec::new();
            while let Some(byte) = bytes.next() {
                prop_assert!(byte != b'"', "a bare quote in {text:?}");
                back.push(match byte {
                    b'\\' => match bytes.next() {
                        Some(b'n') => b'\n',
                        Some(other @ (b'\\' | b'"')) => other,
                        other => panic!("{other:?} after a backslash in {text:?}"),
                    },
                    byte => byte,
                });
            }
            prop_assert_eq!(String::from_utf8(back).expect("text"), value.replace('\0', "\u{fffd}"));
        }
    }
}
