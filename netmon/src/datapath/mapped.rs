//! Arrays of the kernel that are mapped into netmon's memory (`BPF_F_MMAPABLE`, since 5.5). A reading needs no system
//! call.

use std::{
    fmt,
    os::fd::AsFd,
    ptr::{NonNull, null_mut},
    slice,
    sync::atomic::AtomicU64,
};

use rustix::{
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use super::DatapathError;

/// The words of an array, in netmon's memory. The kernel writes them while netmon reads.
pub(super) struct Mapped {
    memory: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the memory is only ever used through atomics. It stays mapped until this is dropped.
#[expect(unsafe_code, reason = "a raw pointer is not by itself")]
unsafe impl Send for Mapped {}
// SAFETY: as above. Shared readers use atomics.
#[expect(unsafe_code, reason = "a raw pointer is not by itself")]
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps so many words of an array, which are only read.
    ///
    /// # Errors
    /// The kernel does not map it.
    pub(super) fn new(array: impl AsFd, words: usize) -> Result<Self, DatapathError> {
        Self::map(array, words, ProtFlags::READ)
    }

    /// Maps so many words of an array, which are written, too.
    ///
    /// # Errors
    /// The kernel does not map it.
    pub(super) fn writable(array: impl AsFd, words: usize) -> Result<Self, DatapathError> {
        Self::map(array, words, ProtFlags::READ | ProtFlags::WRITE)
    }

    #[expect(unsafe_code, reason = "mapping memory")]
    fn map(array: impl AsFd, words: usize, access: ProtFlags) -> Result<Self, DatapathError> {
        let failed = |error: Errno| DatapathError::of("map the counters into memory", error.into());
        let length = words
            .checked_mul(size_of::<u64>())
            .ok_or_else(|| failed(Errno::NOMEM))?;
        // SAFETY: no address is requested, so no existing mapping is replaced.
        let memory = unsafe { mmap(null_mut(), length, access, MapFlags::SHARED, array, 0) };
        let memory = NonNull::new(memory.map_err(failed)?.cast()).ok_or_else(|| failed(Errno::NOMEM))?;
        Ok(Self { memory, words })
    }

    /// The words. Only [`Self::writable`] ones may be written.
    #[expect(unsafe_code, reason = "reading mapped memory")]
    pub(super) const fn words(&self) -> &[AtomicU64] {
        // SAFETY: `new` mapped so many words, to the beginning of a page. They stay mapped as long as `self` lives, any
        // bytes are a valid value, and both sides write and read whole words.
        unsafe { slice::from_raw_parts(self.memory.as_ptr(), self.words) }
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped")
            .field("words", &self.words)
            .finish_non_exhaustive()
    }
}

impl Drop for Mapped {
    #[expect(unsafe_code, reason = "unmapping memory")]
    fn drop(&mut self) {
        // SAFETY: `new` mapped so much, and nobody can borrow the words any more.
        let _unmapped = unsafe { munmap(self.memory.as_ptr().cast(), self.words * size_of::<u64>()) };
    }
}
