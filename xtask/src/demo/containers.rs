//! The identity of the demo's containers: names, labels and network modes, as Swarm and Compose set them.
//!
//! Must not know which networks they are attached to.

use netmon_tests::fake_engine::{Container, compose_labels, task_labels};

/// Tasks of the stack's services: service, slot, and the task's id.
pub(super) const WEB: [&str; 2] = [
    "shop_web.1.x3kq8v0c2m7d9t1w5z4b6n0fa",
    "shop_web.2.p6h2r9y4s1j8g3l7e5u0i2oqb",
];
pub(super) const API: &str = "shop_api.1.m9c4x7z2v5b8n1k3j6h0g2fdc";
/// A container of Compose.
pub(super) const CACHE: &str = "cache";
/// A container without a network.
pub(super) const ISOLATED: &str = "vault";

/// The container of a task, by the task's name.
pub(super) fn task(name: &str) -> Container {
    let mut labels = task_labels(name);
    labels.insert("com.docker.stack.namespace".to_owned(), "shop".to_owned());
    Container {
        name: name.to_owned(),
        labels,
        network_mode: "default".to_owned(),
        ..Container::default()
    }
}

/// The short-lived container: a different task each time.
pub(super) fn job(run: u32) -> Container {
    task(&format!("shop_job.1.t5y8u1w4q7r0e3a6s9d2{run:05}"))
}

pub(super) fn cache() -> Container {
    Container {
        name: CACHE.to_owned(),
        labels: compose_labels("shop", "cache"),
        network_mode: "shop_frontend".to_owned(),
        ..Container::default()
    }
}

/// A container on the node's own network.
pub(super) fn host() -> Container {
    Container {
        name: "node-exporter".to_owned(),
        network_mode: "host".to_owned(),
        ..Container::default()
    }
}

pub(super) fn isolated() -> Container {
    Container {
        name: ISOLATED.to_owned(),
        network_mode: "none".to_owned(),
        ..Container::default()
    }
}

/// A container that shares the cache's network namespace.
pub(super) fn shared() -> Container {
    Container {
        name: "cache-exporter".to_owned(),
        network_mode: format!("container:{}", cache().id()),
        ..Container::default()
    }
}

/// The file name of a container's namespace.
pub(super) fn sandbox(name: &str) -> String {
    let container = Container {
        name: name.to_owned(),
        ..Container::default()
    };
    format!("{:.12}", container.id())
}
