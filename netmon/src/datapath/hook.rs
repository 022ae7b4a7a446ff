//! A program on one side of a device, by either mechanism; and taking it off again.
//!
//! Both mechanisms put us before whoever was there: a program that ends the packet's way in front of ours would hide it.

use std::{
    io,
    mem::ManuallyDrop,
    path::{Path, PathBuf},
};

use aya::programs::{
    LinkOrder, ProgramError, ProgramInfo, SchedClassifier, TcAttachType,
    links::FdLink,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError},
};
use tracing::debug;

use super::{host::Mode, pins::unpin};

/// Before every other filter. Within one priority the newest filter comes first (`cls_bpf_change`).
const CLSACT_PRIORITY: u16 = 1;

/// A program that is attached.
#[derive(Debug)]
pub(super) enum Link {
    /// A tcx link, held by its pin.
    Pinned(#[expect(dead_code, reason = "it is what holds the link")] Pin),
    /// A tcx link, held by its descriptor.
    Held(#[expect(dead_code, reason = "it is what holds the link")] FdLink),
    /// A clsact filter. aya would remove it when dropped, from whatever device has its number in whatever namespace
    /// the dropping thread happens to be in: somebody else's. So it is only ever removed on purpose.
    Filter(ManuallyDrop<SchedClassifierLink>),
}

impl Link {
    /// Attaches a loaded program to a device of the calling thread's namespace. With `pin` a tcx link is held there, and
    /// costs no descriptor.
    pub(super) fn make(
        (program, classifier): (&str, &mut SchedClassifier),
        hook: TcAttachType,
        device: &str,
        mode: Mode,
        pin: Option<&Path>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        match mode {
            Mode::Tcx => {
                let options = TcAttachOptions::TcxOrder(LinkOrder::first());
                let link = classifier.attach_with_options(device, hook, options)?;
                let link: FdLink = classifier.take_link(link)?.try_into()?;
                let Some(path) = pin else { return Ok(Self::Held(link)) };
                // From here on the pin holds the link; the descriptor is closed.
                link.pin(path)?;
                Ok(Self::Pinned(Pin(path.to_owned())))
            }
            Mode::Clsact => {
                prepare_clsact(device, hook, program)?;
                let options = NlOptions {
                    priority: CLSACT_PRIORITY,
                    ..NlOptions::default()
                };
                let link = classifier.attach_with_options(device, hook, TcAttachOptions::Netlink(options))?;
                Ok(Self::Filter(ManuallyDrop::new(classifier.take_link(link)?)))
            }
        }
    }

    /// Whether taking it off needs a thread inside the device's namespace.
    pub(super) const fn needs_visit(&self) -> bool {
        matches!(self, Self::Filter(_))
    }

    /// Takes the program off a living device. The calling thread is in the device's namespace.
    pub(super) fn detach_here(self) {
        match self {
            // The kernel takes tcx links off by itself once they are let go of.
            Self::Pinned(_) | Self::Held(_) => {}
            Self::Filter(link) => drop(ManuallyDrop::into_inner(link)),
        }
    }
}

/// The kernel's numbers of the programs on one side of a device of the calling thread's namespace, by tcx.
pub(super) fn programs(device: &str, hook: TcAttachType) -> Result<Vec<u32>, ProgramError> {
    let (_revision, programs) = SchedClassifier::query_tcx(device, hook)?;
    Ok(programs.iter().map(ProgramInfo::id).collect())
}

/// A pin, let go of when dropped.
#[derive(Debug)]
pub(super) struct Pin(PathBuf);

impl Drop for Pin {
    fn drop(&mut self) {
        let Self(path) = self;
        if let Err(error) = unpin(path) {
            debug!(path = %path.display(), %error, "a link stays until netmon ends");
        }
    }
}

/// Makes the queueing discipline, and takes off what a netmon that was killed left behind.
fn prepare_clsact(device: &str, hook: TcAttachType, program: &str) -> Result<(), TcError> {
    // There already: fine. Any other failure shows when the filter is attached.
    if let Err(error) = tc::qdisc_add_clsact(device) {
        debug!(device, error = %error, "clsact was not added");
    }
    match tc::qdisc_detach_program(device, hook, program) {
        Err(TcError::IoError(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
