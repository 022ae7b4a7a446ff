//! Finds what is needed to compile the kernel programs: a Rust compiler with a `core` for BPF, and `bpf-linker`.
//!
//! Only looks, and reports what it found. It installs and compiles nothing. The build script and `cargo xtask` share
//! this module: `setup` and `doctor` report its result.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Environment: a rustc that is preferred to those on the machine.
pub(crate) const RUSTC_VARIABLE: &str = "NETMON_EBPF_RUSTC";
/// Environment: the rustup toolchain to compile `core` with, if no compiler has one for BPF. The default is
/// `nightly`.
pub(crate) const TOOLCHAIN_VARIABLE: &str = "NETMON_EBPF_TOOLCHAIN";
/// Environment: the `bpf-linker` to use.
pub(crate) const LINKER_VARIABLE: &str = "NETMON_BPF_LINKER";
/// Environment: the folder for downloaded and compiled tools, shared by all clones.
pub(crate) const TOOLS_VARIABLE: &str = "NETMON_TOOLS";
/// The version of `bpf-linker` that is known to work. Newer ones usually do.
pub(crate) const LINKER_VERSION: &str = "0.13.0";

/// Debian's compiler, regardless of what comes first in `PATH`.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
/// The oldest compiler that can compile this workspace.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// The byte order of the machine that the programs will run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endian {
    /// `x86_64`, `aarch64` and most others.
    Little,
    /// `s390x`.
    Big,
}

impl Endian {
    /// The compiler's name for BPF of this byte order.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Little => "bpfel-unknown-none",
            Self::Big => "bpfeb-unknown-none",
        }
    }
}

/// A Rust compiler for BPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// How it gets a `core` for BPF.
    pub(crate) kind: CompilerKind,
    /// Its release, such as `1.96.0`.
    pub(crate) release: String,
    /// The release of its LLVM, such as `22.1.8`. The linker's LLVM must be as new.
    pub(crate) llvm: String,
}

/// Where a compiler's `core` for BPF comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CompilerKind {
    /// It was installed with the compiler (Debian: `libstd-rust-web-dev-bpf`).
    Prebuilt {
        /// The compiler.
        rustc: PathBuf,
    },
    /// It is compiled from source. This needs a nightly with `rust-src`.
    BuildStd {
        /// rustup's name of the toolchain.
        toolchain: String,
    },
}

impl Compiler {
    /// The major version of its LLVM, as in the names of Debian's packages and of bpf-linker's features.
    pub(crate) fn llvm_major(&self) -> &str {
        self.llvm.split('.').next().unwrap_or(&self.llvm)
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, release, llvm } = self;
        match kind {
            CompilerKind::Prebuilt { rustc } => write!(f, "{} ", rustc.display())?,
            CompilerKind::BuildStd { toolchain } => write!(f, "rustup's {toolchain} with rust-src ")?,
        }
        write!(f, "({release}, LLVM {llvm})")
    }
}

/// Finds a compiler, or returns why each candidate is unfit.
///
/// The order is: the one named in the environment, Debian's, and the one in `PATH`, if they have a ready `core`. The
/// last choice is a rustup toolchain with the source of `core`.
pub(crate) fn find_compiler(endian: Endian) -> Result<Compiler, Vec<String>> {
    let mut tried = Vec::new();
    let named = env::var_os(RUSTC_VARIABLE).map(PathBuf::from);
    let system = Some(PathBuf::from(SYSTEM_RUSTC));
    let mut candidates: Vec<PathBuf> = [named, system, in_path("rustc")].into_iter().flatten().collect();
    candidates.dedup();
    for rustc in candidates {
        match prebuilt(rustc, endian) {
            Ok(compiler) => return Ok(compiler),
            Err(why) => tried.push(why),
        }
    }
    let toolchain = env::var(TOOLCHAIN_VARIABLE).unwrap_or_else(|_| "nightly".to_owned());
    build_std(toolchain).map_err(|why| {
        tried.push(why);
        tried
    })
}

/// The folder for downloaded and compiled tools: the one named in the environment, or `netmon/tools` in the user's
/// cache. It outlives the clone. So a fresh clone compiles no linker and downloads no engine.
///
/// Without a home directory there is no cache, and the folder is in the workspace.
pub(crate) fn tools_folder(workspace: &Path) -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    if let Some(named) = set(TOOLS_VARIABLE) {
        // The build script and `cargo xtask` run in different folders. So a relative path is relative to the
        // workspace.
        return workspace.join(named);
    }
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    cache.map_or_else(|| workspace.join("target/tools"), |cache| cache.join("netmon/tools"))
}

