//! What every package contains: the program, its manual, and the files of the repository that go with it. Must not
//! know the formats of packages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use super::{Release, licences};
use crate::{image::Image, sh};

/// The contents, each file with its bytes.
pub(super) struct Contents {
    /// The netmon binary, the same as in the image.
    pub(super) program: Vec<u8>,
    /// The manual page.
    pub(super) page: Vec<u8>,
    /// The shell completions, by the file name that the shell looks for.
    pub(super) completions: Vec<(String, Vec<u8>)>,
    /// Files of the repository, by their paths there.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    /// The licences of everything that is linked.
    pub(super) licences: String,
}

/// The files of the repository that are of use on a node or beside it.
const WANTED: &[&str] = &[
    "ARCHITECTURE.md",
    "LICENSE-*",
    "METRICS.md",
    "README.md",
    "SECURITY.md",
    "dashboards/*.json",
    "dashboards/rules/*.yml",
    "dashboards/runbooks/*.md",
    "deploy/*.cfg",
    "deploy/*.yml",
    "deploy/examples/*",
    "deploy/grafana/**",
    "deploy/package/*",
    "docs/**",
];

impl Contents {
    /// Generates the manual in the folder `work`, and reads the other files.
    pub(super) fn collect(release: &Release, image: &Image, work: &Path) -> anyhow::Result<Self> {
        let manual = work.join("manual");
        sh::run(
            "the manual page and the completions",
            sh::cargo(["run", "--quiet", "--locked", "--package", "netmon-manual", "--"])
                .arg(&manual)
                .arg(release.date("%Y-%m-%d")?),
        )?;
        let completions = ["netmon.bash", "_netmon", "netmon.fish"];
        Ok(Self {
            program: read(&image.program)?,
            page: read(&manual.join("netmon.1"))?,
            completions: completions
                .into_iter()
                .map(|name| Ok((name.to_owned(), read(&manual.join(name))?)))
                .collect::<anyhow::Result<_>>()?,
            files: files()?,
            licences: licences::text()?,
        })
    }

    /// The repository's files in `folder`, by their paths relative to it.
    pub(super) fn below(&self, folder: &str) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files
            .iter()
            .filter_map(move |(path, bytes)| Some((path.strip_prefix(folder).ok()?, bytes.as_slice())))
    }

    /// The content of one of the repository's files.
    pub(super) fn file(&self, path: &str) -> anyhow::Result<&[u8]> {
        let found = self.files.iter().find(|(it, _)| it == Path::new(path));
        Ok(&found
            .with_context(|| format!("{path} is not among the files that are packed"))?
            .1)
    }
}

/// The files that match [`WANTED`] and that git tracks, in git's order.
fn files() -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let root = sh::workspace();
    let mut git = Command::new("git");
    git.args(["ls-files", "--"])
        // With `glob`, a `*` does not match a slash.
        .args(WANTED.iter().map(|pattern| format!(":(glob){pattern}")))
        .current_dir(&root);
    let list = sh::ask(&mut git).context("git cannot list the files that are packed")?;
    list.lines()
        .map(|path| Ok((PathBuf::from(path), read(&root.join(path))?)))
        .collect()
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{}", path.display()))
}
