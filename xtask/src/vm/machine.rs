//! Which machine is emulated: its kernel, its processors, its share of the tests. Its results and files are named after
//! that. Must not know how it is booted.

use std::{path::PathBuf, str::FromStr};

use crate::test;

/// An emulated machine to run tests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The kernel's series.
    pub(crate) series: String,
    /// How many possible processors the kernel has; `None` for as many as the machine has.
    pub(crate) possible_cpus: Option<u32>,
    /// Which share of the tests it runs, if others run the rest at the same time.
    pub(crate) share: Option<Share>,
    /// Whether netmon runs there under the AppArmor profile that Docker gives its containers.
    pub(crate) confined: bool,
}

/// A share of the tests, such as the first of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(super) number: u32,
    pub(super) of: u32,
}

impl FromStr for Share {
    type Err = String;

    /// Reads `1/2`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text
            .split_once('/')
            .and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err(format!("{text:?} is not a share: write 1/2 for the first of two")),
        }
    }
}

impl Machine {
    /// The default machine, with a kernel of that series.
    pub(crate) fn of(series: &str) -> Self {
        Self {
            series: series.to_owned(),
            possible_cpus: None,
            share: None,
            confined: false,
        }
    }

    /// The name of its results and files.
    pub(super) fn name(&self) -> String {
        let cpus = self.possible_cpus.map(|count| format!("-{count}-cpus"));
        let share = self.share.map(|Share { number, of }| format!("-{number}-of-{of}"));
        format!(
            "linux-{}{}{}{}",
            self.series,
            cpus.unwrap_or_default(),
            if self.confined { "-apparmor" } else { "" },
            share.unwrap_or_default()
        )
    }

    /// The file of its tests' report.
    pub(crate) fn junit(&self) -> PathBuf {
        test::junit(&self.name())
    }
}
