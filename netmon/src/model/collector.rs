//! The parts that a scrape is made of, and which of them an operator wants.

/// A part of a scrape. Its name is the value of the label `collector`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collector {
    /// The interfaces of containers.
    Traffic,
    /// Packets that the kernel threw away.
    Drops,
    /// What happens to TCP connections.
    Tcp,
    /// What sockets and their buffers lost.
    Sockets,
    /// Queues and tables, and what bounds them.
    Buffers,
    /// Sums over the containers of a service.
    Service,
    /// The VXLAN devices of overlay networks.
    Vxlan,
    /// What passes between nodes.
    Overlay,
    /// Who is on the overlay networks, on any node.
    Members,
    /// What the engine says there is.
    Docker,
    /// How netmon itself is doing.
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

/// The collectors that can be left out, and whether they are wanted.
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
    /// Whether this collector is wanted. What cannot be left out always is.
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
