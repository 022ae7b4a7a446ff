//! Where the parts of type information are, and what the types of a module continue: the kernel's own.
//!
//! A module's types are numbered on from the kernel's, and its names from the kernel's names. A name that the kernel has
//! already is not repeated.

use super::{BtfError, TYPE_BYTES, head_at, tail, u16_at, u32_at};

const MAGIC: u16 = 0xeb9f;
/// The only version of the format (`BTF_VERSION`).
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 24;

/// Where the types begin and end, and where the names begin.
pub(super) struct Sections {
    pub(super) at: usize,
    pub(super) end: usize,
    pub(super) strings: usize,
}

impl Sections {
    /// Those of these bytes. All lie within them.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, BtfError> {
        let word = |at: usize| usize::try_from(u32_at(bytes, at)?).ok();
        let header =
            || {
                let magic = u16_at(bytes, 0)?;
                let length = word(4)?;
                let at = length.checked_add(word(8)?)?;
                let end = at.checked_add(word(12)?)?;
                let strings = length.checked_add(word(16)?)?;
                (magic == MAGIC && length >= HEADER_BYTES && end <= bytes.len() && strings <= bytes.len())
                    .then_some(Self { at, end, strings })
            };
        if let Some([version, _]) = bytes.get(2..4)
            && u16_at(bytes, 0) == Some(MAGIC)
            && *version != VERSION
        {
            return Err(BtfError::Version(*version));
        }
        header().ok_or(BtfError::Malformed(0))
    }
}

/// What a module's types continue.
#[derive(Debug, Default)]
pub(super) struct Base {
    /// The number of types.
    pub(super) types: u32,
    /// The names.
    pub(super) strings: Box<[u8]>,
}

impl Base {
    /// That of these types.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, BtfError> {
        let Sections { mut at, end, strings } = Sections::of(bytes)?;
        let length = u32_at(bytes, 20).and_then(|length| usize::try_from(length).ok());
        let its = length.and_then(|length| bytes.get(strings..strings.checked_add(length)?));
        let strings = its.ok_or(BtfError::Malformed(20))?.into();
        let mut types = 0;
        while at < end {
            let head = head_at(bytes, at).ok_or(BtfError::Malformed(at))?;
            at += TYPE_BYTES + tail(head)?;
            types += 1;
        }
        Ok(Self { types, strings })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::{super::tests::module, Base, BtfError};
    use crate::datapath::btf::Types;

    proptest! {
        #[test]
        fn whatever_the_bytes_of_a_module_are_nothing_panics(at in 24_usize..300, bytes in prop::collection::vec(any::<u8>(), 1..8)) {
            let (kernel, mut own) = module();
            for (to, byte) in own.iter_mut().skip(at).zip(bytes) {
                *to = byte;
            }
            if let Ok(types) = Types::parse_on(Base::of(&kernel).expect("a base"), own) {
                let _none = (types.offset("of_module", "dev"), types.offset("of_module", "hidden"), types.size("of_module"));
            }
        }
    }

    #[test]
    fn a_modules_types_are_found_by_the_kernels_names_and_by_its_own() {
        let (kernel, own) = module();
        let types = Types::parse_on(Base::of(&kernel).expect("a base"), own).expect("types");
        assert_eq!(types.size("of_module"), Some(40));
        assert_eq!(types.offset("of_module", "sk"), Some(8));
        assert_eq!(types.offset("of_module", "its_own"), Some(16));
        // Within a structure of the module without a name, and within one of the kernel's.
        assert_eq!(types.offset("of_module", "hidden"), Some(28));
        assert_eq!(types.offset("of_module", "dev"), None);
        // The kernel's types are not among them.
        assert_eq!(types.offset("packet", "sk"), None);
    }

    #[test]
    fn a_base_that_is_cut_is_none() {
        let (kernel, _) = module();
        for length in 0..kernel.len() {
            let base = Base::of(&kernel[..length]);
            assert!(matches!(base, Err(BtfError::Malformed(_))), "{length}: {base:?}");
        }
    }
}
