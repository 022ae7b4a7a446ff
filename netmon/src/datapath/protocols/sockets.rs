//! Where the kernel counts TCP's sockets in use. Owns what netmon knows of it. Must not know how a program is run.
//!
//! Each protocol has an index that it gets when it is registered (`inuse_idx` in `struct proto`), and every namespace has a
//! count for each index and CPU. No symbol leads to TCP's on every kernel. So netmon opens a socket of each family, and a
//! program finds the index behind it.

use std::os::fd::OwnedFd;

use netmon_common::kernel::UNSET;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
};

use crate::datapath::{DatapathError, btf::Types};

/// What a namespace has on each CPU.
const STRUCTURE: &str = "prot_inuse";
/// How many protocols it has room for (`PROTO_INUSE_NR`). The last index is that of all that found none.
const INDEXES: u64 = 64;

/// The families, in the order of the program's arguments.
pub(super) const FAMILIES: [AddressFamily; 2] = [AddressFamily::INET, AddressFamily::INET6];

/// Where the counts are.
#[derive(Debug)]
pub(super) struct Sockets {
    /// The first of a CPU's counts.
    first: u32,
    /// The count of each family. [`UNSET`] for a family that the kernel does not have.
    counts: [u32; 2],
}

impl Sockets {
    /// None is found yet.
    pub(super) fn new(types: &Types) -> Result<Self, DatapathError> {
        let first = types.offset(STRUCTURE, "val").ok_or(DatapathError::NoField {
            structure: STRUCTURE,
            member: "val",
        })?;
        Ok(Self {
            first,
            counts: [UNSET; 2],
        })
    }

    /// Takes in the index of a family's protocol.
    pub(super) fn found(&mut self, family: AddressFamily, index: u64) -> Result<(), DatapathError> {
        let index = u32::try_from(index)
            .ok()
            .filter(|index| u64::from(*index) < INDEXES - 1);
        let index = index.ok_or(DatapathError::Unread)?;
        for (its, count) in FAMILIES.into_iter().zip(&mut self.counts) {
            if its == family {
                *count = self.first + 4 * index;
            }
        }
        Ok(())
    }

    /// The program's arguments.
    pub(super) fn arguments(&self, wants_sockets: bool) -> [u64; 2] {
        let counts = if wants_sockets { self.counts } else { [UNSET; 2] };
        counts.map(u64::from)
    }
}

/// Opens a TCP socket. `None` if the kernel does not have this family.
pub(super) fn open(family: AddressFamily) -> Result<Option<OwnedFd>, DatapathError> {
    match socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::AFNOSUPPORT) => Ok(None),
        Err(error) => Err(DatapathError::of("open a TCP socket", error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::{FAMILIES, Sockets, UNSET};

    #[test]
    fn a_family_that_was_not_found_is_not_read() {
        let mut sockets = Sockets {
            first: 4,
            counts: [UNSET; 2],
        };
        let none = u64::from(UNSET);
        assert_eq!(sockets.arguments(true), [none; 2]);
        sockets.found(FAMILIES[0], 3).expect("an index");
        assert_eq!(sockets.arguments(true), [16, none]);
        sockets.found(FAMILIES[1], 7).expect("an index");
        assert_eq!(sockets.arguments(true), [16, 32]);
        assert_eq!(sockets.arguments(false), [none; 2]);
    }

    #[test]
    fn an_index_that_others_have_too_is_none() {
        let mut sockets = Sockets {
            first: 4,
            counts: [UNSET; 2],
        };
        for index in [63, 64, u64::MAX] {
            assert!(sockets.found(FAMILIES[0], index).is_err(), "{index}");
        }
        assert!(sockets.found(FAMILIES[0], 62).is_ok());
    }
}
