//! Attaches a copy of the programs to a device, and detaches it again.
//!
//! Every interface gets its own copy, with its slot as a constant. No other way of identifying the interface is free
//! of cost per packet.

use std::{
    error::Error,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::Map,
    programs::{ProgramError, SchedClassifier, TcAttachType},
};
use netmon_common::traffic::{GLOBAL_SLOT, GLOBAL_SLOTS, MAP, PROGRAM_EGRESS, PROGRAM_INGRESS};
use rustix::io::Errno;

use super::{
    DatapathError,
    constants::Constants,
    denial::{self, permission, with_causes},
    hook::{HookedProgram, Way},
    host::{Host, Mode},
    owner::Owner,
    pins::Pins,
    traffic::{Counters, SLOTS, Slot, TrafficMap, place},
};
use crate::{
    model::{
        counters::Directions,
        health::{AttachFailure, ProgramRow},
        programs::{Filter, Others},
    },
    privilege,
};

/// The programs, as built with this daemon.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/traffic.o"));

/// The programs and the hooks they go to.
const HOOKS: [(&str, TcAttachType, &str); 2] = [
    (PROGRAM_INGRESS, TcAttachType::Ingress, "receive"),
    (PROGRAM_EGRESS, TcAttachType::Egress, "transmit"),
];

/// Why programs were not attached to a device.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No slot is left.
    #[error("no room for another interface; raise --limit.interfaces")]
    Full,
    /// There is no room for the counters of more interfaces.
    #[error("no room for the counters of another interface: {0}")]
    Room(#[source] Box<DatapathError>),
    /// The device was deleted, or another device has its name.
    #[error("the device {name} is gone")]
    Gone {
        /// The device.
        name: String,
    },
    /// The device's name is no text. The library that attaches programs takes text.
    #[error("the name of the device {name} is not UTF-8, so no programs can be attached")]
    Name {
        /// The device.
        name: String,
    },
    /// The kernel did not accept the programs.
    #[error("cannot load programs for {name}: {source}")]
    Load {
        /// The device.
        name: String,
        /// Why.
        source: Box<DatapathError>,
    },
    /// What is on the device already is not known.
    #[error("cannot attach to {name}: {source}")]
    Unlisted {
        /// The device.
        name: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The kernel did not attach them.
    #[error("cannot attach to the {hook} side of {name}: {}{}", with_causes(source.as_ref()), remedy(source.as_ref()))]
    Attach {
        /// The device.
        name: String,
        /// The side of the device.
        hook: &'static str,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl AttachError {
    /// The reason under which the failure is counted.
    #[must_use]
    pub const fn reason(&self) -> AttachFailure {
        match self {
            Self::Full => AttachFailure::Full,
            Self::Gone { .. } => AttachFailure::Gone,
            Self::Name { .. } => AttachFailure::Name,
            Self::Load { .. } | Self::Room(_) => AttachFailure::Load,
            Self::Unlisted { .. } | Self::Attach { .. } => AttachFailure::Attach,
        }
    }
}

/// An attach that failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NotAttached {
    /// Why.
    pub error: AttachError,
    /// The slot, if a program may have been on the device.
    pub remains: Option<Remains>,
}

impl From<AttachError> for Box<NotAttached> {
    /// Nothing was attached.
    fn from(error: AttachError) -> Self {
        Self::new(NotAttached { error, remains: None })
    }
}

/// Advice on an attachment that the kernel refused.
fn remedy(error: &(dyn Error + 'static)) -> &'static str {
    if permission(error) && !privilege::may_change_devices() {
        "; without tcx, which Linux has from 6.6 on, netmon needs CAP_NET_ADMIN"
    } else {
        denial::remedy(error)
    }
}

/// Loads copies of the programs and attaches them.
pub(super) struct Attacher {
    loader: EbpfLoader<'static>,
    /// Constants that the loader borrows. They must outlive the loader.
    numbers: &'static [u32],
    pins: Pins,
    way: Way,
}

impl std::fmt::Debug for Attacher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            loader: _,
            numbers: _,
            pins,
            way,
        } = self;
        f.debug_struct("Attacher")
            .field("pins", pins)
            .field("way", way)
            .finish_non_exhaustive()
    }
}

