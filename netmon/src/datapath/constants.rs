//! Whether anything of a copy of the programs is still loaded, wherever it is.
//!
//! The loader puts a copy's constants into a map of the copy's own, and the copy's programs refer to it. The kernel
//! releases that map when it frees the last of them (`bpf_prog_free_deferred`), and no processor runs that any more. So
//! a program keeps the map that is only detached, and one on a filter that netmon cannot reach.
//!
//! The ids of maps are the same in all namespaces. The kernel gives an id again only when it has given all others
//! (`idr_alloc_cyclic`).

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError, MapInfo, MapType},
};

use super::DatapathError;

/// The section of the constants, and the name of their map. The build checks that an object has no other one.
const SECTION: &str = ".rodata";

/// The constants of a copy of the programs: the id of their map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Constants(u32);

impl Constants {
    /// The constants of this copy.
    ///
    /// # Errors
    /// It has none, or the kernel does not say their id.
    pub(super) fn of(copy: &Ebpf) -> Result<Self, DatapathError> {
        let info = match copy.map(SECTION) {
            Some(Map::Array(map)) => MapData::info(map).map_err(DatapathError::map)?,
            _ => return Err(DatapathError::Incomplete("constants")),
        };
        Ok(Self(info.id()))
    }

    /// The map of these constants, of which this process then has a descriptor.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn take(copy: &mut Ebpf) -> Result<Map, DatapathError> {
        copy.take_map(SECTION).ok_or(DatapathError::Incomplete("constants"))
    }

    /// The map with this id, if it is one of constants.
    pub(super) const fn of_id(id: u32) -> Self {
        Self(id)
    }

    /// The id of their map.
    pub(super) const fn id(self) -> u32 {
        self.0
    }

    /// Whether they are loaded: a program of the copy still exists, or a process has their descriptor. While this asks,
    /// it has a descriptor itself.
    ///
    /// # Errors
    /// The kernel does not say. They may be loaded.
    pub(super) fn are_loaded(self) -> Result<bool, DatapathError> {
        loaded(MapInfo::from_id(self.0).map(|info| may_be_of_constants(&info)))
    }
}

/// Whether a map may be one of constants. Another map has the id only when ids are given for the second time.
fn may_be_of_constants(info: &MapInfo) -> bool {
    // A kind that aya does not know is no array.
    let is_array = matches!(info.map_type(), Ok(MapType::Array));
    is_array && info.max_entries() == 1 && has_their_name(info.name())
}

fn has_their_name(name: &[u8]) -> bool {
    name.is_empty() || name == SECTION.as_bytes()
}

/// Takes an answer about an id. Only one answer says that nothing has it.
fn loaded(answer: Result<bool, MapError>) -> Result<bool, DatapathError> {
    match answer {
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        answer => answer.map_err(DatapathError::map),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use aya::{maps::MapError, sys::SyscallError};

    use super::{has_their_name, loaded};

    #[test]
    fn only_an_id_that_nothing_has_is_known_to_be_gone() {
        let refused = |errno| {
            Err(MapError::SyscallError(SyscallError {
                call: "bpf_map_get_fd_by_id",
                io_error: io::Error::from_raw_os_error(errno),
            }))
        };
        assert!(matches!(loaded(Ok(true)), Ok(true)));
        assert!(matches!(loaded(Ok(false)), Ok(false)), "another map has the id");
        assert!(matches!(loaded(refused(libc::ENOENT)), Ok(false)));
        for errno in [libc::EPERM, libc::ENOMEM, libc::EMFILE] {
            assert!(loaded(refused(errno)).is_err(), "errno {errno}");
        }
    }

    #[test]
    fn only_a_map_that_has_another_name_is_another_one() {
        assert!(has_their_name(b".rodata"));
        assert!(has_their_name(b""), "the loader gave it none");
        assert!(!has_their_name(b"TRAFFIC"));
    }
}
