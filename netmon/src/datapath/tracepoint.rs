//! Programs on the kernel's tracepoints. They are attached once, for all namespaces, and see every namespace from its
//! first packet on.
//!
//! Differences between kernels are looked up in the running kernel's types. They are set as constants in the programs
//! before those are loaded. The verifier checks the programs against the same types.

mod shared;

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
};

use aya::{
    Btf, Ebpf, EbpfLoader, Pod,
    maps::{HashMap, Map, MapData},
    programs::{BtfTracePoint, Iter, Program, ProgramError},
};
use netmon_common::{
    kernel::{Field, NAMESPACE},
    share::{MAP as MAP_SHARES, Share},
};

use super::{DatapathError, btf::Types, iterator::SocketIterator, notes::Notes, share};
use crate::model::interface::NetnsId;

/// The running kernel's types, which are needed to load programs. They are large and must not be kept.
pub(super) struct Kernel {
    /// The types, for offsets and numbers.
    pub(super) types: Types,
    /// The same types, in the form that the loader needs.
    btf: Btf,
}

impl Kernel {
    /// Reads the kernel's types.
    ///
    /// # Errors
    /// The kernel has no type information.
    pub(super) fn detect() -> Result<Self, DatapathError> {
        let types = Types::of_kernel()?;
        let btf = Btf::from_sys_fs().map_err(|error| DatapathError::Load(Box::new(error.into())))?;
        Ok(Self { types, btf })
    }
}

/// Constants for programs, by the name of the global variable.
#[derive(Default)]
pub(super) struct Globals {
    words: Vec<(&'static str, u32)>,
    /// Constants of 64 bits.
    pub(super) long: Vec<(&'static str, u64)>,
    /// Lists of constants.
    pub(super) lists: Vec<(&'static str, Vec<u32>)>,
}

impl Globals {
    /// The offsets of these fields, and of [`NAMESPACE`].
    ///
    /// # Errors
    /// The kernel has no such field.
    pub(super) fn offsets<'f>(
        types: &Types,
        fields: impl IntoIterator<Item = &'f Field>,
    ) -> Result<Self, DatapathError> {
        Self::only(types, NAMESPACE.iter().chain(fields))
    }

    /// The offsets of these fields alone.
    ///
    /// # Errors
    /// The kernel has no such field.
    pub(super) fn only<'f>(types: &Types, fields: impl IntoIterator<Item = &'f Field>) -> Result<Self, DatapathError> {
        let words = fields.into_iter().map(|field| {
            let Field {
                global,
                structure,
                member,
            } = *field;
            let offset = types
                .offset(structure, member)
                .ok_or(DatapathError::NoField { structure, member })?;
            Ok((global, offset))
        });
        Ok(Self {
            words: words.collect::<Result<_, DatapathError>>()?,
            ..Self::default()
        })
    }

    /// Adds the offsets of fields that the programs can do without. One that the kernel does not have stays unset, and
    /// is returned.
    pub(super) fn optional<'f>(&mut self, types: &Types, fields: &'f [Field]) -> Vec<&'f Field> {
        let mut missing = Vec::new();
        for field in fields {
            match types.offset(field.structure, field.member) {
                Some(offset) => self.words.push((field.global, offset)),
                None => missing.push(field),
            }
        }
        missing
    }

    /// Has the loader set them.
    pub(super) fn apply<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        let Self { words, long, lists } = self;
        for (name, value) in words {
            loader.override_global(name, value, true);
        }
        for (name, value) in long {
            loader.override_global(name, value, true);
        }
        for (name, values) in lists {
            loader.override_global(name, &**values, true);
        }
    }

    /// Adds a constant.
    pub(super) fn set(&mut self, global: &'static str, value: u32) {
        self.words.push((global, value));
    }
}

/// A loaded object with programs on tracepoints. They stay attached as long as it lives.
pub(super) struct OpenObject<'k> {
    object: Ebpf,
    btf: &'k Btf,
}

