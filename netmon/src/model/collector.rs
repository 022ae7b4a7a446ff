//! The parts of a scrape, and which of them the operator wants.

/// A part of a scrape. Its name is the value of the label `collector`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collector {
    /// The interfaces of containers.
    Traffic,
    /// Packets that the kernel dropped.
    Drops,
    /// TCP connections.
    Tcp,
    /// Losses of sockets and their buffers.
    Sockets,
    /// Queues and tables, and their limits.
    Buffers,
    /// Sums over the containers of a service.
    Service,
    /// The vxlan devices of overlay networks.
    Vxlan,
    /// Traffic between nodes.
    Overlay,
    /// The members of the overlay networks, on all nodes.
    Members,
    /// Containers and networks, as the engine reports them.
    Docker,
    /// netmon itself.
    Netmon,
}

impl Collector {
    /// Every collector, in the order of the metrics.
    pub const ALL: [Self; 11] = [
        Self::Traffic,
        Self::Drops,
        Self::Tcp,
        Self::Sockets,
        Self::Buffers,
        Self::Service,
        Self::Vxlan,
        Self::Overlay,
        Self::Members,
        Self::Docker,
        Self::Netmon,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
            Self::Drops => "drops",
            Self::Tcp => "tcp",
            Self::Sockets => "sockets",
            Self::Buffers => "buffers",
            Self::Service => "service",
            Self::Vxlan => "vxlan",
            Self::Overlay => "overlay",
            Self::Members => "members",
            Self::Docker => "docker",
            Self::Netmon => "netmon",
        }
    }
}

/// The optional collectors, and whether each is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Collectors {
    /// [`Collector::Traffic`].
    pub traffic: bool,
    /// [`Collector::Drops`].
    pub drops: bool,
    /// [`Collector::Tcp`].
    pub tcp: bool,
    /// [`Collector::Sockets`].
    pub sockets: bool,
    /// [`Collector::Buffers`].
    pub buffers: bool,
    /// [`Collector::Service`].
    pub service: bool,
    /// [`Collector::Vxlan`].
    pub vxlan: bool,
    /// [`Collector::Overlay`].
    pub overlay: bool,
    /// [`Collector::Members`].
    pub members: bool,
}

impl Default for Collectors {
    fn default() -> Self {
        Self {
            traffic: true,
            drops: true,
            tcp: true,
            sockets: true,
            buffers: true,
            service: true,
            vxlan: true,
            overlay: true,
            members: true,
        }
    }
}

impl Collectors {
    /// Whether this collector is wanted. Collectors that are not optional always are.
    #[must_use]
    pub const fn has(self, collector: Collector) -> bool {
        match collector {
            Collector::Traffic => self.traffic,
            Collector::Drops => self.drops,
            Collector::Tcp => self.tcp,
            Collector::Sockets => self.sockets,
            Collector::Buffers => self.buffers,
            Collector::Service => self.service,
            Collector::Vxlan => self.vxlan,
            Collector::Overlay => self.overlay,
            Collector::Members => self.members,
            Collector::Docker | Collector::Netmon => true,
        }
    }
}
