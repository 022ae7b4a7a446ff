//! Texts from outside that become names on the page.

use std::{
    borrow::Cow,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{HASH_BYTES, cut};

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