impl<'k> OpenObject<'k> {
    /// Loads the object and creates its maps, but loads no program yet.
    ///
    /// # Errors
    /// The kernel does not accept its maps.
    pub(super) fn open(object: &[u8], globals: &Globals, kernel: &'k Kernel) -> Result<Self, DatapathError> {
        let mut loader = EbpfLoader::new();
        // The programs have no relocations. Without this call, the loader reads the kernel's types once more.
        loader.btf(None);
        globals.apply(&mut loader);
        Notes::prepare(&mut loader);
        let mut object = loader
            .load(object)
            .map_err(|error| DatapathError::Load(Box::new(error)))?;
        // Programs without counts do not have this map.
        if let Some(shares) = object.map_mut(MAP_SHARES) {
            let mut shares = HashMap::try_from(shares).map_err(DatapathError::map)?;
            share::begin(&mut shares)?;
        }
        Ok(Self {
            object,
            btf: &kernel.btf,
        })
    }

    /// Loads one program and attaches it to its tracepoint.
    ///
    /// # Errors
    /// The kernel has no such tracepoint, or does not accept the program.
    pub(super) fn attach(&mut self, program: &'static str, tracepoint: &str) -> Result<(), DatapathError> {
        let failed = |error: ProgramError| DatapathError::Load(Box::new(error.into()));
        let loaded = self
            .object
            .program_mut(program)
            .ok_or(DatapathError::Incomplete(program))?;
        let loaded: &mut BtfTracePoint = loaded
            .try_into()
            .map_err(|_: ProgramError| DatapathError::Incomplete(program))?;
        loaded.load(tracepoint, self.btf).map_err(failed)?;
        loaded.attach().map_err(failed)?;
        Ok(())
    }

    /// Loads one program that is an iterator over this kind of thing. It does not run until it is asked to.
    ///
    /// # Errors
    /// The kernel has no such iterator, or does not accept the program.
    pub(super) fn load_iterator(&mut self, program: &'static str, over: &str) -> Result<(), DatapathError> {
        let loaded = self
            .object
            .program_mut(program)
            .ok_or(DatapathError::Incomplete(program))?;
        let loaded: &mut Iter = loaded
            .try_into()
            .map_err(|_: ProgramError| DatapathError::Incomplete(program))?;
        loaded
            .load(over, self.btf)
            .map_err(|error| DatapathError::Load(Box::new(error.into())))
    }

    /// A hash map that the daemon writes.
    pub(super) fn hash<K: Pod, V: Pod>(
        &mut self,
        name: &'static str,
    ) -> Result<HashMap<&mut MapData, K, V>, DatapathError> {
        let map = self.object.map_mut(name).ok_or(DatapathError::Incomplete(name))?;
        map.try_into().map_err(DatapathError::map)
    }

    /// Drops everything that was only needed to load programs. `counts` is what they count, for the log.
    pub(super) fn ready(mut self, counts: &'static str) -> AttachedObject {
        AttachedObject {
            notes: Notes::of(&mut self.object, counts),
            object: self.object,
        }
    }
}

/// Attached programs and their maps. Detached when dropped, or when the process ends.
pub(super) struct AttachedObject {
    object: Ebpf,
    notes: Notes,
}

impl AttachedObject {
    /// Writes what the programs noted to the log.
    pub(super) fn read_notes(&mut self) {
        self.notes.read();
    }

    /// A hash map of per-CPU values, for [`super::batch`].
    pub(super) fn per_cpu_hash(&self, name: &'static str) -> Result<&MapData, DatapathError> {
        match self.object.map(name) {
            Some(Map::PerCpuHashMap(map)) => Ok(map),
            _ => Err(DatapathError::Incomplete(name)),
        }
    }

    /// An array of per-CPU values, for [`super::batch`].
    pub(super) fn per_cpu_array(&self, name: &'static str) -> Result<&MapData, DatapathError> {
        match self.object.map(name) {
            Some(Map::PerCpuArray(map)) => Ok(map),
            _ => Err(DatapathError::Incomplete(name)),
        }
    }

    /// A hash map whose values all CPUs share, for [`super::batch`].
    pub(super) fn shared_hash(&self, name: &'static str) -> Result<&MapData, DatapathError> {
        match self.object.map(name) {
            Some(Map::HashMap(map)) => Ok(map),
            _ => Err(DatapathError::Incomplete(name)),
        }
    }

