//! The metrics page: one snapshot in, text out.
//!
//! Only this module names the metrics library. [`catalog`] lists every family once, and one file per noun writes
//! them. The kernel's counters are exposed as they were read. They are not copied into counters of the library, so no
//! series can drift or outlive its subject. Does no I/O, and does not know how a page is requested.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector as PageCollector,
    encoding::{DescriptorEncoder, text as open_metrics},
    registry::Registry,
};

use crate::model::{
    collector::{Collector, Collectors},
    snapshot::Snapshot,
};

mod buffers;
pub mod catalog;
mod container;
mod document;
mod drops;
pub mod family;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
#[cfg(test)]
mod golden;
mod health;
mod info;
pub mod labels;
mod members;
mod overlay;
mod process;
mod service;
mod sockets;
mod tcp;
mod text;
pub mod value;
mod vxlan;

pub use document::{markdown, table};
pub use text::to_text;

/// The default limit on the series of a page. Above it, series are summed up.
pub const DEFAULT_SERIES_LIMIT: usize = 50_000;

/// What the operator wants on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpositionOptions {
    /// Whether to expose the build of netmon and its own resource use (`process_*`).
    pub exporter_metrics: bool,
    /// The wanted collectors.
    pub collectors: Collectors,
    /// The maximum number of series; 0 is no limit. Only the members of the overlay networks are limited here. They
    /// get the room that the rest of the page leaves. Containers over the limit were summed up before: see
    /// [`crate::model::limits`].
    pub series_limit: usize,
}

impl Default for ExpositionOptions {
    fn default() -> Self {
        Self {
            exporter_metrics: true,
            collectors: Collectors::default(),
            series_limit: DEFAULT_SERIES_LIMIT,
        }
    }
}

/// The page could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the metrics page could not be written: the encoder refused a value, which is a fault of netmon's own")]
pub struct EncodeError(#[from] fmt::Error);

/// Writes the page, as OpenMetrics 1.0 text.
pub fn encode(snapshot: &Snapshot, options: &ExpositionOptions) -> Result<String, EncodeError> {
    // The library owns its collectors and wants them without borrows. Cloning the snapshot only increments a few
    // reference counts for each row.
    let exposition = Exposition {
        snapshot: Arc::new(snapshot.clone()),
        options: *options,
    };
    let mut page = String::with_capacity(size_hint(snapshot));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(exposition));
    open_metrics::encode(&mut page, &registry)?;
    Ok(page)
}

/// The approximate size of the page in bytes. Growing a string of megabytes step by step copies it again and again.
fn size_hint(snapshot: &Snapshot) -> usize {
    const LINE: usize = 200;
    const LINES_OF_AN_INTERFACE: usize = 12;
    const OVERHEAD: usize = 32 * 1024;
    let rows = snapshot.interfaces.len() + 2 * snapshot.tcp.len() + snapshot.services.len() + snapshot.vxlans.len();
    OVERHEAD + LINE * (rows * LINES_OF_AN_INTERFACE + snapshot.containers.len() + snapshot.networks.len())
}

#[derive(Debug)]
struct Exposition {
    snapshot: Arc<Snapshot>,
    options: ExpositionOptions,
}

impl PageCollector for Exposition {
    /// The members of the overlay networks get the room that everything else leaves. So they come last, followed only
    /// by the number of series.
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self { snapshot, options } = self;
        let ExpositionOptions {
            exporter_metrics,
            collectors,
            series_limit,
        } = *options;
        let page = &mut family::Page::new(encoder);
        if exporter_metrics {
            info::encode_build(page)?;
            process::encode(page, snapshot.health.process.as_ref())?;
        }
        health::encode(page, &snapshot.health)?;
        info::encode(page, snapshot)?;
        container::encode_containers(page, &snapshot.containers)?;
        if collectors.service {
            service::encode(page, &snapshot.services)?;
        }
        if collectors.vxlan {
            vxlan::encode(page, &snapshot.vxlans)?;
        }
        if collectors.overlay {
            overlay::encode(page, &snapshot.overlay)?;
        }
        if collectors.traffic {
            container::encode_interfaces(page, &snapshot.interfaces)?;
            container::encode_unattributed(page, snapshot.unattributed)?;
        }
        if collectors.drops {
            drops::encode(page, &snapshot.drops)?;
        }
        if collectors.tcp {
            tcp::encode(page, &snapshot.tcp, &snapshot.connections)?;
        }
        if collectors.sockets {
            sockets::encode(page, &snapshot.sockets)?;
        }
        if collectors.buffers {
            buffers::encode(page, &snapshot.buffers)?;
        }
        let room = |page: &family::Page<'_>| {
            (series_limit > 0).then(|| {
                series_limit
                    .saturating_sub(page.series())
                    .saturating_sub(health::series_of_series(collectors))
            })
        };
        let limited = snapshot.health.limits.limited;
        let mut limited: Vec<_> = limited
            .into_iter()
            .filter(|(collector, _)| collectors.has(*collector))
            .collect();
        if collectors.members {
            let left_out = members::encode(page, &snapshot.members, room(page))?;
            limited.push((Collector::Members, left_out));
        }
        health::encode_series(page, collectors, &limited)
    }
}

/// The wanted collectors.
fn wanted(collectors: Collectors) -> impl Iterator<Item = Collector> {
    Collector::ALL
        .into_iter()
        .filter(move |collector| collectors.has(*collector))
}
