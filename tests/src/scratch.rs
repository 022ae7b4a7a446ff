//! A test's own folder.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context as _;
use rustix::mount::{UnmountFlags, unmount};

/// The parent of the folders, and the beginning of their names. The id of the process that made them follows.
const FOLDER: &str = "/run";
const NAME: &str = "netmon-test-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes a folder. It is in `/run`, because the path of a socket must be short.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = PathBuf::from(format!("{FOLDER}/{NAME}{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                // An earlier test with the same process id was killed, and left the folder.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("{} cannot be made", path.display())),
            }
        }
    }

    /// Unmounts and removes the folders of processes that have ended. Returns the folders it removed.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn sweep() -> anyhow::Result<Vec<PathBuf>> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
        let mut swept = Vec::new();
        for entry in fs::read_dir(FOLDER).context(FOLDER)? {
            let path = entry.context(FOLDER)?.path();
            if !is_left_over(&path) {
                continue;
            }
            // The fifth word is the mount point. The latest mounts are unmounted first.
            let mounted = mounts.lines().rev().filter_map(|line| line.split(' ').nth(4));
            for place in mounted.map(Path::new).filter(|place| place.starts_with(&path)) {
                unmount(place, UnmountFlags::DETACH)
                    .with_context(|| format!("{} cannot be unmounted", place.display()))?;
            }
            fs::remove_dir_all(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
            swept.push(path);
        }
        Ok(swept)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If the test left something mounted, this fails and the folder stays. A test that leaks is found by its own
        // checks.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Whether it is one of our folders whose process has ended.
fn is_left_over(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str()?.strip_prefix(NAME)?.split_once('-'))
        .and_then(|(process, _)| process.parse::<u32>().ok())
        .is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
}
