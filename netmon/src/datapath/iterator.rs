//! Runs a program for each socket that has storage, in all namespaces.
//!
//! aya cannot tell an iterator which map it iterates over, so the two commands are given here.

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

/// A program over the storage of sockets.
#[derive(Debug)]
pub(super) struct StorageIterator {
    link: OwnedFd,
}

impl StorageIterator {
    /// Connects a program with the map that it iterates over.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn new(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<Self> {
        let info = IteratorInfo {
            map: map.as_raw_fd().cast_unsigned(),
            zero: [0; 3],
        };
        let mut request = LinkRequest {
            program: program.as_raw_fd().cast_unsigned(),
            target: 0,
            attach_type: TRACE_ITER,
            flags: 0,
            iterator: ptr::from_ref(&info).addr() as u64,
            iterator_length: u32::try_from(size_of::<IteratorInfo>()).unwrap_or(u32::MAX),
            zero: 0,
        };
        let link = command(LINK_CREATE, &mut request)?;
        Ok(Self { link })
    }

    /// Runs the program for every socket. The kernel passes each once, and takes no lock that the sockets use.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn run(&self) -> io::Result<()> {
        let mut request = IteratorRequest {
            link: self.link.as_raw_fd().cast_unsigned(),
            flags: 0,
        };
        let mut pass = File::from(command(ITER_CREATE, &mut request)?);
        // The program writes nothing. So the first reading is the whole pass.
        let mut nothing = [0; 8];
        while pass.read(&mut nothing)? > 0 {}
        Ok(())
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
