//! The programs of one netmon, as `bpftool` shows them. Must not know whether that netmon still runs.

use std::collections::BTreeSet;

use anyhow::Context as _;

use crate::sh;

/// The packet programs of one netmon. They are the ones that use its map.
#[derive(Debug)]
pub struct Programs {
    /// The map's id in the kernel.
    pub(super) map: u64,
}

impl Programs {
    /// The ids of those programs that are loaded, whatever holds them.
    ///
    /// # Errors
    /// `bpftool` fails.
    pub fn loaded(&self) -> anyhow::Result<BTreeSet<u64>> {
        let shown: serde_json::Value = serde_json::from_str(&sh::run("bpftool -j prog show")?)?;
        let programs = shown.as_array().context("bpftool shows no list")?;
        let is_own = |it: &&serde_json::Value| {
            let mut maps = it["map_ids"].as_array().into_iter().flatten();
            it["name"].as_str().is_some_and(|name| name.starts_with("traffic_"))
                && maps.any(|map| map.as_u64() == Some(self.map))
        };
        Ok(programs
            .iter()
            .filter(is_own)
            .filter_map(|it| it["id"].as_u64())
            .collect())
    }
}
