//! The programs that count traffic between nodes, and the devices they are on. Which devices lead to other nodes is not
//! known here.
//!
//! They are apart from what they count: a reading does not wait while the kernel attaches them.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{ProgramError, SchedClassifier, TcAttachType},
};
use netmon_common::overlay::{MAP_PORT, PROGRAM_EGRESS, PROGRAM_INGRESS};

use crate::{
    datapath::{
        DatapathError,
        attach::{AttachError, check_device, device_name},
        hook::{HookedProgram, Way},
        host::Mode,
    },
    model::{counters::Directions, health::ProgramRow, programs::Filter},
};

/// The programs and the hooks they go to.
const HOOKS: [(&str, TcAttachType, &str); 2] = [
    (PROGRAM_INGRESS, TcAttachType::Ingress, "receive"),
    (PROGRAM_EGRESS, TcAttachType::Egress, "transmit"),
];

/// The loaded programs.
pub struct OverlayPrograms {
    object: Ebpf,
    way: Way,
    port: Option<u16>,
    /// The attached programs, by ifindex.
    devices: BTreeMap<u32, Vec<HookedProgram>>,
}

impl std::fmt::Debug for OverlayPrograms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            object: _,
            way,
            port,
            devices,
        } = self;
        f.debug_struct("OverlayPrograms")
            .field("way", way)
            .field("port", port)
            .field("devices", devices)
            .finish_non_exhaustive()
    }
}

impl OverlayPrograms {
    /// Loads the programs of this object.
    ///
    /// # Errors
    /// The kernel does not accept them.
    pub(super) fn load(mut object: Ebpf, way: Way) -> Result<Self, DatapathError> {
        for (name, _, _) in HOOKS {
            classifier(&mut object, name)?
                .load()
                .map_err(|error| DatapathError::Load(Box::new(error.into())))?;
        }
        Ok(Self {
            object,
            way,
            port: None,
            devices: BTreeMap::new(),
        })
    }

    /// Sets the UDP port of this Swarm's tunnels in the programs' map.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn tell_port(&mut self, port: u16) -> Result<(), DatapathError> {
        if self.port == Some(port) {
            return Ok(());
        }
        let map = self
            .object
            .map_mut(MAP_PORT)
            .ok_or(DatapathError::Incomplete(MAP_PORT))?;
        let mut map: Array<&mut MapData, u32> = map.try_into().map_err(DatapathError::map)?;
        map.set(0, u32::from(port), 0).map_err(DatapathError::map)?;
        self.port = Some(port);
        Ok(())
    }

    /// Attaches the programs to a device of the calling thread's namespace, which has these `filters`. Every call must
    /// come from the same namespace.
    ///
    /// # Errors
    /// See [`AttachError`]. Nothing stays attached.
    pub fn watch(&mut self, name: &str, ifindex: u32, filters: &Directions<Vec<Filter>>) -> Result<(), AttachError> {
        if self.devices.contains_key(&ifindex) {
            return Ok(());
        }
        let device = &*device_name(name, ifindex)?;
        let mut programs = Vec::with_capacity(HOOKS.len());
        for (program, hook, side) in HOOKS {
            let attached = classifier(&mut self.object, program)
                .map_err(Into::into)
                .and_then(|it| HookedProgram::make((program, it), hook, device, &self.way, filters, None));
            match attached {
                Ok(attached) => programs.push(attached),
                Err(source) => {
                    programs.into_iter().for_each(HookedProgram::detach_here);
                    return Err(AttachError::Attach {
                        name: name.to_owned(),
                        hook: side,
                        source,
                    });
                }
            }
        }
        self.devices.insert(ifindex, programs);
        // aya attached by name. The device had it before, and is checked to have it still.
        check_device(device, ifindex).inspect_err(|_| self.unwatch(ifindex))
    }

    /// Detaches the programs from a device. The calling thread is in the device's namespace. If the device was
    /// deleted, nothing remains to be detached.
    pub fn unwatch(&mut self, ifindex: u32) {
        let programs = self.devices.remove(&ifindex).unwrap_or_default();
        programs.into_iter().for_each(HookedProgram::detach_here);
    }

    /// The same for a device of which somebody else has detached a program. See [`Self::is_on`].
    pub fn unwatch_rest(&mut self, ifindex: u32, filters: &Directions<Vec<Filter>>) {
        let programs = self.devices.remove(&ifindex).unwrap_or_default();
        for program in programs {
            program.detach_if_on(filters);
        }
    }

    /// Whether the programs are attached to this device, which has that name in the calling thread's namespace, and
    /// these `filters`.
    #[must_use]
    pub fn is_on(&self, name: &str, ifindex: u32, filters: &Directions<Vec<Filter>>) -> bool {
        let programs = self.devices.get(&ifindex);
        programs.is_some_and(|programs| programs.iter().all(|program| program.is_on(name, filters)))
    }

    /// How the programs are attached.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.way.mode
    }

    /// The ifindexes of the devices that have programs.
    pub fn devices(&self) -> impl Iterator<Item = u32> {
        self.devices.keys().copied()
    }

    /// Whether detaching all programs needs a thread in the devices' namespace.
    #[must_use]
    pub fn needs_visit(&self) -> bool {
        self.devices.values().flatten().any(HookedProgram::needs_visit)
    }
}

/// The rows of `netmon_bpf_program_info`.
pub(super) fn rows(mode: Mode) -> impl Iterator<Item = ProgramRow> {
    HOOKS.into_iter().map(move |(program, _, side)| ProgramRow {
        program,
        kind: "sched_cls",
        attach_point: side,
        mode: mode.as_str(),
        missed_runs: None,
    })
}

fn classifier<'a>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, DatapathError> {
    let program = object.program_mut(name).ok_or(DatapathError::Incomplete(name))?;
    program
        .try_into()
        .map_err(|_: ProgramError| DatapathError::Incomplete(name))
}