impl Attacher {
    /// Creates the first array of counters, and loads the programs once to check that the kernel accepts them.
    pub(super) fn load(host: &Host, mode: Mode, others: Others) -> Result<Self, DatapathError> {
        let pins = Pins::new()?;
        // Leaked once per process: the loader borrows the values of constants.
        let numbers: &'static [u32] = (0..=SLOTS).collect::<Vec<_>>().leak();
        let mut loader = EbpfLoader::new();
        // These programs use no kernel structure. Without this call, the loader keeps all of the kernel's types in
        // memory.
        loader.btf(None);
        loader.map_max_entries(MAP, TrafficMap::entries_on(host));
        let slots = numbers.last().ok_or(DatapathError::Incomplete("slots"))?;
        loader.override_global(GLOBAL_SLOTS, slots, true);
        let programs = copy(&mut loader, &pins, numbers, 0)?;
        let owner = Arc::new(Owner::new(programs, others)?);
        Ok(Self {
            loader,
            numbers,
            pins,
            way: Way { mode, owner },
        })
    }

    /// The array of counters with this number. It is created if there is none yet.
    pub(super) fn array(&mut self, number: u32) -> Result<OwnedFd, DatapathError> {
        let mut programs = self
            .loader
            .map_pin_path(MAP, self.pins.numbered(MAP, number))
            .load(OBJECT)
            .map_err(|error| DatapathError::Load(Box::new(error)))?;
        let Some(Map::Array(array)) = programs.take_map(MAP) else {
            return Err(DatapathError::Incomplete("array of counters"));
        };
        let descriptor = array.fd().as_fd().try_clone_to_owned();
        descriptor.map_err(|error| DatapathError::of("copy the descriptor of an array", error))
    }

    /// How programs are attached.
    pub(super) const fn way(&self) -> &Way {
        &self.way
    }

    /// Loads a copy of the programs that counts into a slot.
    pub(super) fn copy(&mut self, slot: u32) -> Result<Ebpf, DatapathError> {
        copy(&mut self.loader, &self.pins, self.numbers, slot)
    }

    /// Attaches a copy to a device of the calling thread's namespace, which has these `filters`.
    pub(super) fn attach(
        &mut self,
        slot: Slot,
        name: &str,
        ifindex: u32,
        filters: &Directions<Vec<Filter>>,
    ) -> Result<Attachment, Box<NotAttached>> {
        let not_loaded = |source| AttachError::Load {
            name: name.to_owned(),
            source: Box::new(source),
        };
        let mut copy = self.copy(slot.number()).map_err(not_loaded)?;
        let constants = Constants::of(&copy).map_err(not_loaded)?;
        let device = &*device_name(name, ifindex)?;
        let mut attachment = Attachment {
            programs: Vec::with_capacity(HOOKS.len()),
            remains: Remains { slot, constants },
        };
        let attached = HOOKS.into_iter().try_for_each(|(program, hook, side)| {
            let pin = self.pins.path(&format!("{side}_{}", attachment.remains.slot.number()));
            let attached = classifier(&mut copy, program)
                .map_err(Into::into)
                .and_then(|it| HookedProgram::make((program, it), hook, device, &self.way, filters, Some(&pin)));
            attachment.programs.push(attached.map_err(|source| AttachError::Attach {
                name: name.to_owned(),
                hook: side,
                source,
            })?);
            Ok(())
        });
        // aya attaches by name. The device had it before, and is checked to have it still.
        match attached.and_then(|()| check_device(device, ifindex)) {
            Ok(()) => Ok(attachment),
            Err(error) => {
                let remains = Some(attachment.detach_here());
                // If the device was deleted meanwhile, the error is `Gone` and not a failure to attach.
                let error = check_device(device, ifindex).err().unwrap_or(error);
                Err(Box::new(NotAttached { error, remains }))
            }
        }
    }
}

