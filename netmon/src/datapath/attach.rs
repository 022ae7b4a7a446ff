//! Putting a copy of the programs on a device, and taking it off again.
//!
//! Every interface gets its own copy with its slot as a constant, because that is the one way to know the interface that
//! costs nothing for each packet. Both mechanisms put us before whoever was there: a program that ends the packet's way
//! in front of ours would hide it.

use std::{io, mem::ManuallyDrop, path::PathBuf};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::Map,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        links::FdLink,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError},
    },
};
use netmon_common::traffic::{GLOBAL_SLOT, GLOBAL_SLOTS, MAP, PROGRAM_EGRESS, PROGRAM_INGRESS};
use tracing::debug;

use super::{
    DatapathError,
    host::{Host, Mode},
    pins::{Pins, unpin},
    traffic::{Slot, TrafficMap},
};
use crate::model::{
    counters::{Directions, Traffic},
    snapshot::ProgramRow,
};

/// The programs, as built with this daemon.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/traffic.o"));

/// Before every other filter. Within one priority the newest filter comes first (`cls_bpf_change`).
const CLSACT_PRIORITY: u16 = 1;

/// The programs and the hooks they go to.
const HOOKS: [(&str, TcAttachType, &str); 2] = [
    (PROGRAM_INGRESS, TcAttachType::Ingress, "receive"),
    (PROGRAM_EGRESS, TcAttachType::Egress, "transmit"),
];

/// Why a device got no programs.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No slot is left.
    #[error("no room for another interface; raise --limit.interfaces")]
    Full,
    /// The device is not there any more, or another one has its name.
    #[error("the device {name} is gone")]
    Gone {
        /// The device.
        name: String,
    },
    /// The kernel did not take the programs.
    #[error("cannot load programs for {name}: {source}")]
    Load {
        /// The device.
        name: String,
        /// Why.
        source: Box<DatapathError>,
    },
    /// The kernel did not attach them.
    #[error("cannot attach to the {hook} side of {name}: {source}")]
    Attach {
        /// The device.
        name: String,
        /// Which side.
        hook: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl AttachError {
    /// A short word for a metric's label.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Gone { .. } => "gone",
            Self::Load { .. } => "load",
            Self::Attach { .. } => "attach",
        }
    }
}

/// Loads copies of the programs and attaches them.
pub(super) struct Attacher {
    loader: EbpfLoader<'static>,
    /// Numbers for the loader to refer to, which wants them to outlive it.
    numbers: &'static [u32],
    pins: Pins,
    mode: Mode,
}

impl std::fmt::Debug for Attacher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            loader: _,
            numbers: _,
            pins,
            mode,
        } = self;
        f.debug_struct("Attacher")
            .field("pins", pins)
            .field("mode", mode)
            .finish_non_exhaustive()
    }
}

impl Attacher {
    /// Creates the map, and loads the programs once to see that the kernel takes them.
    pub(super) fn load(host: &Host, mode: Mode, slots: u32) -> Result<(Self, TrafficMap), DatapathError> {
        let pins = Pins::new()?;
        // Leaked once a process, 4 bytes an interface: the loader borrows what it sets constants to.
        let numbers: &'static [u32] = (0..=slots).collect::<Vec<_>>().leak();
        let mut loader = EbpfLoader::new();
        // These programs touch no kernel structure. Without this the loader keeps the whole kernel's types in memory.
        loader.btf(None);
        loader.map_pin_path(MAP, pins.path(MAP));
        loader.map_max_entries(MAP, TrafficMap::entries(host.cpus, slots));
        let slots_number = numbers.last().ok_or(DatapathError::Incomplete("slots"))?;
        loader.override_global(GLOBAL_SLOTS, slots_number, true);
        let mut attacher = Self {
            loader,
            numbers,
            pins,
            mode,
        };
        let mut programs = attacher.copy(0)?;
        let Some(Map::Array(array)) = programs.take_map(MAP) else {
            return Err(DatapathError::Incomplete("array of counters"));
        };
        let traffic = TrafficMap::map(array.fd(), host.cpus, slots)?;
        Ok((attacher, traffic))
    }

    /// A copy of the programs, loaded, that counts into a slot.
    pub(super) fn copy(&mut self, slot: u32) -> Result<Ebpf, DatapathError> {
        let number = self
            .numbers
            .get(slot as usize)
            .ok_or(DatapathError::Incomplete("such slot"))?;
        let failed = |error: EbpfError| DatapathError::Load(Box::new(error));
        let mut programs = self
            .loader
            .override_global(GLOBAL_SLOT, number, true)
            .load(OBJECT)
            .map_err(failed)?;
        for (name, _, _) in HOOKS {
            classifier(&mut programs, name)?
                .load()
                .map_err(|error| failed(error.into()))?;
        }
        Ok(programs)
    }

