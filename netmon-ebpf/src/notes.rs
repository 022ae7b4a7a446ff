//! Rare events, for the daemon's log. Each is noted once for a namespace, however often it happens: a container must not
//! be able to fill the log.
//!
//! A namespace's [`Share`] of a map keeps in mind what was noted. The namespaces that are not watched have one together.

use netmon_common::share::Share;

use crate::{maps::Map, share};

/// Where notes go.
pub trait Notes {
    /// Whether somebody reads them. Otherwise they cost nothing but this question, which the verifier answers.
    fn wants_notes(&self) -> bool;
    /// Writes one down.
    fn note(&self, note: u32, netns: u64, number: u32);
}

/// Notes something about a namespace, unless that was noted before.
#[inline(always)]
pub(crate) fn once(object: &impl Notes, shares: &impl Map<u64, Share>, note: u32, netns: u64, number: u32) {
    if !object.wants_notes() {
        return;
    }
    let Some((share, _)) = share::of(shares, netns) else {
        return;
    };
    let bit = 1 << note;
    // SAFETY: the value exists while the program runs. Others may write meanwhile. Then something is noted twice.
    unsafe {
        if (*share).noted & bit != 0 {
            return;
        }
        (*share).noted |= bit;
    }
    object.note(note, netns, number);
}
