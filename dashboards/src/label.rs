//! Labels as types. A query on a label that its series do not have does not compile.
//!
//! Knows only names and sets of names. The catalog defines which family has which labels.

use std::marker::PhantomData;

use netmon::page::labels::LabelSet;

/// More labels than any set has: those of the widest family, two of the target, and those that a join adds.
const MOST: usize = 24;

/// A label.
pub trait Label {
    /// Its name.
    const NAME: &'static str;
}

/// A set of labels: one label, a tuple of labels, or the labels of a family.
pub trait Labels {
    /// Their names.
    const NAMES: Names;
}

/// Label names that can be computed with at compile time.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    names: [&'static str; MOST],
    length: usize,
}

impl Names {
    /// These names.
    #[must_use]
    pub const fn new(names: &[&'static str]) -> Self {
        let mut these = Self {
            names: [""; MOST],
            length: 0,
        };
        while these.length < names.len() {
            these.names[these.length] = names[these.length];
            these.length += 1;
        }
        these
    }

    /// These names and the others.
    #[must_use]
    pub const fn and(mut self, others: &Self) -> Self {
        let mut at = 0;
        while at < others.length {
            if !self.has(others.names[at]) {
                self.names[self.length] = others.names[at];
                self.length += 1;
            }
            at += 1;
        }
        self
    }

    /// Whether this name is in the set.
    #[must_use]
    pub const fn has(&self, name: &str) -> bool {
        let mut at = 0;
        while at < self.length {
            if same(self.names[at], name) {
                return true;
            }
            at += 1;
        }
        false
    }

    /// Whether all of the others are in the set.
    #[must_use]
    pub const fn has_all(&self, others: &Self) -> bool {
        let mut at = 0;
        while at < others.length {
            if !self.has(others.names[at]) {
                return false;
            }
            at += 1;
        }
        true
    }

    /// The number of names.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.length
    }

    /// The names.
    #[must_use]
    pub fn as_slice(&self) -> &[&'static str] {
        &self.names[..self.length]
    }
}

/// `==` on strings is not available at compile time.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The labels of a family's series in Prometheus: the family's own, and those of the target.
#[derive(Debug)]
pub struct Scraped<L>(PhantomData<fn() -> L>);

impl<L: LabelSet> Labels for Scraped<L> {
    const NAMES: Names = Names::new(L::NAMES).and(&Names::new(&[Job::NAME, Instance::NAME]));
}

/// The labels of `L`, and those that a join added.
#[derive(Debug)]
pub struct Joined<L, M>(PhantomData<fn() -> (L, M)>);

impl<L: Labels, M: Labels> Labels for Joined<L, M> {
    const NAMES: Names = L::NAMES.and(&M::NAMES);
}

macro_rules! labels {
    ($($(#[$doc:meta])* $label:ident = $name:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $label;

            impl Label for $label {
                const NAME: &'static str = $name;
            }

            impl Labels for $label {
                const NAMES: Names = Names::new(&[$name]);
            }
        )*

        #[cfg(test)]
        const ALL: &[&str] = &[$($name),*];
    };
}

labels! {
    /// The target's job.
    Job = "job";
    /// The target: a node.
    Instance = "instance";
    /// A container's name.
    Container = "container";
    /// A service's name.
    Service = "service";
    /// A stack's name.
    Stack = "stack";
    /// A Docker network's name.
    Network = "network";
    /// A device's name.
    Interface = "interface";
    /// The end of a connection that connects.
    Client = "client";
    /// Its stack.
    ClientStack = "client_stack";
    /// The end that accepts.
    Server = "server";
    /// Its stack.
    ServerStack = "server_stack";
    /// The server's port.
    Port = "port";
    /// The least idle time of a bucket, in seconds.
    Idle = "idle";
    /// Which of the two ends netmon saw.
    Side = "side";
    /// The other node.
    Peer = "peer";
    /// Receive or transmit.
    Direction = "direction";
    /// The kernel's reason of a drop, or the reason of a failure.
    Reason = "reason";
    /// Which resolver was asked.
    Resolver = "resolver";
    /// The code of a response.
    Code = "code";
    /// Why a drop is unattributed.
    Cause = "cause";
    /// The name of a limit.
    Limit = "limit";
    /// A state.
    State = "state";
    /// A collector.
    Collector = "collector";
    /// A check.
    Check = "check";
    /// How bad a finding is.
    FindingSeverity = "severity";
    /// What a finding is about, besides its network, container and node.
    Subject = "subject";
    /// One of netmon's workers.
    Worker = "worker";
    /// A kernel map.
    Map = "map";
    /// A kernel program.
    Program = "program";
    /// A kind of device or of queue.
    Kind = "kind";
    /// A type of programs, events or queries.
    Type = "type";
    /// The mechanism by which a program is attached.
    Mode = "mode";
    /// An address family.
    AddressFamily = "family";
    /// One of a neighbour table's limits.
    Threshold = "threshold";
    /// The name of a kernel setting.
    Name = "name";
    /// An image.
    Image = "image";
    /// A container's identifier.
    ContainerId = "container_id";
    /// A container's network mode.
    NetworkMode = "network_mode";
    /// The container whose interfaces another one uses.
    SharesWith = "shares_with";
    /// IPv4 addresses.
    IpAddress = "ip_address";
    /// IPv6 addresses.
    Ipv6Address = "ipv6_address";
    /// A hardware address.
    MacAddress = "mac_address";
    /// The maximum packet size.
    Mtu = "mtu";
    /// A network's driver.
    Driver = "driver";
    /// A network's scope.
    Scope = "scope";
    /// Whether a network has no route to other networks.
    Internal = "internal";
    /// Whether a network is encrypted between nodes.
    Encrypted = "encrypted";
    /// A network's VNIs.
    Vni = "vni";
    /// A network's subnets.
    Subnet = "subnet";
    /// A node's name.
    Hostname = "hostname";
    /// A node's address.
    Address = "address";
    /// Manager or worker.
    Role = "role";
    /// The engine's version.
    EngineVersion = "engine_version";
    /// The kernel's version.
    KernelVersion = "kernel_version";
    /// netmon's version.
    Version = "version";
    /// The commit that it was built from.
    Revision = "revision";
}

macro_rules! tuples {
    ($($($label:ident)*;)*) => {
        $(impl<$($label: Label),*> Labels for ($($label,)*) {
            const NAMES: Names = Names::new(&[$($label::NAME),*]);
        })*
    };
}

tuples! {
    ;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
}

#[cfg(test)]
mod tests {
    use netmon::collectors;

    use super::{ALL, Names};

    #[test]
    fn every_label_is_one_of_the_catalogs_or_of_the_targets() {
        for label in ALL {
            let known = collectors::families().any(|family| family.labels.contains(label));
            assert!(
                known || ["job", "instance"].contains(label),
                "no family has a label {label}"
            );
        }
    }

    #[test]
    fn sets_of_names_are_reckoned_with() {
        let names = Names::new(&["a", "b"]);
        assert!(names.has("a") && !names.has("ab") && !names.has(""));
        assert!(names.has_all(&Names::new(&["b"])) && names.has_all(&Names::new(&[])));
        assert!(!names.has_all(&Names::new(&["a", "c"])));
        assert_eq!(names.and(&Names::new(&["b", "c"])).as_slice(), ["a", "b", "c"]);
    }
}
