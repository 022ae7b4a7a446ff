//! A word in a map that several programs, and the daemon, change at once: each change returns what was there.
//!
//! Kernel facts relied on: `BPF_XCHG` and `BPF_CMPXCHG` (5.12;
//! Documentation/bpf/standardization/instruction-set.rst).

/// Writes a word, and returns what was there.
///
/// # Safety
/// `place` is valid and aligned.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) unsafe fn swap(place: *mut u64, new: u64) -> u64 {
    let mut word = new;
    // SAFETY: one instruction, which changes this word and this register, and nothing else.
    unsafe { core::arch::asm!("{word} = xchg_64({place} + 0, {word})", place = in(reg) place, word = inout(reg) word) };
    word
}

/// Writes a word if it is still the one that was `seen`. Returns whether it was.
///
/// # Safety
/// As above.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) unsafe fn replace(place: *mut u64, seen: u64, new: u64) -> bool {
    let found: u64;
    // SAFETY: one instruction, which changes this word and the register for its result, and nothing else.
    unsafe {
        core::arch::asm!(
            "r0 = cmpxchg_64({place} + 0, r0, {new})",
            place = in(reg) place,
            new = in(reg) new,
            inlateout("r0") seen => found,
        );
    }
    found == seen
}

/// The same on the host.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn swap(place: *mut u64, new: u64) -> u64 {
    use core::sync::atomic::{AtomicU64, Ordering};
    // SAFETY: as promised by the caller.
    unsafe { AtomicU64::from_ptr(place) }.swap(new, Ordering::SeqCst)
}

/// The same on the host.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn replace(place: *mut u64, seen: u64, new: u64) -> bool {
    use core::sync::atomic::{AtomicU64, Ordering};
    // SAFETY: as promised by the caller.
    let word = unsafe { AtomicU64::from_ptr(place) };
    word.compare_exchange(seen, new, Ordering::SeqCst, Ordering::SeqCst)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::{replace, swap};

    #[test]
    fn a_word_is_replaced_only_if_nobody_else_has_changed_it() {
        let mut word = 1;
        let place = &raw mut word;
        // SAFETY: the place exists, and nobody else writes it.
        unsafe {
            assert_eq!(swap(place, 2), 1);
            assert!(!replace(place, 1, 3));
            assert_eq!(*place, 2);
            assert!(replace(place, 2, 3));
            assert_eq!(*place, 3);
        }
    }
}
