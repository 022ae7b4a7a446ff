//! Compares ratios within one run with the committed ones. The machine's speed does not affect them, but a change of
//! the code does.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;

use crate::report::Report;

/// The file of the committed ratios. `NETMON_BLESS=1` overwrites it with those of the run.
const FILE: &str = "benches/costs/reference.json";
/// A ratio that exceeds the committed one by more than this factor is a regression.
const ALLOWANCE: f64 = 1.2;

/// The committed and the measured ratios, by what they measure.
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

    /// Reports the ratio of `value` to `yardstick`. It may exceed the committed ratio by a fifth.
    pub(crate) fn add(&mut self, report: &mut Report, what: &str, value: f64, yardstick: f64) {
        let ratio = value / yardstick;
        let bound = self.committed.get(what).map(|committed| committed * ALLOWANCE);
        report.add(what, ratio, "times", bound);
        self.measured.insert(what.to_owned(), (ratio * 100.0).round() / 100.0);
    }

    /// Writes the measured ratios to the file, if that is wanted. Otherwise every committed ratio must have been
    /// measured.
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
