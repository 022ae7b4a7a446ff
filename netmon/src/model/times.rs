//! How long netmon waits before it acts or decides. Each of these times is a policy. Most tests shorten them, and
//! some keep the real ones. A time that follows from the kernel, the engine's protocol, or HTTP and its clients is
//! defined where it is used.

use std::time::Duration;

/// All waiting times, by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// An interface gets programs only when it has this age. Many short-lived containers never need them. Whoever
    /// started a container may also be starting the next one.
    pub attach_age: Duration,
    /// No programs are attached if a device changed this recently: a container may be starting or stopping.
    pub attach_quiet: Duration,
    /// Some nodes are never quiet: after this long, programs are attached anyway.
    pub attach_patience: Duration,
    /// The delay before the first retry after a failed attach. It doubles with each failure.
    pub attach_retry: Duration,
    /// The longest delay between two attempts to attach: a slot may have become free.
    pub attach_retry_most: Duration,
    /// How often netmon checks whether programs that miss packets are still attached.
    pub program_check: Duration,
    /// How often all namespaces are read and all routes are looked up, with or without messages. This finds missed
    /// changes.
    pub round: Duration,
    /// The same, if the kernel sends no messages about devices in other namespaces.
    pub poll_round: Duration,
    /// How long the control loop waits for more messages before it acts: a container's start causes dozens within
    /// milliseconds. If a namespace was created, the loop acts within this time. Until the namespace has an nsid, the
    /// kernel reports nothing about its devices, and they may be deleted soon.
    pub gather: Duration,
    /// The longest time that it waits for more messages: a container can cause them without end.
    pub gather_most: Duration,
    /// How often free memory is returned to the kernel. Otherwise netmon would keep what a page or a thousand
    /// containers took.
    pub trim_round: Duration,
    /// The pause before what failed for want of resources is tried again.
    pub retry: Duration,
    /// How long a deleted device of the node, or of a network, stays known: a late count may be its own.
    pub device_linger: Duration,
    /// How long to wait for the name of a namespace, a device or a node. After that, its counts are unattributed, or
    /// carry the node's address. This is longer than a loaded engine needs to describe a container. It is also longer
    /// than a manager without a quorum needs to fail.
    pub name_patience: Duration,
    /// How long a second is by which idle times of connections are measured. Only tests cannot wait for real ones.
    pub idle_second: Duration,
    /// How long the namespace of a running container may be missing before that is a fault. A loaded engine may take
    /// that long to report that the container ended.
    pub namespace_patience: Duration,
    /// How long a deleted device must be without drops before the kernel's counts of it are deleted. Packets that
    /// were under way are dropped late.
    pub device_rest: Duration,
    /// The pause between two full syncs with the engine. Events report changes on this node sooner. The sync finds
    /// missed events, and changes on other nodes.
    pub sync: Duration,
    /// How long an answer of the engine may take, to its last byte. An engine holds a container's description back
    /// while it starts the container. That takes up to 20 s if its network is not available. A manager without a
    /// quorum takes as long to describe itself.
    pub engine_patience: Duration,
    /// How long a network is not asked for its members again after a question, however much changes on it.
    pub member_pace: Duration,
    /// How long a sum of what is over a limit remains without any row. Longer than the range of a query about
    /// short-lived containers.
    pub sum_linger: Duration,
    /// How long nothing must have been over a limit until it is logged again.
    pub limit_quiet: Duration,
    /// How long one turn of a worker may take before netmon is unhealthy. A supervisor then restarts netmon.
    pub worker_patience: Duration,
    /// The pause between two looks at what is wrong.
    pub check_round: Duration,
    /// How old a page may be. Clients that ask within this time share a page, so their number does not matter.
    pub page_age: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            attach_age: Duration::from_secs(1),
            attach_quiet: Duration::from_millis(400),
            attach_patience: Duration::from_secs(5),
            attach_retry: Duration::from_secs(1),
            attach_retry_most: Duration::from_mins(1),
            program_check: Duration::from_secs(10),
            round: Duration::from_mins(1),
            poll_round: Duration::from_secs(2),
            gather: Duration::from_millis(5),
            gather_most: Duration::from_millis(50),
            trim_round: Duration::from_mins(1),
            retry: Duration::from_secs(1),
            device_linger: Duration::from_mins(1),
            name_patience: Duration::from_secs(30),
            idle_second: Duration::from_secs(1),
            namespace_patience: Duration::from_secs(30),
            device_rest: Duration::from_secs(30),
            sync: Duration::from_mins(1),
            engine_patience: Duration::from_secs(30),
            member_pace: Duration::from_secs(5),
            sum_linger: Duration::from_mins(10),
            limit_quiet: Duration::from_hours(1),
            worker_patience: Duration::from_secs(30),
            check_round: Duration::from_secs(15),
            page_age: Duration::from_millis(500),
        }
    }
}

impl Times {
    /// How long after a failed attach the next one is tried, if so many have failed before.
    #[must_use]
    pub fn attach_delay(&self, failures: u32) -> Duration {
        let delay = self.attach_retry.saturating_mul(1 << failures.min(16));
        delay.min(self.attach_retry_most)
    }

    /// The time of this name, spelled as in a flag; `None` if there is no such time.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Duration> {
        Some(match name {
            "attach-age" => &mut self.attach_age,
            "attach-quiet" => &mut self.attach_quiet,
            "attach-patience" => &mut self.attach_patience,
            "attach-retry" => &mut self.attach_retry,
            "attach-retry-most" => &mut self.attach_retry_most,
            "program-check" => &mut self.program_check,
            "round" => &mut self.round,
            "poll-round" => &mut self.poll_round,
            "gather" => &mut self.gather,
            "gather-most" => &mut self.gather_most,
            "trim-round" => &mut self.trim_round,
            "retry" => &mut self.retry,
            "device-linger" => &mut self.device_linger,
            "name-patience" => &mut self.name_patience,
            "idle-second" => &mut self.idle_second,
            "namespace-patience" => &mut self.namespace_patience,
            "device-rest" => &mut self.device_rest,
            "sync" => &mut self.sync,
            "engine-patience" => &mut self.engine_patience,
            "member-pace" => &mut self.member_pace,
            "sum-linger" => &mut self.sum_linger,
            "limit-quiet" => &mut self.limit_quiet,
            "worker-patience" => &mut self.worker_patience,
            "check-round" => &mut self.check_round,
            "page-age" => &mut self.page_age,
            _ => return None,
        })
    }
}
