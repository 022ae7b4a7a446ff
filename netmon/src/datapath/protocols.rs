//! The program that reads the counters of a namespace's protocols. It is not attached anywhere: the kernel runs it on
//! demand (`BPF_PROG_TEST_RUN`), in the namespace of the thread that asks.
//!
//! It takes 2 microseconds, where `/proc/net/snmp`, `netstat`, `snmp6` and `sockstat` take 100: the kernel writes those
//! as text. This module does not know whether the program is right: its user compares it with those files first.

mod conntrack;
mod reading;
mod sockets;
mod windows;

use aya::{
    Ebpf, EbpfLoader,
    maps::Map,
    programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use netmon_common::{
    kernel::UNSET,
    protocols::{
        COUNTERS, CPUS_A_RUN, ENUMERATORS, FIELDS, FIRST_OF_IPV6, GLOBAL_CPUS, GLOBAL_FIRST, GLOBAL_PLACES,
        GLOBAL_TABLES, GLOBAL_WORDS, MAP_ROW, MAX_CPUS, MEMBERS, NO_CONNTRACK, PROGRAM_INDEX, PROGRAM_LOCATE,
        PROGRAM_READ, ROW_WORDS, Row, STRUCTURES, TABLES,
    },
};
use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    sync::atomic::Ordering,
};

pub use self::reading::ProtocolsReading;
use self::{conntrack::Conntrack, reading::reading, sockets::Sockets, windows::Windows};
use super::{DatapathError, btf::Types, host::Host, mapped::Mapped, tracepoint::Globals};
use crate::model::health::ProgramRow;

/// The programs, as built with this daemon.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/protocols.o"));

/// The loaded program.
pub struct ProtocolsProgram {
    object: Ebpf,
    row: Mapped,
    cpus: u32,
    ticket: u64,
    conntrack: Conntrack,
    sockets: Sockets,
}

impl std::fmt::Debug for ProtocolsProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            object: _,
            row,
            cpus,
            ticket,
            conntrack,
            sockets,
        } = self;
        f.debug_struct("ProtocolsProgram")
            .field("row", row)
            .field("cpus", cpus)
            .field("ticket", ticket)
            .field("conntrack", conntrack)
            .field("sockets", sockets)
            .finish_non_exhaustive()
    }
}

impl ProtocolsProgram {
    /// Loads the program.
    ///
    /// # Errors
    /// The kernel does not accept it (it needs 5.19), or its types have something else than expected.
    pub fn load(host: &Host) -> Result<Self, DatapathError> {
        let failed = |error: aya::EbpfError| DatapathError::Load(Box::new(error));
        let cpus = host.cpus;
        if host.possible.len() != cpus as usize || host.possible.len() > MAX_CPUS {
            let too_many = std::io::ErrorKind::Unsupported.into();
            return Err(DatapathError::of("be read on so many CPUs", too_many));
        }
        let types = Types::of_kernel()?;
        let globals = globals(&types, cpus)?;
        let conntrack = Conntrack::new(&types);
        let sockets = Sockets::new(&types)?;
        drop(types);
        let mut loader = EbpfLoader::new();
        // The programs have no relocations. Without this call, the loader keeps all of the kernel's types in memory.
        loader.btf(None);
        globals.apply(&mut loader);
        let mut object = loader.load(OBJECT).map_err(failed)?;
        for name in [PROGRAM_LOCATE, PROGRAM_INDEX, PROGRAM_READ] {
            let program = object.program_mut(name).ok_or(DatapathError::Incomplete(name))?;
            let program: &mut RawTracePoint = program
                .try_into()
                .map_err(|_: ProgramError| DatapathError::Incomplete(name))?;
            program.load().map_err(|error| failed(error.into()))?;
        }
        let Some(Map::Array(row)) = object.map(MAP_ROW) else {
            return Err(DatapathError::Incomplete(MAP_ROW));
        };
        let row = Mapped::new(row.fd(), ROW_WORDS)?;
        let mut program = Self {
            object,
            row,
            cpus,
            ticket: 0,
            conntrack,
            sockets,
        };
        for (index, cpu) in host.possible.iter().enumerate() {
            program.ticket += 1;
            program.run(PROGRAM_LOCATE, &[index as u64, (*cpu).into(), program.ticket])?;
            program.row()?;
        }
        for family in sockets::FAMILIES {
            if let Some(socket) = sockets::open(family)? {
                let index = program.index_of(&socket)?;
                program.sockets.found(family, index)?;
            }
        }
        Ok(program)
    }

