//! Attaches a program to one side of a device by either mechanism, and detaches it again.
//!
//! Both mechanisms put netmon's program before all others. A program in front of it that ends a packet's path would
//! hide the packet.

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
use crate::model::counters::Directions;

/// The priority before every other filter. Within one priority the newest filter comes first (`cls_bpf_change`).
const CLSACT_PRIORITY: u16 = 1;

/// A program on one side of a device.
#[derive(Debug)]
pub(super) struct Attached {
    /// The kernel's id of the program.
    program: u32,
    hook: TcAttachType,
    link: Link,
}

impl Attached {
    /// Attaches a loaded program to a device of the calling thread's namespace. With `pin`, a tcx link is held by
    /// that pin and needs no descriptor.
    pub(super) fn make(
        (program, classifier): (&str, &mut SchedClassifier),
        hook: TcAttachType,
        device: &str,
        mode: Mode,
        pin: Option<&Path>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let id = classifier.info()?.id();
        let link = match mode {
            Mode::Tcx => {
                let options = TcAttachOptions::TcxOrder(LinkOrder::first());
                let link = classifier.attach_with_options(device, hook, options)?;
                let link: FdLink = classifier.take_link(link)?.try_into()?;
                if let Some(path) = pin {
                    // From here on the pin holds the link, and the descriptor is closed.
                    link.pin(path)?;
                    Link::Pinned(Pin(path.to_owned()))
                } else {
                    Link::Held(link)
                }
            }
            Mode::Clsact => {
                prepare_clsact(device, hook, program)?;
                let options = NlOptions {
                    priority: CLSACT_PRIORITY,
                    ..NlOptions::default()
                };
                let link = classifier.attach_with_options(device, hook, TcAttachOptions::Netlink(options))?;
                Link::Filter(ManuallyDrop::new(classifier.take_link(link)?))
            }
        };
        Ok(Self {
            program: id,
            hook,
            link,
        })
    }

    /// Whether the program is attached to this device of the calling thread's namespace. `filters` has the ids of the
    /// clsact programs there. If the kernel does not report its tcx programs, it is assumed to be attached.
    pub(super) fn is_on(&self, device: &str, filters: &Directions<Vec<u32>>) -> bool {
        let found = match (&self.link, self.hook) {
            (Link::Pinned(_) | Link::Held(_), hook) => programs(device, hook)
                .inspect_err(|error| debug!(device, %error, "the kernel does not report what is attached"))
                .ok(),
            (Link::Filter(_), TcAttachType::Ingress) => Some(filters.receive.clone()),
            (Link::Filter(_), _) => Some(filters.transmit.clone()),
        };
        found.is_none_or(|found| found.contains(&self.program))
    }

    /// Detaches the program if it is still on this device of the calling thread's namespace. Where it is not, another
    /// filter may have its priority and handle.
    pub(super) fn detach_if_on(self, device: &str, filters: &Directions<Vec<u32>>) {
        if self.is_on(device, filters) {
            self.detach_here();
        }
    }

    /// Whether detaching needs a thread in the device's namespace.
    pub(super) const fn needs_visit(&self) -> bool {
        matches!(self.link, Link::Filter(_))
    }

    /// Detaches the program from a device that still exists. The calling thread is in the device's namespace.
    pub(super) fn detach_here(self) {
        match self.link {
            // The kernel detaches a tcx link by itself when its pin or descriptor is dropped.
            Link::Pinned(_) | Link::Held(_) => {}
            Link::Filter(link) => drop(ManuallyDrop::into_inner(link)),
        }
    }
}

/// What holds a program on a device.
#[derive(Debug)]
enum Link {
    /// A tcx link, held by its pin.
    Pinned(#[expect(dead_code, reason = "it is what holds the link")] Pin),
    /// A tcx link, held by its descriptor.
    Held(#[expect(dead_code, reason = "it is what holds the link")] FdLink),
    /// A clsact filter, which is only removed on purpose. When dropped, aya would remove it from the device with its
    /// ifindex in the namespace of the dropping thread. That may be another device.
    Filter(ManuallyDrop<SchedClassifierLink>),
}

/// The ids of the tcx programs on one side of a device of the calling thread's namespace.
fn programs(device: &str, hook: TcAttachType) -> Result<Vec<u32>, ProgramError> {
    let (_revision, programs) = SchedClassifier::query_tcx(device, hook)?;
    Ok(programs.iter().map(ProgramInfo::id).collect())
}

/// A pin, removed when dropped.
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

/// Creates the clsact queueing discipline, and removes a filter that a killed netmon left behind.
fn prepare_clsact(device: &str, hook: TcAttachType, program: &str) -> Result<(), TcError> {
    // It may already exist. Any other failure shows when the filter is attached.
    if let Err(error) = tc::qdisc_add_clsact(device) {
        debug!(device, error = %error, "clsact was not added");
    }
    match tc::qdisc_detach_program(device, hook, program) {
        Err(TcError::IoError(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
