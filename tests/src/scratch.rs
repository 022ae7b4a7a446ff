//! A folder of a test's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context as _;

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
        let path = PathBuf::from(format!(
            "/run/netmon-test-{}-{}",
            process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
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
