//! The archive for machines without dpkg: one folder, which can be put anywhere.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use flate2::{Compression, GzBuilder};
use tar::Builder;

use super::{Release, VERSION, contents::Contents};
use crate::image::archive::{Entry, entry};

/// Makes the archive in `folder`, and returns its path.
pub(super) fn make(release: &Release, contents: &Contents, folder: &Path) -> anyhow::Result<PathBuf> {
    let name = format!("netmon-{VERSION}-linux-{}", release.architecture);
    let path = folder.join(format!("{name}.tar.gz"));
    let file = File::create(&path).with_context(|| format!("{}", path.display()))?;
    let mut archive = Builder::new(GzBuilder::new().write(file, Compression::best()));
    let mut add = |path: &str, mode: u32, bytes: &[u8]| {
        let path = format!("{name}/{path}");
        entry(&mut archive, &path, &Entry::file(mode, release.time), bytes)
    };
    add("netmon", 0o755, &contents.program)?;
    add("netmon.1", 0o644, &contents.page)?;
    for (name, bytes) in &contents.completions {
        add(&format!("completions/{name}"), 0o644, bytes)?;
    }
    add("LICENSES-THIRD-PARTY.txt", 0o644, contents.licences.as_bytes())?;
    for (path, bytes) in &contents.files {
        add(&path.to_string_lossy(), 0o644, bytes)?;
    }
    archive.into_inner()?.finish()?.flush()?;
    Ok(path)
}
