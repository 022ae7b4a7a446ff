//! Enters a namespace, on a thread that ends afterwards.
//!
//! The network namespace of a thread decides to which namespace its sockets and interface names belong. A pool thread
//! that stayed in a container's namespace would do its next task there. So code that must be inside uses
//! [`on_netns_thread`]: a separate thread enters one namespace after another, and then ends.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::discover::{is_nsfs, is_own};

/// Why a namespace was not entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The file cannot be opened. Usually the namespace has just been deleted.
    #[error("cannot open the namespace file {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a namespace.
    #[error(
        "{path} is not a mounted namespace; if netmon runs in a container, bind the directory with rslave propagation"
    )]
    NoNamespace {
        /// The file.
        path: PathBuf,
    },
    /// The kernel denies entry.
    #[error("cannot enter the namespace {path}: {source}; this needs CAP_SYS_ADMIN")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No thread could be started.
    #[error("cannot start a thread to enter namespaces with: {0}")]
    Thread(io::Error),
}

/// A thread that may change its namespace. Only [`on_netns_thread`] creates one.
#[derive(Debug)]
pub struct NetnsThread(());

impl NetnsThread {
    /// Moves this thread into the namespace mounted on `path`, until it enters another one or ends.
    ///
    /// # Errors
    /// See [`EnterError`]. The thread then stays in its namespace.
    pub fn enter(&mut self, path: &Path) -> Result<OwnedFd, EnterError> {
        let file = File::open(path).map_err(|source| EnterError::Open {
            path: path.to_owned(),
            source,
        })?;
        let moved = move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
        moved.map_err(|error| {
            // Every other file is refused like this (`setns`).
            let nsfs = || rustix::fs::fstatfs(&file).is_ok_and(|statfs| is_nsfs(&statfs));
            if error == Errno::INVAL && !nsfs() {
                return EnterError::NoNamespace { path: path.to_owned() };
            }
            EnterError::Refused {
                path: path.to_owned(),
                source: error.into(),
            }
        })?;
        Ok(file.into())
    }
}

/// Runs `journey` on a separate thread and waits for it.
///
/// # Errors
/// The thread could not be started.
///
/// # Panics
/// If `journey` panics.
pub fn on_netns_thread<T: Send>(journey: impl FnOnce(&mut NetnsThread) -> T + Send) -> Result<T, EnterError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || journey(&mut NetnsThread(())))
            .map_err(EnterError::Thread)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Runs `work` in the namespace mounted on `path`. Meant for objects that keep the namespace they were created in,
/// such as sockets. If netmon is in that namespace already, `work` runs on the calling thread, which needs no
/// privileges.
///
/// # Errors
/// The namespace cannot be entered.
pub fn inside<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, EnterError> {
    if is_own(path) {
        return Ok(work());
    }
    on_netns_thread(|thread| {
        let _file = thread.enter(path)?;
        Ok(work())
    })?
}
