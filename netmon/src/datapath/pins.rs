//! A private BPF file system that is mounted nowhere. Whatever is pinned there lives exactly as long as netmon does.
//!
//! Two things need pins:
//!
//! - Copies of the programs can share a map only by its pinned name: aya opens a map by name or creates it.
//! - A pin can hold a link instead of a descriptor. When the pin is removed, or netmon ends, a kernel workqueue
//!   releases the link. When the descriptor of a tcx link is closed, the kernel instead waits for a grace period
//!   under RTNL. It does so for every link, also while the process exits. With a thousand interfaces, a killed netmon
//!   and every other change to the network would wait half a minute.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::DatapathError;

/// The file system. Everything pinned in it is released when it is dropped, or when the process ends in any way.
#[derive(Debug)]
pub struct Pins {
    /// Keeps the mount alive. Only the path refers to it.
    _mount: OwnedFd,
    directory: PathBuf,
}

impl Pins {
    /// Creates an empty file system.
    ///
    /// # Errors
    /// Needs `CAP_SYS_ADMIN` and Linux 5.2.
    pub fn new() -> Result<Self, DatapathError> {
        let mount = mount().map_err(|error| DatapathError::of("mount a private BPF file system", error))?;
        // A mount without a mount point has no other name. The path is relative to the process, so a change of thread
        // or namespace cannot break it.
        let directory = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        Ok(Self {
            _mount: mount,
            directory,
        })
    }

    /// The path of a pin.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The path of a pin, of several with one name.
    #[must_use]
    pub fn numbered(&self, name: &str, number: u32) -> PathBuf {
        match number {
            0 => self.path(name),
            number => self.path(&format!("{name}_{number}")),
        }
    }
}

/// Removes a pin. If there is no such pin, this does nothing.
///
/// # Errors
/// The file system does not remove it.
pub fn unpin(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn mount() -> io::Result<OwnedFd> {
    let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    Ok(fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?)
}
