//! The running kernel's own description of its types (BTF): the offset of a field, the numbers of an enumeration, the
//! number of a tracepoint's arguments.
//!
//! Does no I/O except in [`Types::of_kernel`], and reads only what is asked for. An unknown kind of type is an error,
//! because the types behind it cannot be found. The format is the kernel's (`Documentation/bpf/btf.rst`).

mod base;
#[cfg(test)]
pub(super) mod tests;

use std::{collections::HashMap, fs, io};

use self::base::{Base, Sections};

/// The file in which the kernel exposes it.
pub const PATH: &str = "/sys/kernel/btf/vmlinux";
/// The folder with this file, and one for each module.
const FOLDER: &str = "/sys/kernel/btf";

/// Every type begins with a name, an info word, and a size or another type.
const TYPE_BYTES: usize = 12;
/// How deep anonymous members may nest, and how long a chain of typedefs and qualifiers may be. No kernel exceeds
/// this.
const DEPTH: usize = 8;
/// How many members one lookup may visit. Anonymous members that contain each other could otherwise be walked for
/// ever. The kernel's largest structures have some hundreds of members.
const MEMBERS: usize = 1 << 12;
/// The kernel accepts no longer names (`KSYM_NAME_LEN`).
const LONGEST_NAME: usize = 512;

const KIND_INT: u8 = 1;
const KIND_PTR: u8 = 2;
const KIND_ARRAY: u8 = 3;
const KIND_STRUCT: u8 = 4;
const KIND_UNION: u8 = 5;
const KIND_ENUM: u8 = 6;
const KIND_FWD: u8 = 7;
const KIND_TYPEDEF: u8 = 8;
const KIND_VOLATILE: u8 = 9;
const KIND_CONST: u8 = 10;
const KIND_RESTRICT: u8 = 11;
const KIND_FUNC: u8 = 12;
const KIND_FUNC_PROTO: u8 = 13;
const KIND_VAR: u8 = 14;
const KIND_DATASEC: u8 = 15;
const KIND_FLOAT: u8 = 16;
const KIND_DECL_TAG: u8 = 17;
const KIND_TYPE_TAG: u8 = 18;
const KIND_ENUM64: u8 = 19;

/// Why the types cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The kernel has no type information, or it cannot be read.
    #[error("cannot read {PATH}: {0}; the kernel has to be built with CONFIG_DEBUG_INFO_BTF")]
    Missing(#[source] io::Error),
    /// A module has none, or it is not loaded.
    #[error("cannot read the types of the kernel module {module}: {source}")]
    NoModule {
        /// Its name.
        module: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The data has another format than the one that all kernels have had so far.
    #[error("the kernel's type information (BTF) has version {0}, which this netmon does not know; use a newer netmon")]
    Version(u8),
    /// The data is not BTF, or it is truncated.
    #[error("the kernel's type information (BTF) is invalid at byte {0}")]
    Malformed(usize),
    /// The data has a kind of type that netmon does not know. A newer kernel may have such kinds.
    #[error("the kernel's type information (BTF) has a kind ({0}) that this netmon does not know; use a newer netmon")]
    UnknownKind(u8),
}

/// The types of a kernel, or those of one of its modules alone.
#[derive(Debug)]
pub struct Types {
    /// What a module's types continue. It is empty for the kernel's own.
    base: Base,
    bytes: Vec<u8>,
    /// The byte offset of each type. The index is the type's id minus 1, and minus the number of types in the base.
    places: Vec<u32>,
    /// The ids of structures, enumerations and tracepoints, by name.
    names: HashMap<(Class, Box<[u8]>), u32>,
    strings: usize,
}

/// The types that can be looked up by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Class {
    Structure,
    Enumeration,
    Typedef,
}

/// A member of a structure: its offset in bits, and its type's id.
#[derive(Clone, Copy)]
struct Member {
    bits: u32,
    of: u32,
    /// It has bytes of its own. A bit field of another size shares one.
    has_bytes: bool,
}

/// The fixed part of a type.
#[derive(Clone, Copy)]
struct Head {
    /// The byte offset of the type.
    at: usize,
    kind: u8,
    /// The number of members, values or arguments.
    length: usize,
    /// A flag whose meaning depends on the kind.
    flag: bool,
    /// A size, or the id of another type.
    of: u32,
}

