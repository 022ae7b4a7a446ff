//! The folder `net` of procfs, as the calling thread's namespace has it.
//!
//! Owns how its files are opened and read. Must not know what they say.

use std::{fs::File, io, io::Read as _, marker::PhantomData, os::fd::OwnedFd, str};

use rustix::fs::{CWD, Mode, OFlags, openat};

const NET: &str = "/proc/thread-self/net";
/// Several times the size of any of the files that are read for every namespace.
const LARGEST: usize = 64 << 10;

/// The folder, open, and a buffer for its files.
///
/// The kernel looks a name up in the namespace that the thread is in at that moment (`proc_tgid_net_lookup`). So one
/// open folder serves every namespace that the thread enters. To walk from `/proc` each time takes as long as to read
/// a short file.
#[derive(Debug)]
pub struct ProcNet {
    net: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// The folder is of the thread that opened it. Another thread would read that one's namespace.
    thread: PhantomData<*const ()>,
}

impl Default for ProcNet {
    fn default() -> Self {
        Self {
            net: None,
            buffer: vec![0; LARGEST],
            thread: PhantomData,
        }
    }
}

impl ProcNet {
    /// Reads a file with a single call.
    ///
    /// The kernel returns a file of `single_open_net` whole if the buffer is large enough (`fs/proc/proc_net.c`), and of
    /// any other file at least the first lines. The calls for the file's size and for its end would take a third of
    /// the total time.
    ///
    /// # Errors
    /// It cannot be opened or read, or is no text, or has more than [`LARGEST`] bytes.
    pub(super) fn read(&mut self, name: &str) -> io::Result<&str> {
        let count = self.fill(name, LARGEST)?;
        if count == LARGEST {
            return Err(io::Error::other(format!("{NET}/{name} has more than {LARGEST} bytes")));
        }
        str::from_utf8(&self.buffer[..count]).map_err(io::Error::other)
    }

    /// Reads the beginning of a file: at most so many bytes, in which the last line may be cut. The kernel writes no more
    /// lines than fit (`seq_read_iter`).
    ///
    /// # Errors
    /// It cannot be opened or read, or is no text.
    pub(super) fn begin(&mut self, name: &str, bytes: usize) -> io::Result<&str> {
        let count = self.fill(name, bytes.min(LARGEST))?;
        str::from_utf8(&self.buffer[..count]).map_err(io::Error::other)
    }

    fn fill(&mut self, name: &str, bytes: usize) -> io::Result<usize> {
        let folder = match &self.net {
            Some(folder) => folder,
            None => self.net.insert(open(CWD, NET, OFlags::PATH | OFlags::DIRECTORY)?),
        };
        let mut file = File::from(open(folder, name, OFlags::RDONLY)?);
        file.read(&mut self.buffer[..bytes])
    }
}

fn open(folder: impl std::os::fd::AsFd, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(openat(folder, name, flags | OFlags::CLOEXEC, Mode::empty())?)
}
