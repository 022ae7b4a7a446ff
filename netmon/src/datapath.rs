//! The kernel side of netmon. It detects what this host supports, loads the programs, attaches them to devices, and
//! reads their maps.
//!
//! Only this module and its submodules use aya. They know a device by its name and ifindex in the calling thread's
//! namespace. They know nothing of containers, of networks, or of why a device is counted.

mod addresses;
pub mod attach;
mod batch;
pub mod btf;
#[cfg(test)]
mod budget;
mod constants;
mod denial;
mod dns;
pub mod drops;
pub mod edges;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod hook;
pub mod host;
mod iterator;
mod mapped;
mod notes;
pub mod overlay;
mod owner;
pub mod pins;
pub mod protocols;
mod refusals;
mod share;
mod slots;
mod store;
pub mod symbols;
pub mod tcp;
mod tracepoint;
mod tracepoints;
pub mod traffic;
#[cfg(feature = "bench")]
pub mod yardstick;

use std::{sync::Arc, time::Instant};

use tracing::{debug, warn};

use self::{
    attach::{AttachError, Attacher, Attachment, NotAttached},
    dns::{DnsMap, DnsRoom, DnsSlot, slots_for},
    host::{Host, Mode},
    overlay::{OverlayMap, programs::OverlayPrograms},
    traffic::{Slot, TrafficMap},
};
pub use self::{
    error::DatapathError,
    tracepoints::{Lacking, SharedTracepoints, Tracepoints, WantedTracepoints},
};
use crate::model::{
    counters::Directions,
    health::{MapRow, ProgramRow},
    interface::NetnsId,
    outage::Outage,
    programs::{Filter, Others},
};

/// The loaded programs on interfaces, and their counters.
#[derive(Debug)]
pub struct Datapath {
    host: Host,
    attacher: Attacher,
    traffic: Arc<TrafficMap>,
    /// `None` if DNS is not wanted.
    dns: Option<DnsMap>,
    no_dns: Outage,
}

impl Datapath {
    /// Loads the programs, with room for this number of interfaces. `others` are the other netmons of this node. They
    /// matter only for [`Mode::Clsact`].
    ///
    /// # Errors
    /// See [`DatapathError`]. Nothing remains in the kernel.
    pub fn load(
        host: Host,
        mode: Mode,
        interfaces: u32,
        with_dns: bool,
        others: Others,
    ) -> Result<Self, DatapathError> {
        let mut attacher = Attacher::load(&host, mode, with_dns, others)?;
        let traffic = Arc::new(TrafficMap::new(&host, interfaces));
        // A kernel that gives no memory for counters is found out at start.
        drop(traffic.allocate(|number| attacher.array(number))?);
        // A container without an interface asks nobody.
        let dns = with_dns.then(|| DnsMap::new(slots_for(interfaces)));
        Ok(Self {
            host,
            attacher,
            traffic,
            dns,
            no_dns: Outage::default(),
        })
    }

