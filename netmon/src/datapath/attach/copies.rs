//! Loads copies of the programs. Each has its slots as constants, and shares the arrays of these slots with the others.
//!
//! What looks into DNS messages is large, so copies do not have it. They pass such packets on to one program, of which there
//! is one for each array of slots.

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Map, ProgramArray},
    programs::{ProgramError, SchedClassifier, TcAttachType},
};
use netmon_common::{
    dns,
    traffic::{self, GLOBAL_SLOT, GLOBAL_SLOTS, PROGRAM_EGRESS, PROGRAM_INGRESS},
};

use crate::datapath::{
    DatapathError,
    dns::{ENTRIES, WAITING_ENTRIES},
    host::Host,
    pins::Pins,
    slots::{SLOTS, place},
    traffic::TrafficMap,
};

/// The programs of interfaces, and those of DNS, as built with this daemon.
static TRAFFIC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/traffic.o"));
static DNS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/dns.o"));

/// A program, the hook that it goes to, and a name for the side of the device.
pub(super) type Hook = (&'static str, TcAttachType, &'static str);

/// The hooks of an interface.
pub(super) const INTERFACE: &[Hook] = &[
    (PROGRAM_INGRESS, TcAttachType::Ingress, "receive"),
    (PROGRAM_EGRESS, TcAttachType::Egress, "transmit"),
];
/// The hook of a namespace's loopback.
pub(super) const LOOPBACK: &[Hook] = &[(dns::PROGRAM_LOOPBACK, TcAttachType::Egress, "loopback")];

/// The slots that a copy counts into.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlotNumbers {
    /// The packets' slot. A copy for loopback has none.
    pub(crate) traffic: Option<u32>,
    /// The slot of DNS. Without one, DNS is not counted.
    pub(crate) dns: Option<u32>,
}

/// The loaders of both objects.
pub(super) struct Copies {
    traffic: EbpfLoader<'static>,
    dns: EbpfLoader<'static>,
    /// Constants that the loaders borrow. They must outlive the loaders.
    numbers: &'static [u32],
    pins: Pins,
}

impl Copies {
    /// Loaders for this host.
    pub(super) fn new(host: &Host) -> Result<Self, DatapathError> {
        // Leaked once per process: the loaders borrow the values of constants.
        let numbers: &'static [u32] = (0..=SLOTS).collect::<Vec<_>>().leak();
        let [mut traffic, mut dns] = [EbpfLoader::new(), EbpfLoader::new()];
        for loader in [&mut traffic, &mut dns] {
            // These programs use no kernel structure. Without this call, a loader keeps all of the kernel's types in
            // memory.
            loader.btf(None);
        }
        dns.map_max_entries(dns::MAP, ENTRIES);
        dns.map_max_entries(dns::WAITING, WAITING_ENTRIES);
        traffic.map_max_entries(traffic::MAP, TrafficMap::entries_on(host));
        let slots = numbers.last().ok_or(DatapathError::Incomplete("slots"))?;
        traffic.override_global(GLOBAL_SLOTS, slots, true);
        Ok(Self {
            traffic,
            dns,
            numbers,
            pins: Pins::new()?,
        })
    }

    /// Where programs and maps are pinned.
    pub(super) const fn pins(&self) -> &Pins {
        &self.pins
    }

    /// A copy whose programs are not loaded, with its maps. They are created if they do not exist.
    fn open(&mut self, into: SlotNumbers) -> Result<Ebpf, DatapathError> {
        let Self {
            traffic,
            dns,
            numbers,
            pins,
        } = self;
        let number = |number: u32| {
            let number = numbers.get(number as usize);
            number.ok_or(DatapathError::Incomplete("such slot"))
        };
        let (array, dns_slot) = match into.dns.map(place) {
            Some((array, place)) => (array, place + 1),
            None => (0, 0),
        };
        let (loader, object) = if let Some(slot) = into.traffic {
            let (array, place) = place(slot);
            traffic
                .map_pin_path(traffic::MAP, pins.numbered(traffic::MAP, array))
                .override_global(GLOBAL_SLOT, number(place)?, true);
            (traffic, TRAFFIC)
        } else {
            for map in [dns::MAP, dns::WAITING] {
                dns.map_pin_path(map, pins.numbered(map, array));
            }
            (dns, DNS)
        };
        loader
            .map_pin_path(dns::FOUND, pins.path(dns::FOUND))
            .map_pin_path(dns::PROGRAMS, pins.numbered(dns::PROGRAMS, array))
            .override_global(dns::GLOBAL_SLOT, number(dns_slot)?, true)
            .load(object)
            .map_err(failed)
    }

    /// The array of counters of packets that a slot is in. It is created if there is none yet.
    pub(super) fn traffic_array(&mut self, slot: u32) -> Result<Map, DatapathError> {
        let into = SlotNumbers {
            traffic: Some(slot),
            dns: None,
        };
        let map = self.open(into)?.take_map(traffic::MAP);
        map.ok_or(DatapathError::Incomplete("array of counters"))
    }

    /// Creates the arrays that a slot of DNS is in: of counts, and of queries that wait. Loads the program that looks into the
    /// messages of these slots.
    pub(super) fn dns_arrays(&mut self, slot: u32) -> Result<[Map; 2], DatapathError> {
        let into = SlotNumbers {
            traffic: None,
            dns: Some(slot),
        };
        let mut object = self.open(into)?;
        let mut take = |name: &'static str| object.take_map(name).ok_or(DatapathError::Incomplete(name));
        let (counts, waiting, programs) = (take(dns::MAP)?, take(dns::WAITING)?, take(dns::PROGRAMS)?);
        let program = classifier(&mut object, dns::PROGRAM_MESSAGE)?;
        program.load().map_err(|error| failed(error.into()))?;
        let program = program.fd().map_err(|error| failed(error.into()))?;
        let mut programs = ProgramArray::try_from(programs).map_err(DatapathError::map)?;
        // The pin keeps the array, and the array the program.
        programs.set(0, program, 0).map_err(DatapathError::map)?;
        Ok([counts, waiting])
    }

    /// Loads a copy of the programs that counts into these slots, and returns it with the hooks that it is for.
    pub(super) fn load(&mut self, into: SlotNumbers) -> Result<(Ebpf, &'static [Hook]), DatapathError> {
        let hooks = if into.traffic.is_some() { INTERFACE } else { LOOPBACK };
        let mut programs = self.open(into)?;
        for (name, _, _) in hooks {
            classifier(&mut programs, name)?
                .load()
                .map_err(|error| failed(error.into()))?;
        }
        Ok((programs, hooks))
    }
}

impl std::fmt::Debug for Copies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copies")
            .field("pins", &self.pins)
            .finish_non_exhaustive()
    }
}

fn failed(error: EbpfError) -> DatapathError {
    DatapathError::Load(Box::new(error))
}

/// A program of a copy.
pub(super) fn classifier<'a>(
    programs: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, DatapathError> {
    let program = programs.program_mut(name).ok_or(DatapathError::Incomplete(name))?;
    program
        .try_into()
        .map_err(|_: ProgramError| DatapathError::Incomplete(name))
}
