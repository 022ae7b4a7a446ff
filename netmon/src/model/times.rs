//! How long netmon waits before it acts or decides. Each of these times is a policy. Most tests shorten them, and
//! some keep the real ones. A time that follows from the kernel or a protocol is defined where it is used.

use std::time::Duration;

/// All waiting times, by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// An interface gets programs only when it has this age. Many short-lived containers never need them. Whoever
    /// started a container may also be starting the next one.
    pub attach_age: Duration,
    /// No programs are attached if a device changed this recently: a container may be starting or stopping.
    pub attach_quiet: Duration,
    /// How often netmon checks whether programs that miss packets are still attached.
    pub program_check: Duration,
    /// How often all namespaces are read and all routes are looked up, with or without messages. This finds missed
    /// changes.
    pub round: Duration,
    /// How long to wait for the name of a namespace, a device or a node. After that, its counts are unattributed, or
    /// carry the node's address. This is longer than a loaded engine needs to describe a container. It is also longer
    /// than a manager without a quorum needs to fail.
    pub name_patience: Duration,
    /// How long a deleted device must be without drops before the kernel's counts of it are deleted. Packets that
    /// were under way are dropped late.
    pub device_rest: Duration,
    /// The pause between two full syncs with the engine. Events report changes on this node sooner. The sync finds
    /// missed events, and changes on other nodes.
    pub sync: Duration,
    /// How long one turn of a worker may take before netmon is unhealthy. A supervisor then restarts netmon.
    pub worker_patience: Duration,
    /// How old a page may be. Clients that ask within this time share a page, so their number does not matter.
    pub page_age: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            attach_age: Duration::from_secs(1),
            attach_quiet: Duration::from_millis(400),
            program_check: Duration::from_secs(10),
            round: Duration::from_mins(1),
            name_patience: Duration::from_secs(30),
            device_rest: Duration::from_secs(30),
            sync: Duration::from_mins(1),
            worker_patience: Duration::from_secs(30),
            page_age: Duration::from_millis(500),
        }
    }
}

impl Times {
    /// The time of this name, spelled as in a flag; `None` if there is no such time.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Duration> {
        Some(match name {
            "attach-age" => &mut self.attach_age,
            "attach-quiet" => &mut self.attach_quiet,
            "program-check" => &mut self.program_check,
            "round" => &mut self.round,
            "name-patience" => &mut self.name_patience,
            "device-rest" => &mut self.device_rest,
            "sync" => &mut self.sync,
            "worker-patience" => &mut self.worker_patience,
            "page-age" => &mut self.page_age,
            _ => return None,
        })
    }
}
