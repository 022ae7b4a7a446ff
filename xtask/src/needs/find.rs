//! Where things are once they are installed, and the looking for them. Must not know what each is needed for, or how it
//! is installed.

use std::{
    env::consts::ARCH,
    path::{Path, PathBuf},
    process::Command,
};

use super::NEXTEST;
use crate::{
    kernel_programs::{endian, toolchain},
    sh,
};

/// Debian's clippy.
pub(crate) const CLIPPY_DRIVER: &str = "/usr/bin/clippy-driver";

/// cargo-nextest: the one in `PATH`, or ours.
pub(crate) fn nextest() -> Result<PathBuf, String> {
    let own = NEXTEST.program();
    toolchain::in_path(NEXTEST.name)
        .or_else(|| own.is_file().then(|| own.clone()))
        .ok_or_else(|| format!("neither {} nor one in PATH exists", own.display()))
}

/// The folder in which Prometheus is unpacked.
pub(crate) fn prometheus() -> PathBuf {
    sh::tools().join("prometheus")
}

/// The unpacked `HAProxy`.
pub(crate) fn haproxy() -> PathBuf {
    sh::tools().join("haproxy/usr/sbin/haproxy")
}

/// The unpacked node exporter.
pub(crate) fn node_exporter() -> PathBuf {
    sh::tools().join("prometheus-node-exporter/usr/bin/prometheus-node-exporter")
}

/// The unpacked program that loads AppArmor profiles into the kernel.
pub(crate) fn apparmor_parser() -> PathBuf {
    sh::tools().join("apparmor/sbin/apparmor_parser")
}

/// The unpacked program that sets up the kernel's load balancer.
pub(crate) fn ipvsadm() -> PathBuf {
    sh::tools().join("ipvsadm/sbin/ipvsadm")
}

/// The folder in which the newer engine is unpacked.
pub(crate) fn new_engine() -> PathBuf {
    sh::tools().join("new-engine")
}

/// Looks for the compiler of kernel programs as the build script does.
pub(super) fn compiler() -> Result<String, String> {
    toolchain::find_compiler(endian())
        .map(|compiler| compiler.to_string())
        .map_err(|tried| tried.join("; "))
}

/// A compiler of rustup's uses rustup's clippy; Debian's needs Debian's.
pub(super) fn clippy() -> Result<String, String> {
    match toolchain::find_compiler(endian()) {
        Ok(toolchain::Compiler {
            kind: toolchain::CompilerKind::BuildStd { toolchain },
            ..
        }) => Ok(format!("rustup's {toolchain}")),
        Ok(_) | Err(_) => file(CLIPPY_DRIVER.as_ref()),
    }
}

pub(super) fn linker() -> Result<String, String> {
    let compiler = toolchain::find_compiler(endian()).map_err(|_| "no compiler to link for".to_owned())?;
    let linker = toolchain::find_linker(&sh::tools(), compiler.llvm_major())?;
    // The tools may have been copied from another machine, and its LLVM may be missing here.
    sh::ask(Command::new(&linker).arg("--version"))
        .map(|_| linker.display().to_string())
        .ok_or_else(|| format!("{} cannot be run", linker.display()))
}

/// A program in `PATH`, or in the folders for root, which a person's `PATH` may lack.
pub(super) fn program(name: &str) -> Result<String, String> {
    toolchain::in_path(name)
        .or_else(|| {
            ["/usr/sbin", "/sbin"]
                .map(|directory| Path::new(directory).join(name))
                .into_iter()
                .find(|path| path.is_file())
        })
        .map(|path| path.display().to_string())
        .ok_or_else(|| format!("no {name} in PATH"))
}

/// Looks for a library that Debian has for this machine's architecture.
pub(super) fn library(name: &str) -> Result<String, String> {
    file(&Path::new(&format!("/usr/lib/{ARCH}-linux-gnu")).join(name))
}

pub(super) fn file(path: &Path) -> Result<String, String> {
    if path.is_file() {
        Ok(path.display().to_string())
    } else {
        Err(format!("no {}", path.display()))
    }
}