    /// Attaches a copy to a device of the calling thread's namespace.
    pub(super) fn attach(&mut self, slot: Slot, name: &str, ifindex: u32) -> Result<Attachment, AttachError> {
        let mut programs = self.copy(slot.number()).map_err(|source| AttachError::Load {
            name: name.to_owned(),
            source: Box::new(source),
        })?;
        check_device(name, ifindex)?;
        let mut attachment = Attachment {
            slot,
            links: Vec::with_capacity(HOOKS.len()),
        };
        let attached = HOOKS.into_iter().try_for_each(|(program, hook, side)| {
            let link = self.link(&mut programs, program, hook, side, name, attachment.slot.number());
            attachment.links.push(link.map_err(|source| AttachError::Attach {
                name: name.to_owned(),
                hook: side,
                source,
            })?);
            Ok(())
        });
        // Looked up by name twice: the device in between is the one that was meant.
        match attached.and_then(|()| check_device(name, ifindex)) {
            Ok(()) => Ok(attachment),
            Err(error) => {
                attachment.detach_here();
                // What fails because the device went meanwhile is no failure to attach.
                check_device(name, ifindex)?;
                Err(error)
            }
        }
    }

    fn link(
        &self,
        programs: &mut Ebpf,
        program: &'static str,
        hook: TcAttachType,
        side: &str,
        device: &str,
        slot: u32,
    ) -> Result<Link, Box<dyn std::error::Error + Send + Sync>> {
        let classifier = classifier(programs, program)?;
        match self.mode {
            Mode::Tcx => {
                let options = TcAttachOptions::TcxOrder(LinkOrder::first());
                let link = classifier.attach_with_options(device, hook, options)?;
                let link: FdLink = classifier.take_link(link)?.try_into()?;
                let path = self.pins.path(&format!("{side}_{slot}"));
                // From here on the pin holds the link; the descriptor is closed.
                link.pin(&path)?;
                Ok(Link::Pinned(path))
            }
            Mode::Clsact => {
                prepare_clsact(device, hook, program)?;
                let options = NlOptions {
                    priority: CLSACT_PRIORITY,
                    ..NlOptions::default()
                };
                let link = classifier.attach_with_options(device, hook, TcAttachOptions::Netlink(options))?;
                Ok(Link::Filter(ManuallyDrop::new(classifier.take_link(link)?)))
            }
        }
    }
}

fn classifier<'a>(programs: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, DatapathError> {
    let program = programs.program_mut(name).ok_or(DatapathError::Incomplete(name))?;
    program
        .try_into()
        .map_err(|_: ProgramError| DatapathError::Incomplete(name))
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

/// Makes sure that the name still belongs to the device that was meant.
fn check_device(name: &str, ifindex: u32) -> Result<(), AttachError> {
    let gone = || AttachError::Gone { name: name.to_owned() };
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .map_err(|_| gone())?;
    let found = rustix::net::netdevice::name_to_index(socket, name).map_err(|_| gone())?;
    if found == ifindex { Ok(()) } else { Err(gone()) }
}

/// Programs on a device, and the slot they count into.
#[derive(Debug)]
pub struct Attachment {
    slot: Slot,
    links: Vec<Link>,
}

#[derive(Debug)]
enum Link {
    /// A tcx link, held by its pin.
    Pinned(PathBuf),
    /// A clsact filter. aya would remove it when dropped, from whatever device has its number in whatever namespace
    /// the dropping thread happens to be in: somebody else's. So it is only ever removed on purpose.
    Filter(ManuallyDrop<SchedClassifierLink>),
}

impl Attachment {
    /// What was counted.
    #[must_use]
    pub fn read(&self) -> Directions<Traffic> {
        self.slot.read()
    }

    /// Whether taking it off needs a thread inside the device's namespace.
    #[must_use]
    pub fn needs_visit(&self) -> bool {
        self.links.iter().any(|link| matches!(link, Link::Filter(_)))
    }

    /// Takes the programs off a living device. The calling thread is in the device's namespace.
    pub fn detach_here(mut self) {
        for link in self.links.drain(..) {
            match link {
                Link::Pinned(path) => release(&path),
                Link::Filter(link) => drop(ManuallyDrop::into_inner(link)),
            }
        }
    }
}

impl Drop for Attachment {
    /// The device is gone, or the kernel takes tcx links off by itself once they are let go of.
    fn drop(&mut self) {
        for link in self.links.drain(..) {
            match link {
                Link::Pinned(path) => release(&path),
                Link::Filter(_) => {}
            }
        }
    }
}

fn release(path: &std::path::Path) {
    if let Err(error) = unpin(path) {
        debug!(path = %path.display(), %error, "a link stays until netmon ends");
    }
}

/// What stands in `netmon_bpf_program_info`.
pub(super) fn programs(mode: Mode) -> Vec<ProgramRow> {
    HOOKS
        .into_iter()
        .map(|(program, _, side)| ProgramRow {
            program,
            kind: "sched_cls",
            attach_point: side,
            mode: mode.as_str(),
            // This kind may interrupt itself.
            missed_runs: None,
        })
        .collect()
}
