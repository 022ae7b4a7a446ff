//! Runs programs for sockets: for each one that has storage, in all namespaces, or for each one of a namespace.
//!
//! aya cannot tell an iterator which map it iterates over, and uses it up with the first pass. So the two commands are given
//! here.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr,
};

/// `BPF_LINK_CREATE` and `BPF_ITER_CREATE` (`enum bpf_cmd`), since 5.8.
const LINK_CREATE: libc::c_long = 28;
const ITER_CREATE: libc::c_long = 33;
/// `BPF_TRACE_ITER` (`enum bpf_attach_type`).
const TRACE_ITER: u32 = 28;

/// The part of `union bpf_attr` that links use.
#[repr(C)]
struct LinkRequest {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    iterator: u64,
    iterator_length: u32,
    /// The kernel aligns what follows.
    zero: u32,
}

/// `union bpf_iter_link_info`, with the map that is iterated over.
#[repr(C)]
struct IteratorInfo {
    map: u32,
    zero: [u32; 3],
}

/// The part of `union bpf_attr` that iterators use.
#[repr(C)]
struct IteratorRequest {
    link: u32,
    flags: u32,
}

/// A program that is run for sockets.
#[derive(Debug)]
pub(super) struct SocketIterator {
    link: OwnedFd,
}

impl SocketIterator {
    /// A program for each socket that has storage in this map.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn over_storage(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<Self> {
        Self::link(
            program,
            Some(&IteratorInfo {
                map: map.as_raw_fd().cast_unsigned(),
                zero: [0; 3],
            }),
        )
    }

    /// A program for each TCP socket of a namespace.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn over_sockets(program: BorrowedFd<'_>) -> io::Result<Self> {
        Self::link(program, None)
    }

    fn link(program: BorrowedFd<'_>, info: Option<&IteratorInfo>) -> io::Result<Self> {
        let length = info.map_or(0, size_of_val);
        let mut request = LinkRequest {
            program: program.as_raw_fd().cast_unsigned(),
            target: 0,
            attach_type: TRACE_ITER,
            flags: 0,
            iterator: info.map_or(0, |info| ptr::from_ref(info).addr() as u64),
            iterator_length: u32::try_from(length).unwrap_or(u32::MAX),
            zero: 0,
        };
        let link = command(LINK_CREATE, &mut request)?;
        Ok(Self { link })
    }

    /// Runs the program for every socket: of all namespaces, or of the calling thread's. The kernel passes each
    /// once that stays.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn run(&self) -> io::Result<()> {
        let mut request = IteratorRequest {
            link: self.link.as_raw_fd().cast_unsigned(),
            flags: 0,
        };
        let mut pass = File::from(command(ITER_CREATE, &mut request)?);
        // The program writes nothing. After a million sockets without a word, the kernel wants to be asked again
        // (`bpf_seq_read`).
        let mut nothing = [0; 8];
        loop {
            match pass.read(&mut nothing) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Gives a command that returns a descriptor.
#[expect(unsafe_code, reason = "no library offers these commands")]
fn command<R>(command: libc::c_long, request: &mut R) -> io::Result<OwnedFd> {
    // SAFETY: `request` has the layout and the size that the command expects: both callers pass the type of theirs. What it
    // points to lives through the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(request), size_of::<R>()) };
    let descriptor = i32::try_from(result).ok().filter(|descriptor| *descriptor >= 0);
    match descriptor {
        // SAFETY: the kernel has just made this descriptor, and nobody else has it.
        Some(descriptor) => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        None => Err(io::Error::last_os_error()),
    }
}
