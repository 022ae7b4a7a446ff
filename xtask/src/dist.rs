//! `cargo xtask dist`: makes the files of a release, in `target/dist`. The same commit and the same compiler make the
//! same bytes.

mod bill;
mod contents;
mod debian;
mod licences;
mod tarball;

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use self::contents::Contents;
use crate::{
    deny,
    image::{self, Image, archive::digest},
    needs::Purpose,
    setup, sh,
};

/// The version of the release.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Which release this is, and its date.
pub(crate) struct Release {
    /// Debian's name for this machine's architecture.
    architecture: &'static str,
    /// The commit's short hash.
    revision: String,
    /// When the commit was made, in seconds of Unix time.
    time: u64,
}

impl Release {
    /// The release of the commit that is checked out.
    fn here() -> anyhow::Result<Self> {
        let time = image::git(&["log", "-1", "--format=%ct"]).and_then(|it| it.parse().ok());
        Ok(Self {
            architecture: image::architecture()?,
            revision: image::git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned()),
            time: time.unwrap_or(0),
        })
    }

    /// The commit's time in the given format of `date`.
    fn date(&self, format: &str) -> anyhow::Result<String> {
        let mut date = Command::new("date");
        date.args(["--utc", &format!("--date=@{}", self.time), &format!("+{format}")]);
        sh::ask(date.env("LC_ALL", "C")).context("`date` cannot say when the commit was made")
    }
}

/// Makes everything, and checks it.
pub(crate) fn run() -> anyhow::Result<()> {
    setup::run(Purpose::Build)?;
    setup::run(Purpose::Dist)?;
    deny::light()?;
    let folder = folder()?;
    let image = image::run()?;
    let release = Release::here()?;
    let contents = Contents::collect(&release, &image, &work()?)?;
    judge_page(&work()?)?;

    let mut made = vec![debian::make(&release, &contents, &folder)?];
    judge_package(&made[0])?;
    made.push(tarball::make(&release, &contents, &folder)?);
    let archive = folder.join(format!("netmon-{VERSION}-image-{}.tar", release.architecture));
    fs::copy(&image.archive, &archive).with_context(|| format!("{}", archive.display()))?;
    made.push(archive);
    let bill = folder.join(format!("netmon-{VERSION}-{}.cdx.json", release.architecture));
    fs::write(&bill, bill::text(&release, &contents.program)?).with_context(|| format!("{}", bill.display()))?;
    made.push(bill);
    sums(&made, &folder)
}

/// Makes only the Debian package, for the tests.
pub(crate) fn package(image: &Image) -> anyhow::Result<PathBuf> {
    let release = Release::here()?;
    let contents = Contents::collect(&release, image, &work()?)?;
    debian::make(&release, &contents, &folder()?)
}

/// The path of the Debian package that was made before.
pub(crate) fn package_made() -> anyhow::Result<PathBuf> {
    let path = debian::path(&Release::here()?, &folder()?);
    ensure!(
        path.exists(),
        "there is no {}: run `cargo xtask test --no-run engine` first",
        path.display()
    );
    Ok(path)
}

fn folder() -> anyhow::Result<PathBuf> {
    made(sh::workspace().join("target/dist"))
}

/// The folder for intermediate files.
fn work() -> anyhow::Result<PathBuf> {
    made(sh::workspace().join("target/dist/.work"))
}

fn made(folder: PathBuf) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    Ok(folder)
}

/// Checks that `man` formats the manual page without a warning.
fn judge_page(work: &Path) -> anyhow::Result<()> {
    let mut man = Command::new("man");
    man.args(["--warnings", "--local-file", "--troff-device=utf8", "--ditroff"]);
    let output = man
        .arg(work.join("manual/netmon.1"))
        .env("LC_ALL", "C.UTF-8")
        .output()
        .context("man cannot be run")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !said.is_empty() {
        bail!("the manual page cannot be formatted without a word: {said}");
    }
    Ok(())
}

/// Checks the package with lintian.
fn judge_package(package: &Path) -> anyhow::Result<()> {
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--tag-display-limit", "0"]);
    if sh::is_root() {
        lintian.arg("--allow-root");
    }
    sh::run("Debian's rules for packages", lintian.arg(package))
}

/// Writes the checksums in the format of `sha256sum --check`, and prints the sizes.
fn sums(made: &[PathBuf], folder: &Path) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    sh::say("");
    for path in made {
        let bytes = fs::read(path).with_context(|| format!("{}", path.display()))?;
        let name = path.file_name().unwrap_or_default().display();
        lines.push(format!("{}  {name}\n", digest(&bytes)));
        sh::say(format!("{:>7.2} MB  {}", bytes.len() as f64 / 1e6, path.display()));
    }
    let path = folder.join("SHA256SUMS");
    fs::write(&path, lines.concat()).with_context(|| format!("{}", path.display()))?;
    sh::say(format!("{:>11} {}", "", path.display()));
    sh::say(format!("\nnetmon {VERSION} for {ARCH}"));
    Ok(())
}
