//! Label sets: their names, and how values become text.
//!
//! Labels are rendered into a [`Block`]. A block also identifies a series: "one label set is one series" is decided on
//! the very bytes that are exposed.
//!
//! Values come from outside. A name may contain quotes, line feeds, a NUL (which ends Prometheus' parser in the
//! middle of the page) or a megabyte. The page always remains well-formed and bounded, and different values remain
//! different.

use std::{marker::PhantomData, ops::Range, sync::Arc};

use super::key::Key;
use crate::model::text::{cut, is_same};

/// Longer values are cut, and end in a hash of the whole value. Names are cut to a quarter of this length before. A
/// list of addresses is not.
const MAX_VALUE_BYTES: usize = 1024;

/// The values of a row's labels, taken from its key.
pub(crate) type Values = for<'a> fn(&'a Key, &mut Vec<&'a str>);

/// The names of a label set.
pub trait LabelSet {
    /// Its label names, in the order of the exposition.
    const NAMES: &'static [&'static str];
    /// Appends the values from a row's key; `None` if a key does not have all of them.
    #[doc(hidden)]
    const OF_KEY: Option<Values> = None;
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
    pub(super) text: Text,
    labels: PhantomData<fn() -> L>,
}

/// Rendered labels.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// Rows that stay from page to page, and rows of several groups, have these in common.
    common: Arc<str>,
    last: &'static str,
}

impl<L: LabelSet> Block<L> {
    /// Renders the labels with these values.
    pub(crate) fn new(values: &[&str]) -> Self {
        Self::of(Arc::from(render(L::NAMES, values)), "")
    }

    /// The same labels, and one more: what [`last`] rendered.
    pub(crate) fn and<M: LabelSet>(&self, last: &'static str) -> Block<M> {
        debug_assert!(
            M::NAMES.split_last().is_some_and(|(_, names)| names == L::NAMES),
            "{:?} is not one label more than {:?}",
            M::NAMES,
            L::NAMES
        );
        Block::of(Arc::clone(&self.text.common), last)
    }

    const fn of(common: Arc<str>, last: &'static str) -> Self {
        Self {
            text: Text { common, last },
            labels: PhantomData,
        }
    }
}

impl<L> Clone for Block<L> {
    fn clone(&self) -> Self {
        Self {
            text: self.text.clone(),
            labels: PhantomData,
        }
    }
}

/// Renders the last label of a set that has others.
pub(crate) fn last<L: LabelSet>(value: &str) -> String {
    let mut text = String::new();
    if let Some(name) = L::NAMES.last() {
        push_label(&mut text, false, name, value);
    }
    text
}

/// Renders labels.
fn render(names: &[&str], values: &[&str]) -> String {
    let size = names.iter().map(|name| name.len() + r#","="#.len() + 1).sum::<usize>();
    let mut text = String::with_capacity(size + values.iter().map(|value| value.len()).sum::<usize>());
    for (name, value) in names.iter().zip(values) {
        let is_first = text.is_empty();
        push_label(&mut text, is_first, name, value);
    }
    text
}

/// Renders the labels of rows, one after the other, into one text.
///
/// Rows of a container follow each other, and so do those of each of its networks. What a row has in common with the one
/// before is copied.
#[derive(Debug)]
pub(super) struct Renderer<'a> {
    names: &'static [&'static str],
    of_key: Option<Values>,
    text: String,
    /// Where the last row begins whose labels were those of its key.
    begin: usize,
    /// Its values, each with the length of the labels up to it.
    before: Vec<(&'a str, usize)>,
    values: Vec<&'a str>,
}

