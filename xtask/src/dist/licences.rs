//! The licences of everything that is linked into the daemon and its kernel programs, in one text.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::Context as _;
use spdx::{AdditionItem, Expression, LicenseId, ParseMode};

use super::bill;
use crate::packages::{self, Package};

/// The beginnings of the names of files that have to be distributed with a library.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];
const RULE: &str = "------------------------------------------------------------------------------";

/// A list of the linked packages, and each licence text with the names of the packages it is for.
pub(super) fn text() -> anyhow::Result<String> {
    let linked = packages::linked()?;
    let mut list = String::new();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages::all()? {
        if package.source.is_none() || !linked.contains_key(&package.key()) {
            continue;
        }
        let name = format!("{} {}", package.name, package.version);
        writeln!(list, "{name}: {}", package.license)?;
        for text in own(&package).with_context(|| format!("the licences of {name}"))? {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    for part in bill::runtime() {
        let name = format!("{} {}", part.name, part.version);
        writeln!(list, "{name}: {}", part.license)?;
        for text in common(part.license)? {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    let mut all = format!(
        "netmon is one static program. These libraries are in it:\n\n{list}\nThe C library is under the LGPL: who wants \
         another one in its place builds netmon\nagainst it, from the source at {}.\n",
        env!("CARGO_PKG_REPOSITORY")
    );
    // Sorted by the packages' names, not by the texts.
    let mut texts: Vec<(Vec<String>, String)> = texts.into_iter().map(|(text, names)| (names, text)).collect();
    texts.sort();
    for (names, text) in texts {
        write!(all, "\n{RULE}\n{}\n{RULE}\n\n{}\n", names.join(", "), text.trim_end())?;
    }
    Ok(all)
}

/// The licence files in the package, or else the common texts of its licences.
fn own(package: &Package) -> anyhow::Result<Vec<String>> {
    let found = beside(&package.folder)?;
    if !found.is_empty() {
        return Ok(found);
    }
    common(&package.license)
}

/// The common texts of the licences and exceptions in a licence expression.
fn common(license: &str) -> anyhow::Result<Vec<String>> {
    let expression = Expression::parse_mode(license, ParseMode::LAX).context("its licence is not known")?;
    let texts = expression.requirements().flat_map(|wanted| {
        let exception = match &wanted.req.addition {
            Some(AdditionItem::Spdx(exception)) => Some(exception.text()),
            Some(AdditionItem::Other { .. }) | None => None,
        };
        wanted
            .req
            .license
            .id()
            .map(LicenseId::text)
            .into_iter()
            .chain(exception)
    });
    Ok(texts.map(str::to_owned).collect())
}

fn beside(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_ascii_uppercase();
        if entry.file_type()?.is_file() && NAMES.iter().any(|it| name.starts_with(it)) {
            let bytes = fs::read(entry.path())?;
            found.push(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"));
        }
    }
    found.sort();
    Ok(found)
}
