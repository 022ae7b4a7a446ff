//! How netmon's build script compiles kernel programs, for `setup`, `doctor` and `lint`. These are the build script's
//! own files, so both always look in the same places.
#![allow(dead_code, reason = "the build script uses more of these files than the chores do")]
#![allow(clippy::duplicate_mod, reason = "one source, two programs")]

#[path = "../../netmon/build/ebpf.rs"]
pub(crate) mod ebpf;
#[path = "../../netmon/build/object.rs"]
mod object;
#[path = "../../netmon/build/paths.rs"]
pub(crate) mod paths;
#[path = "../../netmon/build/toolchain.rs"]
pub(crate) mod toolchain;

/// The byte order of this machine, which kernel programs are compiled for.
pub(crate) fn endian() -> toolchain::Endian {
    if cfg!(target_endian = "big") {
        toolchain::Endian::Big
    } else {
        toolchain::Endian::Little
    }
}
