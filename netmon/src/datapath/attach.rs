//! Attaches a copy of the programs to a device, and detaches it again.
//!
//! Every interface gets its own copy, with its slots as constants. No other way of identifying the interface is free
//! of cost per packet.

mod copies;
mod error;

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

#[cfg(feature = "bench")]
use aya::Ebpf;
use aya::maps::Map;
use rustix::io::Errno;

pub(super) use self::copies::SlotNumbers;
use self::copies::{Copies, INTERFACE, LOOPBACK, classifier};
pub use self::error::{AttachError, NotAttached};
use super::{
    DatapathError,
    constants::Constants,
    dns::DnsSlot,
    hook::{HookedProgram, Way},
    host::{Host, Mode},
    owner::Owner,
    slots::SLOTS,
    traffic::{Counters, Slot},
};
use crate::model::{
    counters::Directions,
    health::ProgramRow,
    programs::{Filter, Others},
};

/// Loads copies of the programs and attaches them.
#[derive(Debug)]
pub(super) struct Attacher {
    copies: Copies,
    way: Way,
}

impl Attacher {
    /// Creates the first arrays of counters, and loads the programs once to check that the kernel accepts them: with DNS if
    /// that is wanted, since more of them is verified then.
    pub(super) fn load(host: &Host, mode: Mode, with_dns: bool, others: Others) -> Result<Self, DatapathError> {
        let mut copies = Copies::new(host)?;
        if with_dns {
            copies.dns_arrays(0)?;
            let (traffic, dns) = (None, Some(0));
            copies.load(SlotNumbers { traffic, dns })?;
        }
        let (traffic, dns) = (Some(0), with_dns.then_some(0));
        let (programs, _) = copies.load(SlotNumbers { traffic, dns })?;
        let owner = Arc::new(Owner::new(programs, others)?);
        Ok(Self {
            copies,
            way: Way { mode, owner },
        })
    }

    /// The array of counters of packets with this number. It is created if there is none yet.
    pub(super) fn array(&mut self, number: u32) -> Result<OwnedFd, DatapathError> {
        descriptor(self.copies.traffic_array(number * SLOTS)?)
    }

    /// Creates the arrays of counters of DNS, and of queries that wait, with this number.
    pub(super) fn dns_arrays(&mut self, number: u32) -> Result<(OwnedFd, OwnedFd), DatapathError> {
        let [counts, waiting] = self.copies.dns_arrays(number * SLOTS)?;
        Ok((descriptor(counts)?, descriptor(waiting)?))
    }

    /// How programs are attached.
    pub(super) const fn way(&self) -> &Way {
        &self.way
    }

    /// Loads a copy of the programs that counts into these slots.
    #[cfg(feature = "bench")]
    pub(super) fn copy(&mut self, into: SlotNumbers) -> Result<Ebpf, DatapathError> {
        self.copies.load(into).map(|(programs, _)| programs)
    }

    /// Attaches a copy to a device of the calling thread's namespace, which has these `filters`. The device is loopback if
    /// there is no slot for packets.
    pub(super) fn attach(
        &mut self,
        (traffic, dns): (Option<Slot>, Option<Arc<DnsSlot>>),
        name: &str,
        ifindex: u32,
        filters: &Directions<Vec<Filter>>,
    ) -> Result<Attachment, Box<NotAttached>> {
        let not_loaded = |source| AttachError::Load {
            name: name.to_owned(),
            source: Box::new(source),
        };
        let into = SlotNumbers {
            traffic: traffic.as_ref().map(Slot::number),
            dns: dns.as_ref().map(|slot| slot.number()),
        };
        let (mut copy, hooks) = self.copies.load(into).map_err(not_loaded)?;
        let constants = Constants::of(&copy).map_err(not_loaded)?;
        let device = &*device_name(name, ifindex)?;
        let mut attachment = Attachment {
            programs: Vec::with_capacity(hooks.len()),
            remains: Remains {
                traffic,
                dns,
                constants,
            },
        };
        let number = into.traffic.or(into.dns).unwrap_or_default();
        let attached = hooks.iter().try_for_each(|(program, hook, side)| {
            let pin = self.copies.pins().path(&format!("{side}_{number}"));
            let attached = classifier(&mut copy, program)
                .map_err(Into::into)
                .and_then(|it| HookedProgram::make((program, it), *hook, device, &self.way, filters, Some(&pin)));
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

fn descriptor(map: Map) -> Result<OwnedFd, DatapathError> {
    let Map::Array(array) = map else {
        return Err(DatapathError::Incomplete("array of counters"));
    };
    let descriptor = array.fd().as_fd().try_clone_to_owned();
    descriptor.map_err(|error| DatapathError::of("copy the descriptor of an array", error))
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

/// The slots of programs that are detached, or that are left on a device. They are freed when this is dropped, which must
/// not be before the programs are gone: they would count for a slot's next owner.
#[derive(Debug)]
pub struct Remains {
    traffic: Option<Slot>,
    dns: Option<Arc<DnsSlot>>,
    constants: Constants,
}

impl Attachment {
    /// The packets that it counts. On loopback there are none.
    #[must_use]
    pub fn counters(&self) -> Option<&Counters> {
        self.remains.traffic.as_ref().map(Slot::counters)
    }

    /// What the device's namespace asks its resolvers, if it counts that.
    #[must_use]
    pub const fn dns(&self) -> Option<&Arc<DnsSlot>> {
        self.remains.dns.as_ref()
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
pub(super) fn programs(mode: Mode, with_dns: bool) -> Vec<ProgramRow> {
    let loopback = if with_dns { LOOPBACK } else { &[] };
    INTERFACE
        .iter()
        .chain(loopback)
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
