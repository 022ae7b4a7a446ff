//! Texts from outside that become names on the page.

use std::{
    borrow::Cow,
    cmp::Ordering,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

/// What takes the end's place in a text that is cut: `~` and a hash in hexadecimal digits.
const HASH_BYTES: usize = 17;

/// The text in at most so many bytes. A longer text ends in a hash of the whole text: two texts that agree in all that
/// is kept would otherwise be one series, and one of the two would be lost.
///
/// The hash is the same in every netmon of one build. `longest` has to leave room for it: 17 bytes.
#[must_use]
pub fn cut(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return Cow::Borrowed(text);
    }
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let kept = &text[..text.floor_char_boundary(longest.saturating_sub(HASH_BYTES))];
    Cow::Owned(format!("{kept}~{:016x}", hasher.finish()))
}

/// Whether two texts are equal. Empty ones are common, and may be nowhere in memory. To compare no bytes there takes some
/// processors longer than to compare many elsewhere: a masked load that would fault is done over, more slowly.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}

/// The order of two texts, which compares no bytes of empty ones, either ([`is_same`]).
#[must_use]
pub fn order(one: &str, other: &str) -> Ordering {
    match (one.is_empty(), other.is_empty()) {
        (false, false) => one.cmp(other),
        (one, other) => other.cmp(&one),
    }
}

/// A line without what a terminal obeys, and without an end in its middle. For names from outside that are printed or logged.
#[must_use]
pub fn printable(line: &str) -> String {
    let safe = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    line.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{HASH_BYTES, cut, is_same, order};

    #[test]
    fn a_text_that_fits_is_kept() {
        assert_eq!(cut("", 20), "");
        assert_eq!(cut(&"x".repeat(20), 20), "x".repeat(20));
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_is_cut_between_two_characters() {
        let long = "€".repeat(20);
        let short = cut(&long, 30);
        assert!(
            short.starts_with("€€€€~") && short.len() == 4 * 3 + HASH_BYTES,
            "{short:?}"
        );
    }

    #[test]
    fn empty_texts_are_compared_like_others() {
        let texts = ["", "a", "b", "ab"];
        for (one, other) in texts.iter().flat_map(|one| texts.map(|other| (*one, other))) {
            assert_eq!(order(one, other), one.cmp(other));
            assert_eq!(is_same(one, other), one == other);
        }
    }

    proptest! {
        #[test]
        fn texts_stay_short_and_different(begin in any::<String>(), one in any::<String>(), other in any::<String>()) {
            let (one, other) = (format!("{begin}{one}"), format!("{begin}{other}"));
            for longest in [HASH_BYTES, 20, 64] {
                let (short, shorter) = (cut(&one, longest), cut(&other, longest));
                prop_assert!(short.len() <= longest && shorter.len() <= longest);
                prop_assert_eq!(short == shorter, one == other);
            }
        }
    }
}