impl<'a> Renderer<'a> {
    /// Labels with these names, and their values.
    pub(super) const fn new(names: &'static [&'static str], of_key: Option<Values>) -> Self {
        Self {
            names,
            of_key,
            text: String::new(),
            begin: 0,
            before: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Renders the labels of a key, and returns where they are.
    pub(super) fn of_key(&mut self, key: &'a Key) -> Range<usize> {
        let begin = self.text.len();
        self.values.clear();
        if let Some(values) = self.of_key {
            values(key, &mut self.values);
        }
        let both = self.before.iter().zip(&self.values);
        let common = both.take_while(|((before, _), value)| is_same(before, value)).count();
        self.before.truncate(common);
        let copied = self.before.last().map_or(0, |(_, length)| *length);
        self.text.extend_from_within(self.begin..self.begin + copied);
        for (name, value) in self.names.iter().zip(&self.values).skip(common) {
            push_label(&mut self.text, self.before.is_empty(), name, value);
            self.before.push((value, self.text.len() - begin));
        }
        self.begin = begin;
        begin..self.text.len()
    }

    /// Appends labels that are rendered already.
    pub(super) fn rendered(&mut self, labels: &Text) -> Range<usize> {
        let begin = self.text.len();
        self.text.push_str(&labels.common);
        self.text.push_str(labels.last);
        begin..self.text.len()
    }

    /// All of them.
    pub(super) fn finish(self) -> String {
        self.text
    }
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
            #[allow(dead_code, reason = "sets with values in common are rendered from a list of values")]
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
            const OF_KEY: Option<$crate::page::labels::Values> = Some(|key, values| {
                values.extend_from_slice(&[$($crate::page::labels::key_part!(key, $label $($part)?)),*]);
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

/// Appends a label. Labels are separated by commas.
fn push_label(text: &mut String, is_first: bool, name: &str, value: &str) {
    if !is_first {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    push_value(text, value);
    text.push('"');
}

/// Appends a value as it is written between the quotes.
fn push_value(text: &mut String, value: &str) {
    let value = cut(value, MAX_VALUE_BYTES);
    // Nearly always false. Without an early end, the compiler looks at many bytes at once.
    let is_odd = value.bytes().fold(false, |odd, byte| odd | escape(byte).is_some());
    if !is_odd {
        text.push_str(&value);
        return;
    }
    let mut plain = 0;
    for (at, byte) in value.bytes().enumerate() {
        let Some(escaped) = escape(byte) else { continue };
        text.push_str(&value[plain..at]);
        text.push_str(escaped);
        plain = at + 1;
    }
    text.push_str(&value[plain..]);
}

/// What is written in place of a byte that would end a value or the page.
const fn escape(byte: u8) -> Option<&'static str> {
    match byte {
        b'\\' => Some(r"\\"),
        b'"' => Some(r#"\""#),
        b'\n' => Some(r"\n"),
        0 => Some("\u{fffd}"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::{LabelSet, MAX_VALUE_BYTES, Renderer, push_value, render};
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

    /// The labels of these keys, as they are on a page.
    fn one_after_the_other(keys: &[Key]) -> Vec<String> {
        let mut renderer = Renderer::new(Interface::NAMES, Interface::OF_KEY);
        let places: Vec<_> = keys.iter().map(|key| renderer.of_key(key)).collect();
        let text = renderer.finish();
        places.into_iter().map(|place| text[place].to_owned()).collect()
    }

    #[test]
    fn a_block_has_every_label_in_order() {
        let identity = Identity {
            container: "web.1".to_owned(),
            service: "web".to_owned(),
            stack: String::new(),
        };
        let key = Key::of(&identity.into()).on(&"front".into()).what("eth0");
        let expected = r#"container="web.1",service="web",stack="",network="front",interface="eth0""#;
        assert_eq!(one_after_the_other(&[key]), [expected]);
    }

    #[test]
    fn a_label_may_be_called_like_a_word_of_the_language() {
        assert_eq!(Program::NAMES, ["program", "type"]);
        let labels = Program {
            program: "drops",
            r#type: "tracing",
        };
        assert_eq!(&*labels.block().text.common, r#"program="drops",type="tracing""#);
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

        /// Few values, so that many rows have the beginning of their labels in common with the one before.
        #[test]
        fn what_a_row_has_in_common_with_the_one_before_is_its_own(
            rows in prop::collection::vec(prop::collection::vec("[a\"]{0,2}", 5), 0..12),
        ) {
            let keys: Vec<_> = rows.iter().map(|row| {
                let identity = Identity { container: row[0].clone(), service: row[1].clone(), stack: row[2].clone() };
                Key::of(&identity.into()).on(&row[3].as_str().into()).what(row[4].clone())
            }).collect();
            let alone: Vec<_> = rows.iter().map(|row| {
                let values: Vec<_> = row.iter().map(String::as_str).collect();
                render(Interface::NAMES, &values)
            }).collect();
            prop_assert_eq!(one_after_the_other(&keys), alone);
        }
    }
}
