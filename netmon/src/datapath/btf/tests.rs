//! Lookups in made-up type information, and in broken one.

use std::collections::BTreeMap;

use netmon_common::kernel::Field;
use proptest::prelude::{any, prop, proptest};

use super::{
    BtfError, KIND_ENUM, KIND_ENUM64, KIND_FUNC_PROTO, KIND_INT, KIND_PTR, KIND_STRUCT, KIND_TYPEDEF, KIND_UNION,
    LONGEST_NAME, Types,
};

/// Builds type information.
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// How many bytes of names the base has.
    before: usize,
}

impl Builder {
    fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            before: 0,
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.before + self.strings.len()).expect("short");
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    /// Adds a type: its kind and the flag of the info word, then its length, then its size or another type. Then
    /// come the rows of `tail`, of which the first `words` words each are used.
    fn add(&mut self, name: &str, (kind, flag): (u8, bool), length: u32, of: u32, (tail, words): (&[[u32; 3]], usize)) {
        let name = self.name(name);
        let info = u32::from(flag) << 31 | u32::from(kind) << 24 | length;
        let tail = tail.iter().flat_map(|words_of| words_of[..words].to_vec());
        for word in [name, info, of].into_iter().chain(tail) {
            self.types.extend(word.to_ne_bytes());
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len(), self.strings.len());
        let mut bytes = vec![];
        bytes.extend(0xeb9f_u16.to_ne_bytes());
        bytes.extend([1, 0]);
        for word in [24, 0, types, types, strings] {
            bytes.extend(u32::try_from(word).expect("short").to_ne_bytes());
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }
}

/// 1: int; 2: union { 3 }; 3: struct { dev }; 4: struct packet; 5: enum; 6: proto; 7: ptr; 8: typedef.
fn sample() -> Builder {
    let mut builder = Builder::new();
    builder.add("int", (KIND_INT, false), 0, 4, (&[[32, 0, 0]], 1));
    let (inner, dev, sk, bit) = (0, builder.name("dev"), builder.name("sk"), builder.name("bit"));
    let (first, byte) = (builder.name("first_bits"), builder.name("byte"));
    builder.add("", (KIND_UNION, false), 1, 8, (&[[inner, 3, 0]], 3));
    builder.add("", (KIND_STRUCT, false), 1, 8, (&[[dev, 1, 32]], 3));
    builder.add(
        "packet",
        (KIND_STRUCT, true),
        5,
        24,
        (
            &[
                [inner, 2, 64],
                [sk, 1, 128],
                [bit, 1, 1 << 24 | 0xa1],
                [first, 1, 2 << 24 | 0xa8],
                [byte, 1, 8 << 24 | 0xb0],
            ],
            3,
        ),
    );
    let (first, second) = (builder.name("FIRST"), builder.name("SECOND"));
    builder.add(
        "reason",
        (KIND_ENUM, false),
        2,
        4,
        (&[[first, 0, 0], [second, 7, 0]], 2),
    );
    builder.add("", (KIND_FUNC_PROTO, false), 4, 0, (&[[0, 1, 0]; 4], 2));
    builder.add("", (KIND_PTR, false), 0, 6, (&[], 0));
    builder.add("btf_trace_kfree_skb", (KIND_TYPEDEF, false), 0, 7, (&[], 0));
    builder
}

/// The kernel's types, and those of a module. 1 to 8: see [`sample`]; 9: struct { hidden }; 10: struct `of_module`.
pub(super) fn module() -> (Vec<u8>, Vec<u8>) {
    let mut kernel = sample();
    let sk = kernel.name("sk");
    let mut own = Builder {
        before: kernel.strings.len(),
        strings: vec![],
        ..Builder::new()
    };
    let (its_own, hidden) = (own.name("its_own"), own.name("hidden"));
    own.add("", (KIND_STRUCT, false), 1, 8, (&[[hidden, 1, 32]], 3));
    let members = [[sk, 1, 64], [its_own, 1, 128], [0, 9, 192], [0, 2, 256]];
    own.add("of_module", (KIND_STRUCT, false), 4, 40, (&members, 3));
    (kernel.bytes(), own.bytes())
}

#[test]
fn a_member_is_found_also_within_members_without_a_name() {
    let types = Types::parse(sample().bytes()).expect("types");
    assert_eq!(types.offset("packet", "dev"), Some(12));
    assert_eq!(types.offset("packet", "sk"), Some(16));
    assert_eq!(types.offset("packet", "nothing"), None);
    assert_eq!(types.offset("nothing", "dev"), None);
}

#[test]
fn a_bit_field_has_no_offset_in_bytes() {
    let types = Types::parse(sample().bytes()).expect("types");
    assert_eq!(types.offset("packet", "bit"), None);
    assert_eq!(
        types.offset("packet", "first_bits"),
        None,
        "the rest of the byte is another member's"
    );
    assert_eq!(types.offset("packet", "byte"), Some(22), "it is a whole byte");
}

/// Members by name, and theirs.
#[derive(Default)]
struct Members<'a>(BTreeMap<&'a str, Members<'a>>);

