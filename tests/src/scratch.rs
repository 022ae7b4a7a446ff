//! A folder of a test's own.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context as _;
use rustix::mount::{UnmountFlags, unmount};

/// Where they are, and how their names begin; the number of the process that made them follows.
const FOLDER: &str = "/run";
const NAME: &str = "netmon-test-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder that goes when this goes.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one. In `/run`, for a socket's path must be short.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = PathBuf::from(format!("{FOLDER}/{NAME}{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                // A test that was killed had this process' number before, and left it.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("{} cannot be made", path.display())),
            }
        }
    }

    /// Removes the folders of processes that are no more, and what is still mounted in them; gives what it removed.
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
            // The fifth word is where it is mounted; what was mounted last goes first.
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

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What a test left mounted stays, and so does the folder below it: a test that leaks is found by its own count.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Whether it is a folder of ours whose process is no more.
fn is_left_over(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str()?.strip_prefix(NAME)?.split_once('-'))
        .and_then(|(process, _)| process.parse::<u32>().ok())
        .is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
}
