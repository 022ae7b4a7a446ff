//! `cargo xtask image`: netmon as a container image, made without an engine and without downloads.

pub(crate) mod archive;
mod dockerfile;

use std::{
    env::consts::ARCH,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context as _, bail, ensure};

use crate::{kernel_programs::paths, needs::Purpose, setup, sh};

/// The name of the image, which `deploy/*.yml` use.
pub(crate) const NAME: &str = concat!("netmon:", env!("CARGO_PKG_VERSION"));

/// The files of the image.
pub(crate) struct Image {
    /// The file that `docker load` takes.
    pub(crate) archive: PathBuf,
    /// The binary before stripping, with line numbers.
    pub(crate) binary: PathBuf,
    /// The stripped binary, as it is in the image.
    pub(crate) program: PathBuf,
}

/// The name of this machine's architecture in images and packages.
pub(crate) fn architecture() -> anyhow::Result<&'static str> {
    match ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("nothing is packed on {other}"),
    }
}

/// The paths of the files.
fn places() -> Image {
    let folder = sh::workspace().join("target/image");
    Image {
        archive: folder.join("netmon.tar"),
        binary: folder.join(target()).join("release/netmon"),
        program: folder.join("context/netmon"),
    }
}

/// The target that netmon is compiled for.
fn target() -> String {
    format!("{ARCH}-unknown-linux-gnu")
}

/// The image that was made before. Does not ask cargo whether it is up to date.
pub(crate) fn made() -> anyhow::Result<Image> {
    let image = places();
    // The archive is written last.
    ensure!(
        image.archive.exists(),
        "there is no {}: run `cargo xtask image` first",
        image.archive.display()
    );
    Ok(image)
}

/// Builds netmon as one static binary, and makes the image.
pub(crate) fn run() -> anyhow::Result<Image> {
    setup::run(Purpose::Build)?;
    let architecture = architecture()?;
    let target = target();
    let made = places();
    // In a folder of its own: cargo would otherwise build everything again each time the flags differ.
    let folder = sh::workspace().join("target/image");
    sh::run(
        "build netmon (static)",
        sh::cargo(["build", "--package", "netmon", "--release", "--target", &target])
            .arg("--target-dir")
            .arg(&folder)
            .env("CARGO_ENCODED_RUSTFLAGS", flags().join("\x1f")),
    )?;

    let context = folder.join("context");
    fs::create_dir_all(&context).with_context(|| format!("{}", context.display()))?;
    let text = fs::read_to_string(sh::workspace().join("deploy/Dockerfile")).context("deploy/Dockerfile")?;
    let revision = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let arguments = [("VERSION", env!("CARGO_PKG_VERSION")), ("REVISION", revision.as_str())];
    let image = dockerfile::read(&text, &arguments).context("deploy/Dockerfile")?;
    let mut programs = Vec::new();
    for (from, to) in image.copies {
        let path = context.join(&from);
        in_place(&path, |path| {
            // The names of functions are in the binary beside it.
            sh::run(
                "leave out what only a debugger needs",
                Command::new("strip")
                    .arg("--strip-debug")
                    .arg("-o")
                    .arg(path)
                    .arg(&made.binary),
            )?;
            Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
        })?;
        let program = fs::read(&path).with_context(|| format!("{}", path.display()))?;
        tells_no_folder(&program)?;
        programs.push((to, program));
    }

    let archive = &made.archive;
    let image = archive::Image {
        name: NAME.to_owned(),
        architecture,
        created: created(),
        config: image.config,
        programs,
    };
    in_place(archive, |path| archive::write(&image, path))?;
    let size = fs::metadata(archive)?.len() as f64 / 1e6;
    sh::say(format!("\n{NAME}: {} ({size:.1} MB)", archive.display()));
    sh::say(format!("On each node: docker load -i {}", archive.display()));
    Ok(made)
}

/// Makes a file, and puts it in place when it is complete. Tests that run at the same time use the previous one.
fn in_place(path: &Path, make: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let part = PathBuf::from(format!("{}.{}", path.display(), process::id()));
    make(&part)?;
    fs::rename(&part, path).with_context(|| format!("{} cannot be put in place", path.display()))
}

/// The compiler's flags. With them the same commit gives the same program in any folder.
fn flags() -> Vec<String> {
    let mut flags = paths::renamed(&sh::workspace());
    flags.push("-Ctarget-feature=+crt-static".to_owned());
    flags
}

/// Checks that a program does not contain the paths it was built in.
fn tells_no_folder(program: &[u8]) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(program);
    for folder in paths::packages().into_iter().chain([sh::workspace()]) {
        ensure!(
            !text.contains(&*folder.to_string_lossy()),
            "the program names the folder {}, in which it was built",
            folder.display()
        );
    }
    Ok(())
}

/// The time of the commit, so that the same commit gives the same image.
fn created() -> String {
    git(&["log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"])
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

/// The output of a git command in the checkout.
pub(crate) fn git(arguments: &[&str]) -> Option<String> {
    sh::ask(
        Command::new("git")
            .args(arguments)
            .current_dir(sh::workspace())
            .env("TZ", "UTC"),
    )
}

#[cfg(test)]
mod tests {
    use super::NAME;

    #[test]
    fn the_stacks_ask_for_this_image() {
        for text in [
            include_str!("../../deploy/stack.yml"),
            include_str!("../../deploy/stack-overlay.yml"),
        ] {
            assert!(text.contains(&format!("image: ${{NETMON_IMAGE:-{NAME}}}\n")), "{text}");
        }
    }
}
