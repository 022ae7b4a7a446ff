//! A BPF file system of our own, mounted nowhere: what is pinned there lives exactly as long as netmon does.
//!
//! Two things need pins. Program copies share one map only by its pinned name (aya opens a map by name or creates it).
//! And a link that is held by a pin instead of a descriptor is let go by the kernel's workqueue when it is unpinned,
//! or when we are gone; closing a tcx link's descriptor instead waits for a grace period with the networking lock
//! held, for every link, also on the way out of the process: a thousand interfaces would keep a killed netmon, and
//! everybody else's network changes, for half a minute.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::DatapathError;

/// The file system. Everything pinned in it is let go when it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Pins {
    /// Keeps the mount alive; only the path refers to it.
    _mount: OwnedFd,
    directory: PathBuf,
}

impl Pins {
    /// Makes an empty one.
    ///
    /// # Errors
    /// Needs `CAP_SYS_ADMIN` and Linux 5.2.
    pub fn new() -> Result<Self, DatapathError> {
        let mount = mount().map_err(|error| DatapathError::of("mount a private BPF file system", error))?;
        // The only name that a mount without a mount point has. Relative to the process, so no thread or namespace
        // change can break it.
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
}

/// Lets go of what is pinned there. What is not there is not pinned.
///
/// # Errors
/// The file system does not let it go.
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
