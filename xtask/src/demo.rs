//! The demo: see `run`.

use std::{path::Path, time::Duration};

/// Not yet.
pub(crate) fn run(_netmon: &Path, _time: Option<Duration>, _flags: &[String]) -> anyhow::Result<()> {
    anyhow::bail!("the demo is not there yet")
}
