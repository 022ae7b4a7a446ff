//! Programs on the kernel's tracepoints: attached once, for all namespaces, from the first packet on.
//!
//! What differs between kernels is looked up in the running kernel's types, and given to the programs as constants
//! before they are loaded; the verifier holds them against those same types.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Map, MapData},
    programs::{BtfTracePoint, Program, ProgramError},
};
use netmon_common::kernel::{Field, NAMESPACE};

use super::{DatapathError, btf::Types, share};

/// What the running kernel says of itself, for loading programs with. Large: not to be kept.
pub(super) struct Kernel {
    /// Its types, for offsets and numbers.
    pub(super) types: Types,
    /// The same once more, as the loader wants them.
    btf: Btf,
}

impl Kernel {
    /// Asks it.
    ///
    /// # Errors
    /// It has no type information.
    pub(super) fn detect() -> Result<Self, DatapathError> {
        let types = Types::of_kernel()?;
        let btf = Btf::from_sys_fs().map_err(|error| DatapathError::Load(Box::new(error.into())))?;
        Ok(Self { types, btf })
    }
}

/// Constants for programs, by the name of the global.
#[derive(Default)]
pub(super) struct Globals {
    words: Vec<(&'static str, u32)>,
    /// Longer ones.
    pub(super) long: Vec<(&'static str, u64)>,
}

impl Globals {
    /// The offsets of these fields, and of those that lead to a namespace.
    ///
    /// # Errors
    /// The kernel has no such field.
    pub(super) fn offsets(types: &Types, fields: &[Field]) -> Result<Self, DatapathError> {
        let words = NAMESPACE.iter().chain(fields).map(|field| {
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
            long: Vec::new(),
        })
    }

    /// Adds a constant.
    pub(super) fn set(&mut self, global: &'static str, value: u32) {
        self.words.push((global, value));
    }
}

/// An object with such programs, which stay attached while it lives.
pub(super) struct Programs<'k> {
    object: Ebpf,
    btf: &'k Btf,
}

impl<'k> Programs<'k> {
    /// Loads the object, but no program yet.
    ///
    /// # Errors
    /// The kernel does not take its maps.
    pub(super) fn open(object: &[u8], globals: &Globals, kernel: &'k Kernel) -> Result<Self, DatapathError> {
        let mut loader = EbpfLoader::new();
        // The programs carry no relocations. Without this the loader reads the kernel's types once more.
        loader.btf(None);
        for (name, value) in &globals.words {
            loader.override_global(name, value, true);
        }
        for (name, value) in &globals.long {
            loader.override_global(name, value, true);
        }
        let mut object = loader
            .load(object)
            .map_err(|error| DatapathError::Load(Box::new(error)))?;
        // Programs that keep nothing have none.
        if let Some(shares) = object.map_mut(netmon_common::share::MAP) {
            share::begin(shares)?;
        }
        Ok(Self {
            object,
            btf: &kernel.btf,
        })
    }

    /// Loads one program and attaches it to its tracepoint.
    ///
    /// # Errors
    /// The kernel has no such tracepoint, or does not take the program.
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

    /// Lets go of what was only needed to load programs.
    pub(super) fn ready(self) -> Attached {
        Attached(self.object)
    }
}

/// Attached programs and their maps. Detached when dropped, or when the process ends.
pub(super) struct Attached(Ebpf);

impl Attached {
    /// A hash of per-CPU values, for [`super::batch`].
    pub(super) fn per_cpu_hash(&self, name: &'static str) -> Result<&MapData, DatapathError> {
        match self.0.map(name) {
            Some(Map::PerCpuHashMap(map)) => Ok(map),
            _ => Err(DatapathError::Incomplete(name)),
        }
    }

    /// How often the kernel did not run a program because it was running on that CPU already: an interrupt came in
    /// between (`bpf_prog_show_fdinfo`, since 5.12).
    pub(super) fn missed_runs(&self, program: &str) -> Option<u64> {
        let Some(Program::BtfTracePoint(program)) = self.0.program(program) else {
            return None;
        };
        let file = program.fd().ok()?.as_fd().as_raw_fd();
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{file}")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
        line.trim().parse().ok()
    }

    /// Any other map.
    pub(super) fn map(&self, name: &'static str) -> Result<&Map, DatapathError> {
        self.0.map(name).ok_or(DatapathError::Incomplete(name))
    }

    /// The same, to be changed.
    pub(super) fn map_mut(&mut self, name: &'static str) -> Result<&mut Map, DatapathError> {
        self.0.map_mut(name).ok_or(DatapathError::Incomplete(name))
    }
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").finish_non_exhaustive()
    }
}

/// A map's descriptor.
pub(super) fn descriptor(map: &MapData) -> BorrowedFd<'_> {
    map.fd().as_fd()
}
