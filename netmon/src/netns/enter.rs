//! Entering a namespace, on a thread that is thrown away.
//!
//! A thread's network namespace decides which one its sockets, and the names of interfaces it looks up, belong to. A
//! pool thread that stayed behind in a container would do the next task's work there. So whoever needs to be inside
//! [`on_netns_thread`]s: a thread of its own goes from namespace to namespace and ends.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::discover::{is_nsfs, is_own};

/// Why a namespace was not entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The file cannot be opened. Mostly the namespace has just gone.
    #[error("cannot open the namespace file {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no namespace.
    #[error(
        "{path} is no mounted namespace; if netmon runs in a container, bind the directory with rslave propagation"
    )]
    NoNamespace {
        /// The file.
        path: PathBuf,
    },
    /// The kernel does not let us in.
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

/// A thread that may change its namespace. Cannot be made but by [`on_netns_thread`].
#[derive(Debug)]
pub struct NetnsThread(());

impl NetnsThread {
    /// Moves this thread into the namespace mounted on `path`, until it enters another one or ends.
    ///
    /// # Errors
    /// See [`EnterError`]. The thread stays where it was.
    pub fn enter(&mut self, path: &Path) -> Result<OwnedFd, EnterError> {
        let file = File::open(path).map_err(|source| EnterError::Open {
            path: path.to_owned(),
            source,
        })?;
        let nsfs = rustix::fs::fstatfs(&file).is_ok_and(|statfs| is_nsfs(&statfs));
        if !nsfs {
            return Err(EnterError::NoNamespace { path: path.to_owned() });
        }
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|error| {
            EnterError::Refused {
                path: path.to_owned(),
                source: error.into(),
            }
        })?;
        Ok(file.into())
    }
}

/// Runs `journey` on a thread of its own, and waits for it.
///
/// # Errors
/// No thread could be started.
///
/// # Panics
/// When `journey` panics.
pub fn on_netns_thread<T: Send>(journey: impl FnOnce(&mut NetnsThread) -> T + Send) -> Result<T, EnterError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || journey(&mut NetnsThread(())))
            .map_err(EnterError::Thread)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Runs `work` in the namespace mounted on `path`, for what belongs to a namespace from its making on, as sockets do; here
/// and now if this is that namespace, which needs no rights.
///
/// # Errors
/// It cannot be entered.
pub fn inside<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, EnterError> {
    if is_own(path) {
        return Ok(work());
    }
    on_netns_thread(|thread| {
        let _file = thread.enter(path)?;
        Ok(work())
    })?
}
