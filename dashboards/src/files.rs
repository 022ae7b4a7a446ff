//! The generated files: their names, their contents, and whether those on disk are up to date.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::{boards, rules};

/// The command that regenerates the files.
const REMEDY: &str = "cargo xtask dashboards";

/// All files, with their paths below this package.
pub fn all() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for board in boards::all() {
        let path = PathBuf::from(format!("{}.json", board.uid));
        files.push((path, json(&board)?));
    }
    for (name, file) in [("recording", rules::recording()?), ("alerts", rules::alerts()?)] {
        files.push((PathBuf::from(format!("rules/{name}.yml")), yaml(&file)?));
    }
    Ok(files)
}

fn yaml(value: &impl Serialize) -> anyhow::Result<String> {
    let text = serde_saphyr::to_string(value).context("rules are no YAML")?;
    Ok(format!(
        "# Made by `{REMEDY}` from dashboards/src/rules: change it there.\n{text}"
    ))
}

/// Two spaces for each level, and a line feed at the end.
fn json(value: &impl Serialize) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(value).context("a dashboard is no JSON")?;
    text.push('\n');
    Ok(text)
}

/// Writes the files that differ, and returns their paths.
pub fn write(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (path, text) in differing(folder)? {
        let file = folder.join(&path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
        }
        fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        written.push(path);
    }
    Ok(written)
}

/// Fails if a file differs from its generated content.
pub fn check(folder: &Path) -> anyhow::Result<()> {
    let differing = differing(folder)?;
    if differing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = differing.iter().map(|(path, _)| path.display().to_string()).collect();
    bail!(
        "not what the code in dashboards/src makes: {}; run `{REMEDY}` and look at the difference",
        names.join(", ")
    )
}

fn differing(folder: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut differing = Vec::new();
    for (path, text) in all()? {
        let file = folder.join(&path);
        let same = match fs::read_to_string(&file) {
            Ok(there) => there == text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
        };
        if !same {
            differing.push((path, text));
        }
    }
    Ok(differing)
}