/// Finds a `bpf-linker` for that LLVM. The order is: the one named in the environment, the project's own in `tools`,
/// the one in `PATH`.
pub(crate) fn find_linker(tools: &Path, llvm_major: &str) -> Result<PathBuf, String> {
    if let Some(named) = env::var_os(LINKER_VARIABLE).map(PathBuf::from) {
        return if named.is_file() {
            Ok(named)
        } else {
            Err(format!(
                "{LINKER_VARIABLE} names {}, which is not a file",
                named.display()
            ))
        };
    }
    let own = linker_root(tools, llvm_major).join("bin/bpf-linker");
    if own.is_file() {
        return Ok(own);
    }
    in_path("bpf-linker").ok_or_else(|| format!("neither {} nor a bpf-linker in PATH exists", own.display()))
}

/// The folder that the linker is installed into. Each version and each LLVM has its own.
pub(crate) fn linker_root(tools: &Path, llvm_major: &str) -> PathBuf {
    tools.join(format!("bpf-linker-{LINKER_VERSION}-llvm-{llvm_major}"))
}

/// Advice for a machine without the toolchain, one remedy per line.
pub(crate) fn remedies() -> [String; 3] {
    [
        "On Debian or Ubuntu: `cargo xtask setup` installs what is missing.".to_owned(),
        format!(
            "Elsewhere: `rustup toolchain install nightly --component rust-src`, then `cargo install bpf-linker \
             --version {LINKER_VERSION} --locked`."
        ),
        format!(
            "Without a toolchain: set {} to a directory of ready objects (traffic.o, ...), as a release has them; \
             or, to check or document the code only, {}=1.",
            super::ebpf::DIR_VARIABLE,
            super::ebpf::SKIP_VARIABLE,
        ),
    ]
}

/// The file with that name in the first directory of `PATH` that has one.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

fn prebuilt(rustc: PathBuf, endian: Endian) -> Result<Compiler, String> {
    let name = rustc.display();
    let missing = || format!("{name} cannot be run");
    let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"])).ok_or_else(missing)?;
    let library = Path::new(&sysroot)
        .join("lib/rustlib")
        .join(endian.target())
        .join("lib");
    if !has_core(&library) {
        return Err(format!(
            "{name} has no core for {} in {}",
            endian.target(),
            library.display()
        ));
    }
    let (release, llvm) = versions(Command::new(&rustc).arg("-vV")).ok_or_else(missing)?;
    if !is_at_least(&release, OLDEST) {
        return Err(format!("{name} is {release}, and at least {OLDEST} is needed"));
    }
    let kind = CompilerKind::Prebuilt { rustc };
    Ok(Compiler { kind, release, llvm })
}

fn build_std(toolchain: String) -> Result<Compiler, String> {
    if in_path("rustup").is_none() {
        return Err("rustup is not installed".to_owned());
    }
    let rustc = |arguments: &[&str]| {
        let mut command = Command::new("rustup");
        // This only asks, so it must not download a toolchain.
        command
            .args(["run", &toolchain, "rustc"])
            .args(arguments)
            .env("RUSTUP_AUTO_INSTALL", "0");
        command
    };
    let missing = || format!("rustup has no toolchain `{toolchain}`");
    let sysroot = output(&mut rustc(&["--print", "sysroot"])).ok_or_else(missing)?;
    if !Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir() {
        return Err(format!("rustup's toolchain `{toolchain}` has no component rust-src"));
    }
    let (release, llvm) = versions(&mut rustc(&["-vV"])).ok_or_else(missing)?;
    if !is_at_least(&release, OLDEST) {
        return Err(format!(
            "rustup's toolchain `{toolchain}` is {release}, and at least {OLDEST} is needed"
        ));
    }
    let kind = CompilerKind::BuildStd { toolchain };
    Ok(Compiler { kind, release, llvm })
}

fn has_core(library: &Path) -> bool {
    fs::read_dir(library).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libcore-") && Path::new(&*name).extension().is_some_and(|it| it == "rlib")
        })
    })
}

/// The release and the LLVM release from the output of `rustc -vV`.
fn versions(command: &mut Command) -> Option<(String, String)> {
    let text = output(command)?;
    let field = |key| {
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .map(|it| it.trim().to_owned())
    };
    Some((field("release:")?, field("LLVM version:")?))
}

/// Whether a release, which may end in `-nightly`, is at least as new as another. A part that is not a number counts
/// as 0.
fn is_at_least(release: &str, oldest: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        text.split(['.', '-'])
            .take(3)
            .map(|part| part.parse().unwrap_or(0))
            .collect()
    };
    numbers(release) >= numbers(oldest)
}

/// The output of a command, if it succeeded. The command does not inherit the calling cargo's choice of toolchain.
fn output(command: &mut Command) -> Option<String> {
    let output = command.env_remove("RUSTUP_TOOLCHAIN").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::is_at_least;

    #[test]
    fn releases_are_compared_number_by_number() {
        assert!(is_at_least("1.95.0", "1.95"));
        assert!(is_at_least("1.100.0-nightly", "1.95"));
        assert!(is_at_least("2.0.0", "1.95"));
        assert!(!is_at_least("1.94.9", "1.95"));
        assert!(!is_at_least("", "1.95"));
    }
}
