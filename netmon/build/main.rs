//! Puts the objects of the kernel programs and the revision of the source where the library can include them.
//!
//! - `OUT_DIR/<noun>.o`: the compiled `netmon-ebpf` (see `ebpf.rs`), one object per noun.
//! - `NETMON_RUSTC`: the compiler's version.
//! - `NETMON_REVISION`: the revision that `--version` prints: the commit, or `unknown` outside a repository.
#![expect(clippy::print_stdout, reason = "that is how a build script speaks to cargo")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use ebpf::{Error, Toolchain};
use toolchain::Endian;

mod ebpf;
mod object;
mod paths;
mod toolchain;

/// Environment: the revision to report, for builds from an archive.
const REVISION_VARIABLE: &str = "NETMON_REVISION";

fn main() -> ExitCode {
    let error = match run() {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    for line in error.to_string().lines() {
        println!("cargo::error={line}");
    }
    match error {
        // cargo fails because of the lines above, and shows only those.
        Error::Refused(_) => ExitCode::SUCCESS,
        // The compiler's messages are on standard error, and cargo shows that only if the script fails.
        Error::Compiler(_) => ExitCode::FAILURE,
    }
}

fn run() -> Result<(), Error> {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir
        .parent()
        .ok_or_else(|| "the package lies in the root directory".to_owned())?;
    let out_dir = PathBuf::from(variable("OUT_DIR")?);

    revision(&manifest_dir);
    compiler()?;
    watch(workspace);
    for (noun, bytes) in objects(workspace, &out_dir)? {
        let path = out_dir.join(format!("{noun}.o"));
        fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn objects(workspace: &Path, out_dir: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    if env::var(ebpf::SKIP_VARIABLE).is_ok_and(|value| value == "1") {
        return Ok(ebpf::nouns(workspace)?
            .into_iter()
            .map(|noun| (noun, Vec::new()))
            .collect());
    }
    if let Some(directory) = env::var_os(ebpf::DIR_VARIABLE) {
        return Ok(ebpf::ready_made(workspace, Path::new(&directory))?);
    }
    let endian = match variable("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "big" => Endian::Big,
        _ => Endian::Little,
    };
    let toolchain = Toolchain::find(
        &toolchain::tools_folder(workspace),
        endian,
        &variable("CARGO_CFG_TARGET_ARCH")?,
    )?;
    // The path is `<target>/<profile>/build/<package>/out`. All profiles share one compilation of the kernel
    // programs.
    let target_dir = out_dir.ancestors().nth(4).unwrap_or(out_dir).join("ebpf");
    toolchain.build(workspace, &target_dir)
}

/// Lists the files and variables after whose change cargo must run this script again.
fn watch(workspace: &Path) {
    for path in [
        "netmon-ebpf/src",
        "netmon-ebpf/Cargo.toml",
        "netmon-common/src",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo::rerun-if-changed=build");
    for name in [
        ebpf::DIR_VARIABLE,
        ebpf::SKIP_VARIABLE,
        toolchain::RUSTC_VARIABLE,
        toolchain::TOOLCHAIN_VARIABLE,
        toolchain::LINKER_VARIABLE,
        toolchain::TOOLS_VARIABLE,
        REVISION_VARIABLE,
    ] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if let Some(directory) = env::var_os(ebpf::DIR_VARIABLE) {
        println!("cargo::rerun-if-changed={}", Path::new(&directory).display());
    }
}

fn revision(manifest_dir: &Path) {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(manifest_dir)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = || {
        // A package unpacked inside another repository does not have that repository's revision.
        git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
        // A commit, a checkout and a reset each add a line to this file. cargo treats a missing file as a changed
        // one.
        let log = manifest_dir.join(git(&["rev-parse", "--git-path", "logs/HEAD"])?);
        if log.is_file() {
            println!("cargo::rerun-if-changed={}", log.display());
        }
        git(&["rev-parse", "--short", "HEAD"])
    };
    let revision = env::var(REVISION_VARIABLE)
        .ok()
        .or_else(commit)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env={REVISION_VARIABLE}={revision}");
}

fn compiler() -> Result<(), String> {
    let rustc = variable("RUSTC")?;
    let output = Command::new(&rustc)
        .arg("--version")
        .output()
        .map_err(|error| format!("{rustc}: {error}"))?;
    let version = String::from_utf8_lossy(&output.stdout);
    println!(
        "cargo::rustc-env=NETMON_RUSTC={}",
        version.split_whitespace().nth(1).unwrap_or("unknown")
    );
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: this is a build script, for cargo to run"))
}
