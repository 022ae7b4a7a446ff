//! Fuzz targets for the parsers of the kernel's descriptions of itself: its types (BTF) and its symbols. See
//! [`crate::fuzzing`].

use netmon_common::{connection, drops, edges, kernel::NAMESPACE, tcp};

use super::{
    btf::Types,
    drops::{Reasons, harmless},
    symbols::Ranges,
};

/// The largest offset in bytes that a structure can have. Offsets are stored in bits, as 32-bit numbers.
const FARTHEST: u32 = u32::MAX / 8;

/// Parses `data` as the kernel's types, and checks what is read from them.
pub(crate) fn types(data: &[u8]) {
    let Ok(types) = Types::parse(data.to_vec()) else { return };
    let fields = [
        NAMESPACE,
        connection::FIELDS,
        connection::FIELDS_OF_REASONS,
        drops::FIELDS,
        edges::FIELDS,
        tcp::FIELDS,
    ];
    for field in fields.into_iter().flatten() {
        let offset = types.offset(field.structure, field.member);
        assert!(offset.is_none_or(|offset| offset <= FARTHEST), "{offset:?} is nowhere");
    }
    for tracepoint in [drops::TRACEPOINT, "inet_sock_set_state", "x"] {
        let arguments = types.arguments(tracepoint);
        assert!(
            arguments.is_none_or(|arguments| arguments < 1 << 16),
            "{arguments:?} arguments"
        );
    }
    let [reasons, subsystems] = [super::drops::ENUMERATION, super::drops::SUBSYSTEMS].map(|name| {
        let values = types.enumeration(name);
        assert!(
            values.len() <= data.len() / 8,
            "{} names in {} bytes",
            values.len(),
            data.len()
        );
        values
    });
    let numbers: Vec<_> = reasons
        .iter()
        .filter_map(|(_, number)| u32::try_from(*number).ok())
        .collect();
    let reasons = Reasons::new(reasons, subsystems);
    for number in numbers {
        let name = reasons.name(number);
        assert!(
            reasons.number(&name).is_some(),
            "{number} is called {name:?}, and nothing has that name"
        );
    }
    let _name = reasons.name(3 << 16 | 5);
    let bits = reasons.bits(harmless::REASONS);
    let set: u32 = bits.iter().map(|word| word.count_ones()).sum();
    assert!(usize::try_from(set).is_ok_and(|set| set <= harmless::REASONS.len()));
}

/// Parses `data` as the kernel's list of symbols, and checks the ranges.
pub(crate) fn symbols(data: &[u8]) {
    let ranges = Ranges::read(data, harmless::FUNCTIONS).expect("memory can be read");
    if let Some(ranges) = ranges {
        assert!(!ranges.contain(u64::MAX), "the last address has no end");
    }
}
