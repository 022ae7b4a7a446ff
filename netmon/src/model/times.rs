//! How long netmon waits before it acts or decides. Each is a policy that somebody may have to wait out: most tests set it
//! short, some keep the real ones. What follows from the kernel or a protocol stays where it is used.

use std::time::Duration;

/// All of them, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// No programs for a container that is not this old: many that are short-lived never need them, and whoever started
    /// it may be starting the next one.
    pub attach_age: Duration,
    /// No programs are attached while devices changed this recently: somebody is starting or stopping a container.
    pub attach_quiet: Duration,
    /// How often it is made sure that programs which overlook packets are still on their devices.
    pub program_check: Duration,
    /// How often everything is looked at, and routes are looked up, whether or not anything was heard: what was missed is
    /// found then.
    pub round: Duration,
    /// How long a namespace, a device or a node may take to become known by name before what was counted there is
    /// nobody's, or an address'. Longer than an engine under load takes to describe a container, and than a manager
    /// without a quorum takes to answer nothing.
    pub name_patience: Duration,
    /// How long nothing may have been dropped on a device that is gone before the kernel is told to forget it: packets that
    /// were under way are dropped late.
    pub device_rest: Duration,
    /// How long after a full sync with the engine the next one begins. Events tell of everything on this node sooner; this
    /// is for what they missed, and for what happens on other nodes.
    pub sync: Duration,
    /// How long a worker of netmon's may be in one turn before netmon is unhealthy, and whoever watches it starts it anew.
    pub worker_patience: Duration,
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
        }
    }
}

impl Times {
    /// The one of that name, written as a flag is; nothing if there is none.
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
            _ => return None,
        })
    }
}