    /// Reads the namespace that the calling thread is in; TCP's sockets in use only if they are wanted.
    ///
    /// # Errors
    /// The kernel refuses, or some of it could not be read.
    pub fn read(&mut self, wants_sockets: bool) -> Result<ProtocolsReading, DatapathError> {
        let mut sum: Option<Row> = None;
        for first in self.runs() {
            let row = self.read_cpus(first, wants_sockets)?;
            let sum = sum.get_or_insert(Row {
                counts: [0; COUNTERS],
                sockets: 0,
                ..row
            });
            sum.sockets = sum.sockets.wrapping_add(row.sockets);
            for (sum, count) in sum.counts.iter_mut().zip(row.counts) {
                *sum = sum.wrapping_add(count);
            }
        }
        let sum = sum.ok_or(DatapathError::Unread)?;
        Ok(reading(sum, wants_sockets))
    }

    /// Finds out where this kernel has the count of conntrack, if the calling thread's namespace has one. Returns whether it
    /// was found; if not, what was found before stays. It takes up to a thousand runs, some milliseconds.
    ///
    /// # Errors
    /// The kernel refuses to run the program, or does not describe conntrack's types.
    pub fn find_conntrack(&mut self) -> Result<bool, DatapathError> {
        self.conntrack.describe()?;
        let before = self.conntrack.place;
        for candidate in self.conntrack.candidates() {
            self.conntrack.place = Some(candidate);
            // After the last CPU: no counters are read.
            if self.read_cpus(self.cpus, false)?.conntrack_entries != NO_CONNTRACK {
                return Ok(true);
            }
        }
        self.conntrack.place = before;
        Ok(false)
    }

    /// Reads, with the counters of one run's CPUs.
    fn read_cpus(&mut self, first: u32, wants_sockets: bool) -> Result<Row, DatapathError> {
        self.ticket += 1;
        let [id, setting, count, settings] = self.conntrack.arguments();
        let [ipv4, ipv6] = self.sockets.arguments(wants_sockets);
        let first = first.into();
        self.run(
            PROGRAM_READ,
            &[first, self.ticket, id, setting, count, settings, ipv4, ipv6],
        )?;
        self.row()
    }

    /// Under which index the protocol of a socket counts its sockets.
    fn index_of(&mut self, socket: &OwnedFd) -> Result<u64, DatapathError> {
        self.ticket += 1;
        let descriptor = u64::from(socket.as_raw_fd().cast_unsigned());
        self.run(PROGRAM_INDEX, &[descriptor, self.ticket])?;
        Ok(self.row()?.sockets)
    }

    /// The program, for the page.
    #[must_use]
    pub const fn info() -> ProgramRow {
        ProgramRow {
            program: PROGRAM_READ,
            kind: "raw_tracepoint",
            attach_point: "",
            mode: "test_run",
            missed_runs: None,
        }
    }

    /// The index of the first CPU of each run.
    fn runs(&self) -> impl Iterator<Item = u32> + use<> {
        (0..self.cpus).step_by(CPUS_A_RUN as usize)
    }

    fn run(&self, program: &'static str, arguments: &[u64]) -> Result<(), DatapathError> {
        let loaded = self.object.program(program).ok_or(DatapathError::Incomplete(program))?;
        let loaded: &RawTracePoint = loaded
            .try_into()
            .map_err(|_: ProgramError| DatapathError::Incomplete(program))?;
        let mut options = RawTracePointRunOptions::new();
        for (to, argument) in options.args.iter_mut().zip(arguments) {
            *to = *argument;
        }
        loaded
            .test_run(options)
            .map_err(|error| DatapathError::Load(Box::new(error.into())))?;
        Ok(())
    }

    /// What the last run read.
    fn row(&self) -> Result<Row, DatapathError> {
        let words = self.row.words().first_chunk().ok_or(DatapathError::Unread)?;
        let row = Row::of(&words.each_ref().map(|word| word.load(Ordering::Relaxed)));
        if row.ticket == self.ticket && row.failures == 0 {
            Ok(row)
        } else {
            Err(DatapathError::Unread)
        }
    }
}

/// Where the counters are in this kernel.
fn globals(types: &Types, cpus: u32) -> Result<Globals, DatapathError> {
    let missing = |structure, member| DatapathError::NoField { structure, member };
    let mut globals = Globals::only(types, FIELDS)?;
    globals.set(GLOBAL_CPUS, cpus);
    let mut tables = [UNSET; TABLES];
    for (at, member) in MEMBERS.into_iter().enumerate() {
        match types.offset("net", member) {
            Some(offset) => tables[at] = offset,
            // A kernel that was built without IPv6.
            None if at >= FIRST_OF_IPV6 => {}
            None => return Err(missing("net", member)),
        }
    }
    for structure in STRUCTURES {
        if types.offset(structure, "mibs") != Some(0) {
            return Err(missing(structure, "mibs"));
        }
    }
    let Windows { first, words, places } =
        Windows::around(types.numbers(ENUMERATORS)).map_err(|counter| missing("snmp_mib", counter))?;
    globals.lists.extend([
        (GLOBAL_TABLES, tables.into()),
        (GLOBAL_FIRST, first.into()),
        (GLOBAL_WORDS, words.into()),
        (GLOBAL_PLACES, places.into()),
    ]);
    Ok(globals)
}
