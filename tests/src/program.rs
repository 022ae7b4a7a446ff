//! A program of another project, as the only one of an image: no registry is needed, and no engine to build it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::sh;

/// Fills a folder with the program, as `/usr/bin/NAME`, and with the libraries that it needs.
///
/// # Errors
/// Something is missing.
pub fn root(program: &Path, folder: &Path) -> anyhow::Result<()> {
    let libraries = sh::output(Command::new("ldd").arg(program))?;
    let libraries = libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from);
    let to = |path: &Path| -> anyhow::Result<PathBuf> {
        let to = folder.join(path.strip_prefix("/")?);
        fs::create_dir_all(to.parent().context("no folder")?)?;
        Ok(to)
    };
    let name = program.file_name().context("a program without a name")?;
    fs::copy(program, to(&Path::new("/usr/bin").join(name))?)?;
    for library in libraries {
        fs::copy(&library, to(&library)?).with_context(|| format!("{}", library.display()))?;
    }
    Ok(())
}
