//! Attaches a program to one side of a device by either mechanism, and detaches it again.
//!
//! Both mechanisms put netmon's program before all others. A program in front of it that ends a packet's path would
//! hide the packet.

use std::{
    mem::ManuallyDrop,
    path::{Path, PathBuf},
    sync::Arc,
};

use aya::programs::{
    Link as _, LinkOrder, ProgramError, ProgramInfo, SchedClassifier, TcAttachType,
    links::FdLink,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions},
};
use tracing::debug;

use super::{host::Mode, owner::Owner, pins::unpin};
use crate::model::{counters::Directions, programs::Filter};

/// The priority before every other filter. Within one priority the newest filter comes first (`cls_bpf_change`).
const CLSACT_PRIORITY: u16 = 1;

/// How programs are attached, and by whom.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) mode: Mode,
    pub(super) owner: Arc<Owner>,
}

/// A program on one side of a device.
#[derive(Debug)]
pub(super) struct HookedProgram {
    /// The kernel's id of the program.
    program: u32,
    hook: TcAttachType,
    link: Link,
}

impl HookedProgram {
    /// Attaches a loaded program to a device of the calling thread's namespace, which has these `filters`. With `pin`, a
    /// tcx link is held by that pin and needs no descriptor.
    pub(super) fn make(
        (program, classifier): (&str, &mut SchedClassifier),
        hook: TcAttachType,
        device: &str,
        way: &Way,
        filters: &Directions<Vec<Filter>>,
        pin: Option<&Path>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let id = classifier.info()?.id();
        let link = match way.mode {
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
                // It may already exist. Any other failure shows when the filter is attached.
                if let Err(error) = tc::qdisc_add_clsact(device) {
                    debug!(device, error = %error, "clsact was not added");
                }
                let left = way.owner.leftovers(on_side(hook, filters), program);
                for filter in left.filter(|filter| filter.priority == CLSACT_PRIORITY) {
                    remove(device, hook, filter);
                }
                let options = NlOptions {
                    priority: CLSACT_PRIORITY,
                    handle: way.owner.handle().into(),
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

    /// Whether the program is attached to this device of the calling thread's namespace, which has these `filters`. If the
    /// kernel does not report its tcx programs, it is assumed to be attached.
    pub(super) fn is_on(&self, device: &str, filters: &Directions<Vec<Filter>>) -> bool {
        match &self.link {
            Link::Pinned(_) | Link::Held(_) => programs(device, self.hook)
                .inspect_err(|error| debug!(device, %error, "the kernel does not report what is attached"))
                .map_or(true, |found| found.contains(&self.program)),
            Link::Filter(_) => self.is_among(filters),
        }
    }

    fn is_among(&self, filters: &Directions<Vec<Filter>>) -> bool {
        let mut on_side = on_side(self.hook, filters).iter();
        on_side.any(|filter| filter.program == self.program)
    }

    /// Detaches the program from a device of the calling thread's namespace, which has these `filters`. If the program is
    /// not among them, another filter may have its priority and handle.
    pub(super) fn detach_if_on(self, filters: &Directions<Vec<Filter>>) {
        if self.is_among(filters) {
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

/// The filters on one side of a device.
fn on_side(hook: TcAttachType, filters: &Directions<Vec<Filter>>) -> &[Filter] {
    match hook {
        TcAttachType::Ingress => &filters.receive,
        TcAttachType::Egress | TcAttachType::Custom(_) => &filters.transmit,
    }
}

/// Removes a filter that is left behind. If that fails, the filter is gone, or it only takes time: if it were in the way,
/// attaching would fail.
fn remove(device: &str, hook: TcAttachType, filter: &Filter) {
    let Filter { priority, handle, .. } = filter;
    let link = SchedClassifierLink::attached(device, hook, *priority, (*handle).into(), None);
    if let Err(error) = link.map_err(Into::into).and_then(SchedClassifierLink::detach) {
        debug!(device, ?filter, %error, "a filter that is left behind was not removed");
    }
}