fn copy(
    loader: &mut EbpfLoader<'static>,
    pins: &Pins,
    numbers: &'static [u32],
    slot: u32,
) -> Result<Ebpf, DatapathError> {
    let (array, place) = place(slot);
    let number = numbers
        .get(place as usize)
        .ok_or(DatapathError::Incomplete("such slot"))?;
    let failed = |error: EbpfError| DatapathError::Load(Box::new(error));
    let mut programs = loader
        .map_pin_path(MAP, pins.numbered(MAP, array))
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

fn classifier<'a>(programs: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, DatapathError> {
    let program = programs.program_mut(name).ok_or(DatapathError::Incomplete(name))?;
    program
        .try_into()
        .map_err(|_: ProgramError| DatapathError::Incomplete(name))
}

/// Checks that the name still belongs to the device that was meant.
pub(crate) fn check_device(name: &str, ifindex: u32) -> Result<(), AttachError> {
    let gone = || AttachError::Gone { name: name.to_owned() };
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .map_err(|_| gone())?;
    let found = rustix::net::netdevice::name_to_index(socket, name).map_err(|_| gone())?;
    if found == ifindex { Ok(()) } else { Err(gone()) }
}

/// The name of a device of the calling thread's namespace, by which aya attaches programs. `known` is the name that is
/// shown, in which bytes are escaped.
///
/// # Errors
/// The device is gone, or its name is no text.
pub(crate) fn device_name(known: &str, ifindex: u32) -> Result<String, AttachError> {
    let name = known.to_owned();
    rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .and_then(|socket| rustix::net::netdevice::index_to_name(socket, ifindex))
        .map_err(|error| match error {
            Errno::NODEV => AttachError::Gone { name },
            Errno::ILSEQ => AttachError::Name { name },
            error => AttachError::Unlisted {
                name,
                source: error.into(),
            },
        })
}

/// Programs on a device, and the slot they count into.
#[derive(Debug)]
pub struct Attachment {
    programs: Vec<HookedProgram>,
    remains: Remains,
}

/// The slot of programs that are detached, or that are left on a device. It is freed when this is dropped, which must not
/// be before the programs are gone: they would count for the slot's next device.
#[derive(Debug)]
pub struct Remains {
    slot: Slot,
    constants: Constants,
}

impl Attachment {
    /// What it counts.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        self.remains.slot.counters()
    }

    /// Whether the programs are attached to this device of the calling thread's namespace, which has these `filters`. If
    /// the kernel does not report its tcx programs, they are assumed to be attached.
    #[must_use]
    pub fn is_on(&self, name: &str, filters: &Directions<Vec<Filter>>) -> bool {
        self.programs.iter().all(|program| program.is_on(name, filters))
    }

    /// Whether detaching needs a thread in the device's namespace.
    #[must_use]
    pub fn needs_visit(&self) -> bool {
        self.programs.iter().any(HookedProgram::needs_visit)
    }

    /// Detaches programs that were just attached. The calling thread is still in the device's namespace.
    #[must_use]
    pub fn detach_here(self) -> Remains {
        let Self { programs, remains } = self;
        programs.into_iter().for_each(HookedProgram::detach_here);
        remains
    }

    /// Detaches what is left of the programs on a device of the calling thread's namespace, which has these `filters`.
    #[must_use]
    pub fn detach_if_on(self, filters: &Directions<Vec<Filter>>) -> Remains {
        let Self { programs, remains } = self;
        for program in programs {
            program.detach_if_on(filters);
        }
        remains
    }

    /// Gives the programs up, from any namespace. The kernel detaches them if they are on tcx. Filters stay on their
    /// device, and count as long as it exists.
    #[must_use]
    pub fn leave(self) -> Remains {
        self.remains
    }
}

impl Remains {
    /// Whether the programs still exist, so that they may count into the slot.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn are_loaded(&self) -> Result<bool, DatapathError> {
        self.constants.are_loaded()
    }
}

/// The rows of `netmon_bpf_program_info`.
pub(super) fn programs(mode: Mode) -> Vec<ProgramRow> {
    HOOKS
        .into_iter()
        .map(|(program, _, side)| ProgramRow {
            program,
            kind: "sched_cls",
            attach_point: side,
            mode: mode.as_str(),
            // A program of this kind may interrupt itself, so it misses no runs.
            missed_runs: None,
        })
        .collect()
}