    /// A loaded iterator: over a map of socket storage, or over the sockets of a namespace.
    pub(super) fn iterator(
        &self,
        program: &'static str,
        storage: Option<&'static str>,
    ) -> Result<SocketIterator, DatapathError> {
        let Some(Program::Iter(loaded)) = self.object.program(program) else {
            return Err(DatapathError::Incomplete(program));
        };
        let loaded = loaded
            .fd()
            .map_err(|error| DatapathError::Load(Box::new(error.into())))?
            .as_fd();
        let iterator = match storage {
            None => SocketIterator::over_sockets(loaded),
            Some(name) => match self.object.map(name) {
                Some(Map::SkStorage(map)) => SocketIterator::over_storage(loaded, descriptor(map)),
                _ => return Err(DatapathError::Incomplete(name)),
            },
        };
        iterator.map_err(|error| DatapathError::of("iterate over sockets", error))
    }

    /// What each namespace has of the counts, as the programs count it.
    pub(super) fn shares(&self) -> Result<BTreeMap<NetnsId, Share>, DatapathError> {
        share::read(descriptor(self.shared_hash(MAP_SHARES)?))
    }

    /// How often the kernel skipped a program because an interrupt came while it was running on that CPU
    /// (`bpf_prog_show_fdinfo`, since 5.12).
    pub(super) fn missed_runs(&self, program: &str) -> Option<u64> {
        let Some(Program::BtfTracePoint(program)) = self.object.program(program) else {
            return None;
        };
        let file = program.fd().ok()?.as_fd().as_raw_fd();
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{file}")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
        line.trim().parse().ok()
    }

    /// Any other map.
    pub(super) fn map(&self, name: &'static str) -> Result<&Map, DatapathError> {
        self.object.map(name).ok_or(DatapathError::Incomplete(name))
    }

    /// A hash map that the daemon writes.
    pub(super) fn hash<K: Pod, V: Pod>(
        &mut self,
        name: &'static str,
    ) -> Result<HashMap<&mut MapData, K, V>, DatapathError> {
        self.map_mut(name)?.try_into().map_err(DatapathError::map)
    }

    /// Any other map, mutably.
    pub(super) fn map_mut(&mut self, name: &'static str) -> Result<&mut Map, DatapathError> {
        self.object.map_mut(name).ok_or(DatapathError::Incomplete(name))
    }
}

impl std::fmt::Debug for AttachedObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttachedObject").finish_non_exhaustive()
    }
}

/// A map's descriptor.
pub(super) fn descriptor(map: &MapData) -> BorrowedFd<'_> {
    map.fd().as_fd()
}

#[cfg(test)]
mod tests {
    use netmon_common::{
        connection::{FIELDS as FIELDS_OF_SOCKETS, FIELDS_OF_REASONS},
        kernel::{Field, NAMESPACE},
        tcp::FIELDS as FIELDS_OF_TCP,
    };

    use super::{DatapathError, Globals};
    use crate::datapath::btf::tests::with_fields;

    fn needed() -> impl Iterator<Item = &'static Field> {
        FIELDS_OF_SOCKETS.iter().chain(FIELDS_OF_TCP)
    }

    fn all() -> impl Iterator<Item = &'static Field> {
        NAMESPACE.iter().chain(needed()).chain(FIELDS_OF_REASONS)
    }

    #[test]
    fn a_kernel_without_a_field_of_reasons_has_all_else_of_tcp() {
        for lacking in FIELDS_OF_REASONS {
            let types = with_fields(all().filter(|field| *field != lacking));
            let mut globals = Globals::offsets(&types, needed()).expect("what TCP needs is there");
            assert_eq!(globals.optional(&types, FIELDS_OF_REASONS), [lacking]);
            // A constant that is not set has the value that the programs take for "there is none".
            let set: Vec<_> = globals.words.iter().map(|(global, _)| *global).collect();
            let others = all().map(|field| field.global).filter(|it| *it != lacking.global);
            assert_eq!(set, others.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_kernel_without_a_field_that_tcp_needs_is_told_which() {
        for lacking in NAMESPACE.iter().chain(needed()) {
            let types = with_fields(all().filter(|field| *field != lacking));
            let error = Globals::offsets(&types, needed()).err();
            assert!(
                matches!(error, Some(DatapathError::NoField { member, .. }) if member == lacking.member),
                "{lacking:?}: {error:?}"
            );
        }
    }
}
