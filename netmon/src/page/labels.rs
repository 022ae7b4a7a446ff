//! Label sets: their names, and how values become text.
//!
//! Labels are rendered into a [`Block`]. A block also identifies a series: "one label set is one series" is decided on
//! the very bytes that are exposed.
//!
//! Values come from outside. A name may contain quotes, line feeds, a NUL (which ends Prometheus' parser in the
//! middle of the page) or a megabyte. The page always remains well-formed and bounded, and different values remain
//! different.

use std::marker::PhantomData;

use super::key::Key;
use crate::model::text::cut;

/// Longer values are cut, and end in a hash of the whole value. Names are cut to a quarter of this length before. A
/// list of addresses is not.
const MAX_VALUE_BYTES: usize = 1024;

/// The names of a label set.
pub trait LabelSet {
    /// Its label names, in the order of the exposition.
    const NAMES: &'static [&'static str];
    /// Renders the labels from a row's key; `None` if a key does not have all of them.
    #[doc(hidden)]
    const OF_KEY: Option<fn(&Key) -> String> = None;
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
    pub(super) text: String,
    labels: PhantomData<fn() -> L>,
}

impl<L: LabelSet> Block<L> {
    /// Renders the labels with these values.
    pub(crate) fn new(values: &[&str]) -> Self {
        Self {
            text: render(L::NAMES, values),
            labels: PhantomData,
        }
    }
}

/// Renders labels.
pub(crate) fn render(names: &[&str], values: &[&str]) -> String {
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
    text
}

/// Declares label sets: structs with a value for each label.
macro_rules! label_sets {
    ($($(#[$doc:meta])* $vis:vis $set:ident { $($label:ident),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        #[allow(missing_docs, reason = "the labels are explained where the families are; tests have private ones")]
        $vis struct $set<'a> {
            $($vis $label: &'a str,)*
        }

        impl $crate::page::labels::LabelSet for $set<'_> {
            const NAMES: &'static [&'static str] =
                &[$($crate::page::labels::label_name(stringify!($label))),*];
        }

        impl $set<'_> {
            /// Renders the labels.
            pub(crate) fn block(&self) -> $crate::page::labels::Block<$set<'static>> {
                let Self { $($label),* } = self;
                $crate::page::labels::Block::new(&[$($label),*])
            }
        }
    )*};
}

/// Declares label sets whose values a row's [`Key`] has: `label` has the value of the part with its name,
/// `label = part` that of another part.
macro_rules! key_labels {
    ($($(#[$doc:meta])* $vis:vis $set:ident { $($label:ident $(= $part:ident)?),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        $vis enum $set {}

        impl $crate::page::labels::LabelSet for $set {
            const NAMES: &'static [&'static str] =
                &[$($crate::page::labels::label_name(stringify!($label))),*];
            const OF_KEY: Option<fn(&$crate::page::key::Key) -> String> = Some(|key| {
                $crate::page::labels::render(
                    Self::NAMES,
                    &[$($crate::page::labels::key_part!(key, $label $($part)?)),*],
                )
            });
        }
    )*};
}

/// The part of a key that a label has the value of.
macro_rules! key_part {
    ($key:ident, container) => {
        &$key.identity.container
    };
    ($key:ident, service) => {
        &$key.identity.service
    };
    ($key:ident, stack) => {
        &$key.identity.stack
    };
    ($key:ident, network) => {
        &$key.network
    };
    ($key:ident, $label:ident $part:ident) => {
        &$key.$part
    };
}

pub(crate) use {key_labels, key_part, label_sets};

/// The label name for a field.
pub(crate) const fn label_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// Appends a value as it is written between the quotes.
fn push_value(text: &mut String, value: &str) {
    let value = cut(value, MAX_VALUE_BYTES);
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

    use super::{LabelSet, MAX_VALUE_BYTES, push_value};
    use crate::{model::inventory::Identity, page::key::Key};

    key_labels! {
        /// Labels that a key has.
        Interface { container, service, stack, network, interface = what }
    }

    label_sets! {
        /// Labels that no key has.
        Program { program, r#type }
    }

    fn rendered(value: &str) -> String {
        let mut text = String::new();
        push_value(&mut text, value);
        text
    }

    #[test]
    fn a_block_has_every_label_in_order() {
        let identity = Identity {
            container: "web.1".to_owned(),
            service: "web".to_owned(),
            stack: String::new(),
        };
        let key = Key::of(&identity.into()).on(&"front".into()).what("eth0");
        let render = Interface::OF_KEY.expect("a key has these labels");
        let expected = r#"container="web.1",service="web",stack="",network="front",interface="eth0""#;
        assert_eq!(render(&key), expected);
    }

    #[test]
    fn a_label_may_be_called_like_a_word_of_the_language() {
        assert_eq!(Program::NAMES, ["program", "type"]);
        let labels = Program {
            program: "drops",
            r#type: "tracing",
        };
        assert_eq!(labels.block().text, r#"program="drops",type="tracing""#);
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
        assert!(one.len() <= MAX_VALUE_BYTES, "{} bytes", one.len());
        assert_ne!(one, other);
        assert_eq!(rendered(&"x".repeat(MAX_VALUE_BYTES)).len(), MAX_VALUE_BYTES);
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
