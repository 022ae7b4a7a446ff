//! netmon's own process, with the family names that every exporter uses.

use std::fmt;

use super::{
    catalog,
    family::Page,
    labels::{Capability, Rows},
};
use crate::model::snapshot::ProcessHealth;

/// Writes the resource use of the process.
pub(super) fn encode(page: &mut Page<'_>, process: Option<&ProcessHealth>) -> fmt::Result {
    let Some(process) = process else {
        return Ok(());
    };
    let ProcessHealth {
        cpu_seconds,
        resident_memory_bytes,
        virtual_memory_bytes,
        open_fds,
        max_fds,
        start_time_seconds,
        threads,
        capabilities,
    } = process;
    let capability = |capability: &String| (Capability { capability }.block(), ());
    let capabilities = Rows::new(capabilities.iter().map(capability));
    catalog::PROCESS_CAPABILITY_INFO.encode(page, capabilities.each(|()| ()))?;
    catalog::PROCESS_CPU.encode_value(page, *cpu_seconds)?;
    catalog::PROCESS_RESIDENT_MEMORY.encode_value(page, *resident_memory_bytes)?;
    catalog::PROCESS_VIRTUAL_MEMORY.encode_value(page, *virtual_memory_bytes)?;
    catalog::PROCESS_OPEN_FDS.encode_value(page, *open_fds)?;
    if let Some(max_fds) = *max_fds {
        catalog::PROCESS_MAX_FDS.encode_value(page, max_fds)?;
    }
    catalog::PROCESS_START_TIME.encode_value(page, *start_time_seconds)?;
    catalog::PROCESS_THREADS.encode_value(page, *threads)
}
