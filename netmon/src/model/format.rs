//! The formats of a page of metrics.

/// The formats that scrapers ask for.
///
/// They differ in the lines that start with `#`. In the older one, families have the names of their series, and there
/// are no units, no infos and no end mark. All samples are the same, because netmon writes neither timestamps nor
/// exemplars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}
