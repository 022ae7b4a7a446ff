//! `cargo xtask deny`: whether every library may be used, by `deny.toml`.
//!
//! cargo-deny checks everything, but takes minutes to compile. [`light`] is the part that lint can afford.

use std::{collections::BTreeMap, fmt, fs, process::Command};

use anyhow::{Context as _, bail};
use spdx::{Expression, ParseMode};

use crate::{
    needs::{CARGO_DENY, Purpose},
    packages, setup, sh,
};

/// The registry that libraries have to come from, as cargo writes it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Runs cargo-deny. With `advisories`, it also checks for known vulnerabilities, which needs the network.
pub(crate) fn run(advisories: bool) -> anyhow::Result<()> {
    setup::run(Purpose::Deny)?;
    let mut command = Command::new(CARGO_DENY.program());
    command.current_dir(sh::workspace()).arg("--locked");
    if !advisories {
        command.arg("--offline");
    }
    command.args(["check", "bans", "licenses", "sources"]);
    if advisories {
        command.arg("advisories");
    }
    sh::run("licences, duplicates and origins", &mut command)
}

/// The list of known vulnerabilities that cargo-deny fetches.
const ADVISORIES: &str = "https://github.com/rustsec/advisory-db";
/// How long its server may take to answer, in seconds.
const ANSWERS_WITHIN: &str = "20";

/// Nothing was found, because nothing could be looked up. That is no fault of the project's, but must not pass for a
/// result.
#[derive(Debug)]
pub(crate) struct NotChecked {
    list: String,
}

impl NotChecked {
    /// The exit status that says so: `EX_TEMPFAIL` of `sysexits.h`.
    pub(crate) const STATUS: u8 = 75;
}

impl fmt::Display for NotChecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list } = self;
        write!(
            f,
            "known vulnerabilities were NOT CHECKED: {list} cannot be had from here"
        )
    }
}

impl std::error::Error for NotChecked {}

/// Checks for known vulnerabilities only. The error is [`NotChecked`] where the list cannot be had.
pub(crate) fn advisories() -> anyhow::Result<()> {
    // Before cargo-deny is compiled, which takes minutes.
    reachable(ADVISORIES)?;
    setup::run(Purpose::Deny)?;
    let mut command = Command::new(CARGO_DENY.program());
    command
        .current_dir(sh::workspace())
        .args(["--locked", "check", "advisories"]);
    sh::run("known vulnerabilities", &mut command)
}

fn reachable(list: &str) -> Result<(), NotChecked> {
    let asked = sh::ask(
        Command::new("timeout")
            .args([ANSWERS_WITHIN, "git", "ls-remote", "--quiet", list, "HEAD"])
            // Nobody is there to type a password.
            .env("GIT_TERMINAL_PROMPT", "0"),
    );
    let answer = || NotChecked { list: list.to_owned() };
    asked.map(drop).ok_or_else(answer)
}

/// Checks licences and origins of everything in the lock file, by the lists in `deny.toml`.
pub(crate) fn light() -> anyhow::Result<()> {
    let path = sh::workspace().join("deny.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let allowed = allowed(&text).context("deny.toml: no list of licences that are allowed")?;
    let mut breaches = BTreeMap::new();
    for package in packages::all()? {
        let name = format!("{} {}", package.name, package.version);
        if package.source.as_deref().is_some_and(|source| source != REGISTRY) {
            breaches.insert(name.clone(), format!("comes from {:?}", package.source));
        }
        if !is_allowed(&package.license, &allowed) {
            breaches.insert(name, format!("its licence is {:?}", package.license));
        }
    }
    if breaches.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = breaches.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    bail!("libraries that deny.toml does not allow:\n  {}", lines.join("\n  "))
}

/// The list `allow` in the section `licenses`.
fn allowed(text: &str) -> Option<Vec<&str>> {
    let (_, section) = text.split_once("\n[licenses]\n")?;
    let (_, list) = section.split_once("\nallow = [")?;
    let (list, _) = list.split_once(']')?;
    let words: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    (!words.is_empty()).then_some(words)
}

/// Whether a package's licence expression can be satisfied with allowed licences.
fn is_allowed(license: &str, allowed: &[&str]) -> bool {
    Expression::parse_mode(license, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|wanted| wanted.license.id().is_some_and(|id| allowed.contains(&id.name)))
    })
}

#[cfg(test)]
mod tests {
    use super::{allowed, is_allowed, reachable};

    #[test]
    fn a_list_that_cannot_be_had_is_no_clean_result() {
        let error = reachable("https://127.0.0.1:1/advisory-db").expect_err("nobody listens there");
        assert!(error.to_string().contains("NOT CHECKED"), "{error}");
    }

    #[test]
    fn the_list_in_deny_toml_is_found() {
        let list = allowed(include_str!("../../deny.toml")).expect("a list");
        assert!(list.contains(&"MIT") && list.contains(&"Apache-2.0"), "{list:?}");
        assert!(list.iter().all(|it| spdx::license_id(it).is_some()), "{list:?}");
    }

    #[test]
    fn a_licence_is_allowed_if_it_leaves_a_choice() {
        for (license, expected) in [
            ("MIT OR GPL-2.0-only", true),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 / MIT", true),
            ("MIT AND GPL-2.0-only", false),
            ("GPL-3.0-only", false),
            ("", false),
            ("whatever you like", false),
        ] {
            assert_eq!(is_allowed(license, &["MIT"]), expected, "{license:?}");
        }
    }
}
