//! Ratios within one run, beside those that are committed: what a machine's speed has no part in, a change of the code
//! shows in.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;

use crate::report::Report;

/// The committed ratios. `NETMON_BLESS=1` writes those of the run into it.
const FILE: &str = "benches/costs/reference.json";
/// How much more than the committed ratio is a regression.
const ALLOWANCE: f64 = 1.2;

/// The committed ratios, by what they are of.
#[derive(Debug)]
pub(crate) struct Reference {
    committed: BTreeMap<String, f64>,
    measured: BTreeMap<String, f64>,
}

impl Reference {
    pub(crate) fn read() -> anyhow::Result<Self> {
        let committed = if Self::blesses() {
            BTreeMap::new()
        } else {
            let text = std::fs::read_to_string(FILE).context(FILE)?;
            serde_json::from_str(&text).context(FILE)?
        };
        Ok(Self {
            committed,
            measured: BTreeMap::new(),
        })
    }

    /// Reports how many times `yardstick` something takes, which may be a fifth more than what is committed.
    pub(crate) fn add(&mut self, report: &mut Report, what: &str, value: f64, yardstick: f64) {
        let ratio = value / yardstick;
        let bound = self.committed.get(what).map(|committed| committed * ALLOWANCE);
        report.add(what, ratio, "times", bound);
        self.measured.insert(what.to_owned(), (ratio * 100.0).round() / 100.0);
    }

    /// Commits what was measured, if that is wanted; else every committed ratio has to have been measured.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        if Self::blesses() {
            let text = serde_json::to_string_pretty(&self.measured)?;
            return std::fs::write(Path::new(FILE), text + "\n").context(FILE);
        }
        anyhow::ensure!(
            self.committed.keys().eq(self.measured.keys()),
            "{FILE} has {:?}, and measured were {:?}",
            self.committed.keys(),
            self.measured.keys()
        );
        Ok(())
    }

    fn blesses() -> bool {
        std::env::var_os("NETMON_BLESS").is_some()
    }
}