impl<'a> Members<'a> {
    fn insert(&mut self, path: impl Iterator<Item = &'a str>) {
        path.fold(self, |it, name| it.0.entry(name).or_default());
    }

    /// Adds a structure that has them, each 8 bytes behind the one before. Returns its id, if it has any.
    fn add(&self, name: &str, builder: &mut Builder, types: &mut u32) -> u32 {
        let Self(members) = self;
        let rows: Vec<_> = (0..)
            .zip(members)
            .map(|(number, (name, its))| [builder.name(name), its.add("", builder, types), number * 64])
            .collect();
        if rows.is_empty() {
            return 0;
        }
        let length = u32::try_from(rows.len()).expect("few");
        builder.add(name, (KIND_STRUCT, false), length, length * 8, (&rows, 3));
        *types += 1;
        *types
    }
}

/// The types of a kernel that has these fields.
pub(in crate::datapath) fn with_fields<'a>(fields: impl IntoIterator<Item = &'a Field>) -> Types {
    let mut structures = Members::default();
    for field in fields {
        structures.insert([field.structure].into_iter().chain(field.member.split('.')));
    }
    let (mut builder, mut types) = (Builder::new(), 0);
    for (name, members) in &structures.0 {
        members.add(name, &mut builder, &mut types);
    }
    Types::parse(builder.bytes()).expect("types")
}

#[test]
fn an_enumeration_and_a_tracepoints_arguments_are_found() {
    let types = Types::parse(sample().bytes()).expect("types");
    assert_eq!(
        types.enumeration("reason"),
        [("FIRST".to_owned(), 0), ("SECOND".to_owned(), 7)]
    );
    assert!(types.enumeration("nothing").is_empty());
    assert_eq!(types.arguments("kfree_skb"), Some(3));
    assert_eq!(types.arguments("nothing"), None);
}

#[test]
fn the_numbers_of_enumerators_are_found_in_whatever_enumeration() {
    let mut builder = sample();
    let (of_none, of_long) = (builder.name("OF_NONE"), builder.name("OF_LONG"));
    builder.add("", (KIND_ENUM, false), 1, 4, (&[[of_none, 41, 0]], 2));
    builder.add("long", (KIND_ENUM64, false), 1, 8, (&[[of_long, 1, 2]], 3));
    // The first of a name counts.
    let again = builder.name("SECOND");
    builder.add("", (KIND_ENUM, false), 1, 4, (&[[again, 8, 0]], 2));
    let types = Types::parse(builder.bytes()).expect("types");
    assert_eq!(
        types.numbers(["OF_NONE", "SECOND", "nothing", "OF_LONG", ""]),
        [Some(41), Some(7), None, Some(2 << 32 | 1), None]
    );
}

#[test]
fn a_kind_that_is_not_known_is_said() {
    let mut builder = sample();
    builder.add("later", (31, false), 0, 0, (&[], 0));
    assert!(matches!(Types::parse(builder.bytes()), Err(BtfError::UnknownKind(31))));
}

/// What another version has at the same places is not known: enumerations are believed without the verifier.
#[test]
fn a_version_that_is_not_known_is_said() {
    let mut bytes = sample().bytes();
    bytes[2] = 2;
    assert!(matches!(Types::parse(bytes), Err(BtfError::Version(2))));
}

#[test]
fn a_type_that_contains_itself_is_no_endless_loop() {
    let mut builder = Builder::new();
    builder.add("packet", (KIND_STRUCT, false), 1, 8, (&[[0, 1, 0]], 3));
    builder.add("btf_trace_x", (KIND_TYPEDEF, false), 0, 2, (&[], 0));
    let types = Types::parse(builder.bytes()).expect("types");
    assert_eq!(types.offset("packet", "dev"), None);
    assert_eq!(types.arguments("x"), None);
}

#[test]
fn members_without_a_name_that_nest_in_each_other_are_given_up() {
    let mut builder = Builder::new();
    builder.add("packet", (KIND_STRUCT, false), 200, 8, (&[[0, 1, 0]; 200], 3));
    let types = Types::parse(builder.bytes()).expect("types");
    assert_eq!(types.offset("packet", "dev"), None);
}

#[test]
fn a_name_that_does_not_end_is_none() {
    let mut builder = Builder::new();
    let name = "x".repeat(LONGEST_NAME);
    builder.add(&name, (KIND_STRUCT, false), 0, 8, (&[], 0));
    let types = Types::parse(builder.bytes()).expect("types");
    assert_eq!(types.names.len(), 0);
}

proptest! {
    #[test]
    fn whatever_the_bytes_are_nothing_panics(mut noise in prop::collection::vec(any::<(usize, u8)>(), 0..8)) {
        let mut bytes = sample().bytes();
        for (at, byte) in noise.drain(..) {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(types) = Types::parse(bytes) {
            let _found = (types.offset("packet", "dev"), types.enumeration("reason"), types.arguments("kfree_skb"));
            let _numbers = types.numbers(["FIRST", "SECOND"]);
        }
    }
}