    /// What the host supports.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// How programs are attached.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.attacher.way().mode
    }

    /// Attaches programs to an interface of the namespace that the calling thread is in. `filters` are those of the device.
    /// They matter only for [`Mode::Clsact`]: some may have been left behind. `netns` is that namespace, if what it asks its
    /// resolvers is to be counted, too.
    ///
    /// # Errors
    /// See [`AttachError`]. Nothing stays attached, but the slot may have to rest.
    pub fn attach(
        &mut self,
        name: &str,
        ifindex: u32,
        netns: Option<NetnsId>,
        filters: &Directions<Vec<Filter>>,
    ) -> Result<Attachment, Box<NotAttached>> {
        let slot = self.allocate()?;
        // Packets are counted all the same.
        let dns = netns.and_then(|netns| self.allocate_dns(netns).unwrap_or_default());
        self.attacher.attach((Some(slot), dns), name, ifindex, filters)
    }

    /// Attaches the program to loopback of the namespace that the calling thread is in, which is `netns`. The rest is as in
    /// [`Self::attach`].
    ///
    /// # Errors
    /// As there.
    pub fn attach_loopback(
        &mut self,
        name: &str,
        ifindex: u32,
        netns: NetnsId,
        filters: &Directions<Vec<Filter>>,
    ) -> Result<Attachment, Box<NotAttached>> {
        let slot = self.allocate_dns(netns)?.ok_or(AttachError::Full)?;
        self.attacher.attach((None, Some(slot)), name, ifindex, filters)
    }

    /// Takes a slot for the counters of an interface.
    ///
    /// # Errors
    /// All are taken, or there is no memory for more.
    pub fn allocate(&mut self) -> Result<Slot, AttachError> {
        let slot = self.traffic.allocate(|number| self.attacher.array(number));
        slot.map_err(|error| AttachError::Room(Box::new(error)))?
            .ok_or(AttachError::Full)
    }

    /// The slot for what a namespace asks its resolvers; `None` if that is not wanted, or if all slots are taken.
    fn allocate_dns(&mut self, netns: NetnsId) -> Result<Option<Arc<DnsSlot>>, AttachError> {
        let Some(dns) = &mut self.dns else { return Ok(None) };
        let slot = dns.slot_of(netns, |number| self.attacher.dns_arrays(number));
        let has_none = !matches!(slot, Ok(Some(_)));
        if self.no_dns.begins(has_none, Instant::now()) {
            let error = slot.as_ref().err().map(ToString::to_string).unwrap_or_default();
            warn!(%error, "no room for the DNS queries of another container, which are not counted; raise --limit.interfaces");
        }
        slot.map_err(|error| AttachError::Room(Box::new(error)))
    }

    /// Loads the programs that count traffic between nodes. They are attached by the same [`Mode`].
    ///
    /// Returns `None`, after a warning, if this kernel does not support them.
    ///
    /// # Errors
    /// netmon lacks a permission.
    pub fn load_overlay(&self) -> Result<Option<(OverlayMap, OverlayPrograms)>, DatapathError> {
        // Every kernel has what these need.
        let mut lacks = false;
        or_none(
            "packets between nodes",
            &mut lacks,
            overlay::load(self.attacher.way().clone(), self.host.cpus),
        )
    }

    /// Which programs are in use.
    #[must_use]
    pub fn programs(&self) -> Vec<ProgramRow> {
        attach::programs(self.mode(), self.dns.is_some())
    }

    /// Whether it counts what containers ask their resolvers.
    #[must_use]
    pub const fn counts_dns(&self) -> bool {
        self.dns.is_some()
    }

    /// The maps in use.
    #[must_use]
    pub fn maps(&self) -> Maps {
        Maps {
            traffic: Arc::clone(&self.traffic),
            dns: self.dns.as_ref().map(DnsMap::room),
        }
    }
}

/// The maps of the programs on interfaces, for whoever shows how full they are.
#[derive(Debug)]
pub struct Maps {
    traffic: Arc<TrafficMap>,
    dns: Option<DnsRoom>,
}

impl Maps {
    /// Whether DNS is among them.
    #[must_use]
    pub const fn has_dns(&self) -> bool {
        self.dns.is_some()
    }

    /// How full they are.
    pub fn rows(&self) -> impl Iterator<Item = MapRow> {
        std::iter::once(self.traffic.row()).chain(self.dns.as_ref().map(DnsRoom::row))
    }
}

/// Tells in `lacks` whether there is nothing because the kernel lacks it.
fn or_none<T>(what: &str, lacks: &mut bool, loaded: Result<T, DatapathError>) -> Result<Option<T>, DatapathError> {
    match loaded {
        Err(error) if !error.is_permission() => {
            *lacks = error.is_lacking();
            warn!(%error, "{what} are not counted on this host");
            debug!(?error, "all that the kernel said");
            Ok(None)
        }
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{DatapathError, btf::BtfError, or_none};

    /// Whether the collector is given up, and whether that is no fault.
    fn outcome(error: DatapathError) -> Option<bool> {
        let mut lacks = false;
        let loaded: Result<Option<()>, _> = or_none("drops", &mut lacks, Err(error));
        loaded.ok().map(|_| lacks)
    }

    #[test]
    fn what_a_kernel_never_had_is_no_fault_and_what_netmon_does_not_understand_is() {
        let missing = |kind: io::ErrorKind| DatapathError::from(BtfError::Missing(kind.into()));
        for lacking in [DatapathError::NoReasons, missing(io::ErrorKind::NotFound)] {
            assert_eq!(outcome(lacking), Some(true));
        }
        for fault in [
            missing(io::ErrorKind::InvalidData),
            BtfError::UnknownKind(99).into(),
            DatapathError::NoField {
                structure: "sk_buff",
                member: "dev",
            },
            DatapathError::of("load it", io::Error::from_raw_os_error(libc::ENOMEM)),
        ] {
            assert_eq!(outcome(fault), Some(false));
        }
        assert_eq!(outcome(missing(io::ErrorKind::PermissionDenied)), None);
    }
}