impl Types {
    /// Reads the types of the running kernel.
    ///
    /// # Errors
    /// See [`BtfError`].
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::parse(fs::read(PATH).map_err(BtfError::Missing)?)
    }

    /// Reads the types of a module that is loaded. A member of a type that is the kernel's own is not found in it.
    ///
    /// # Errors
    /// See [`BtfError`].
    pub fn of_module(module: &'static str) -> Result<Self, BtfError> {
        let bytes = fs::read(format!("{FOLDER}/{module}")).map_err(|source| BtfError::NoModule { module, source })?;
        Self::parse_on(Base::of(&fs::read(PATH).map_err(BtfError::Missing)?)?, bytes)
    }

    /// Parses types.
    ///
    /// # Errors
    /// See [`BtfError`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        Self::parse_on(Base::default(), bytes)
    }

    fn parse_on(base: Base, bytes: Vec<u8>) -> Result<Self, BtfError> {
        let Sections { mut at, end, strings } = Sections::of(&bytes)?;
        let mut types = Self {
            base,
            bytes,
            places: Vec::new(),
            names: HashMap::new(),
            strings,
        };
        while at < end {
            let head = head_at(&types.bytes, at).ok_or(BtfError::Malformed(at))?;
            types
                .places
                .push(u32::try_from(at).map_err(|_| BtfError::Malformed(at))?);
            types.remember(head);
            at = at + TYPE_BYTES + tail(head)?;
        }
        Ok(types)
    }

    /// The offset in bytes of a structure's member. A dotted path leads into the members of a member. A bit field that
    /// is no whole byte has none.
    #[must_use]
    pub fn offset(&self, structure: &str, member: &str) -> Option<u32> {
        let mut of = self.find(Class::Structure, structure)?;
        let mut bits = 0_u32;
        let mut budget = MEMBERS;
        for name in member.split('.') {
            let found = self.member(of, name.as_bytes(), DEPTH, &mut budget)?;
            if !found.has_bytes {
                return None;
            }
            bits = bits.checked_add(found.bits)?;
            of = found.of;
        }
        bits.is_multiple_of(u8::BITS).then_some(bits / u8::BITS)
    }

    /// The size of a structure in bytes.
    #[must_use]
    pub fn size(&self, structure: &str) -> Option<u32> {
        let head = self.head(self.find(Class::Structure, structure)?)?;
        (head.kind == KIND_STRUCT).then_some(head.of)
    }

    /// The names of an enumeration and their numbers. Empty if there is no such enumeration.
    #[must_use]
    pub fn enumeration(&self, name: &str) -> Vec<(String, u64)> {
        let values = || {
            let head = self.head(self.find(Class::Enumeration, name)?)?;
            let owned = |(name, value)| (String::from_utf8_lossy(name).into_owned(), value);
            self.enumerators(head).map(|it| it.map(owned)).collect::<Option<_>>()
        };
        values().unwrap_or_default()
    }

    /// The numbers of enumerators with these names, of whatever enumeration: not all have names themselves.
    #[must_use]
    pub fn numbers<const N: usize>(&self, names: [&str; N]) -> [Option<u64>; N] {
        let mut numbers = [None; N];
        for head in self
            .places
            .iter()
            .filter_map(|place| head_at(&self.bytes, usize::try_from(*place).ok()?))
        {
            if !matches!(head.kind, KIND_ENUM | KIND_ENUM64) {
                continue;
            }
            for (name, value) in self.enumerators(head).flatten() {
                if let Some(at) = names.iter().position(|it| it.as_bytes() == name) {
                    numbers[at].get_or_insert(value);
                }
            }
        }
        numbers
    }

    /// The enumerators of an enumeration; `None` for one that is cut.
    fn enumerators(&self, head: Head) -> impl Iterator<Item = Option<(&[u8], u64)>> {
        let size = if head.kind == KIND_ENUM { 8 } else { 12 };
        (0..head.length).map(move |index| {
            let at = head.at + TYPE_BYTES + index * size;
            let high = if head.kind == KIND_ENUM64 {
                u32_at(&self.bytes, at + 8)?
            } else {
                0
            };
            let value = u64::from(high) << 32 | u64::from(u32_at(&self.bytes, at + 4)?);
            Some((self.string(u32_at(&self.bytes, at)?)?, value))
        })
    }

    /// The number of a tracepoint's arguments. `None` if there is no such tracepoint.
    #[must_use]
    pub fn arguments(&self, tracepoint: &str) -> Option<u32> {
        let pointer = self.find(Class::Typedef, &format!("btf_trace_{tracepoint}"))?;
        let pointer = self.head(self.strip(pointer)?)?;
        let function = self.head(self.strip(pointer.of)?)?;
        // The first argument is the tracepoint's own.
        (pointer.kind == KIND_PTR && function.kind == KIND_FUNC_PROTO)
            .then(|| u32::try_from(function.length).ok()?.checked_sub(1))
            .flatten()
    }

    fn remember(&mut self, head: Head) {
        let class = match head.kind {
            KIND_STRUCT => Class::Structure,
            KIND_ENUM | KIND_ENUM64 => Class::Enumeration,
            KIND_TYPEDEF => Class::Typedef,
            _ => return,
        };
        let Some(name) = u32_at(&self.bytes, head.at).and_then(|name| self.string(name)) else {
            return;
        };
        if name.is_empty() || (class == Class::Typedef && !name.starts_with(b"btf_trace_")) {
            return;
        }
        let key = (class, Box::from(name));
        let id = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let id = id.saturating_add(self.base.types);
        self.names.entry(key).or_insert(id);
    }

    fn find(&self, class: Class, name: &str) -> Option<u32> {
        self.names.get(&(class, Box::from(name.as_bytes()))).copied()
    }

    /// Finds a member by name, also inside anonymous members.
    fn member(&self, structure: u32, name: &[u8], depth: usize, budget: &mut usize) -> Option<Member> {
        let head = self.head(self.strip(structure)?)?;
        if !matches!(head.kind, KIND_STRUCT | KIND_UNION) || depth == 0 {
            return None;
        }
        (0..head.length).find_map(|index| {
            *budget = budget.checked_sub(1)?;
            let at = head.at + TYPE_BYTES + index * 12;
            let its_name = self.string(u32_at(&self.bytes, at)?)?;
            let of = u32_at(&self.bytes, at + 4)?;
            let offset = u32_at(&self.bytes, at + 8)?;
            // If the flag is set, the top byte is the size of a bit field.
            let (bits, size) = if head.flag {
                (offset & 0x00ff_ffff, offset >> 24)
            } else {
                (offset, 0)
            };
            if its_name == name {
                let has_bytes = size.is_multiple_of(u8::BITS);
                return Some(Member { bits, of, has_bytes });
            }
            if !its_name.is_empty() {
                return None;
            }
            let within = self.member(of, name, depth - 1, budget)?;
            Some(Member {
                bits: bits.checked_add(within.bits)?,
                ..within
            })
        })
    }

    /// Follows typedefs and qualifiers to the type behind them.
    fn strip(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEPTH {
            let head = self.head(id)?;
            match head.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => id = head.of,
                _ => return Some(id),
            }
        }
        None
    }

    fn head(&self, id: u32) -> Option<Head> {
        let index = id.checked_sub(1)?.checked_sub(self.base.types)?;
        let place = self.places.get(usize::try_from(index).ok()?)?;
        head_at(&self.bytes, usize::try_from(*place).ok()?)
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        let offset = usize::try_from(offset).ok()?;
        let text = match offset.checked_sub(self.base.strings.len()) {
            Some(own) => self.bytes.get(self.strings.checked_add(own)?..)?,
            None => self.base.strings.get(offset..)?,
        };
        let end = text.iter().take(LONGEST_NAME).position(|byte| *byte == 0)?;
        text.get(..end)
    }
}

fn head_at(bytes: &[u8], at: usize) -> Option<Head> {
    let info = u32_at(bytes, at + 4)?;
    let (length, kind) = (
        usize::try_from(info & 0xffff).ok()?,
        u8::try_from(info >> 24 & 0x1f).ok()?,
    );
    Some(Head {
        at,
        kind,
        length,
        flag: info >> 31 == 1,
        of: u32_at(bytes, at + 8)?,
    })
}

/// The number of bytes that follow a type's fixed part.
fn tail(head: Head) -> Result<usize, BtfError> {
    Ok(match head.kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * head.length,
        KIND_ENUM | KIND_FUNC_PROTO => 8 * head.length,
        KIND_PTR | KIND_FWD | KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_FUNC | KIND_FLOAT
        | KIND_TYPE_TAG => 0,
        kind => return Err(BtfError::UnknownKind(kind)),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}
