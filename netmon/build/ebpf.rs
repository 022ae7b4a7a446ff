//! Compiles the kernel programs (package `netmon-ebpf`), one object per noun.
//!
//! Owns the command line and the environment of the nested cargo. `toolchain` finds the compiler, and `object` checks
//! the result. The build script decides where the objects go from here.

use std::{
    env,
    ffi::OsStr,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    object, paths,
    toolchain::{self, Compiler, CompilerKind, Endian},
};

/// Environment: a directory of prebuilt objects, for builds without a toolchain.
pub(crate) const DIR_VARIABLE: &str = "NETMON_EBPF_DIR";
/// Environment: `1` creates empty files instead of the objects. The code can then be checked, but not run.
pub(crate) const SKIP_VARIABLE: &str = "NETMON_EBPF_SKIP";

/// The profile of the kernel programs in the root manifest.
const PROFILE: &str = "bpf";
/// The feature of `netmon-ebpf` that its binaries require. Without it, the package is a library for the host's tests.
const FEATURE: &str = "objects";

/// Settings of the user and the machine, not of the current build. The nested cargo keeps them.
const INHERITED: [&str; 8] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
    "RUSTUP_HOME",
];

/// Why there are no objects, in full sentences.
#[derive(Debug)]
pub(crate) enum Error {
    /// Nothing was compiled, or the object is unfit.
    Refused(String),
    /// The compiler failed, and reported why on standard error.
    Compiler(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused(message) | Self::Compiler(message)) = self;
        f.write_str(message)
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::Refused(message)
    }
}

/// A compiler and a linker for `netmon-ebpf`.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) compiler: Compiler,
    /// The linker.
    pub(crate) linker: PathBuf,
    /// The byte order to compile for.
    pub(crate) endian: Endian,
    /// The machine that the programs will run on, by the compiler's name (`x86_64`). It determines the layout of the
    /// registers.
    pub(crate) arch: String,
}

impl Toolchain {
    /// Looks for a toolchain. If there is none, the error says what was tried and what to do.
    pub(crate) fn find(tools: &Path, endian: Endian, arch: &str) -> Result<Self, String> {
        let missing = |what: &str, tried: &[String]| {
            let tried = tried.iter().map(|line| format!("\n  tried: {line}"));
            let remedies = toolchain::remedies().map(|line| format!("\n  {line}"));
            let lines: String = tried.chain(remedies).collect();
            format!("the kernel programs cannot be compiled: {what}.{lines}")
        };
        let compiler = toolchain::find_compiler(endian)
            .map_err(|tried| missing("no Rust compiler here has a core for BPF", &tried))?;
        let linker = toolchain::find_linker(tools, compiler.llvm_major()).map_err(|tried| {
            let major = compiler.llvm_major();
            missing(
                &format!("there is no bpf-linker, built with LLVM {major}, to go with {compiler}"),
                &[tried],
            )
        })?;
        let arch = arch.to_owned();
        Ok(Self {
            compiler,
            linker,
            endian,
            arch,
        })
    }

    /// The nested cargo with this subcommand (`build`, `clippy`), ready to get more arguments and to run.
    ///
    /// It has its own target directory, because the calling cargo holds the lock of the other one. Variables that the
    /// calling cargo, clippy or rustup set for their current crate are removed from its environment.
    pub(crate) fn cargo(&self, subcommand: &str, workspace: &Path, target_dir: &Path) -> Command {
        let Self {
            compiler,
            linker,
            endian,
            arch,
        } = self;
        let mut command = match &compiler.kind {
            CompilerKind::Prebuilt { .. } => Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
            CompilerKind::BuildStd { .. } => Command::new("rustup"),
        };
        for (name, _) in env::vars_os() {
            if !is_inherited(&name) {
                command.env_remove(name);
            }
        }
        match &compiler.kind {
            CompilerKind::Prebuilt { rustc } => command.env("RUSTC", rustc).arg(subcommand),
            CompilerKind::BuildStd { toolchain } => {
                command.args(["run", toolchain, "cargo", subcommand, "-Zbuild-std=core"])
            }
        };
        let target = endian.target();
        let linker_variable = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
        let mut flags = vec![
            format!("--cfg=bpf_target_arch=\"{arch}\""),
            "-Cdebuginfo=2".to_owned(),
            "-Clink-arg=--btf".to_owned(),
        ];
        flags.extend(paths::renamed(workspace));
        command
            .current_dir(workspace)
            // This lets a stable compiler build for a target of tier 3, which otherwise needs an unstable one.
            .env("RUSTC_BOOTSTRAP", "1")
            // Empty, not absent, so that a wrapper in a configuration file is not used either.
            .env("RUSTC_WRAPPER", "")
            .env("RUSTC_WORKSPACE_WRAPPER", "")
            .env(linker_variable, linker)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .args([
                "--package",
                "netmon-ebpf",
                "--features",
                FEATURE,
                "--profile",
                PROFILE,
                "--target",
                target,
                "--target-dir",
            ])
            .arg(target_dir);
        command
    }

    /// Compiles every noun, and returns the bytes of each object after checking it.
    ///
    /// The compiler's messages go to standard error.
    pub(crate) fn build(&self, workspace: &Path, target_dir: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let nouns = nouns(workspace)?;
        let mut command = self.cargo("build", workspace, target_dir);
        // In a build script, standard output is read by cargo.
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .map_err(|error| format!("{} cannot be run: {error}", command.get_program().display()))?;
        if !status.success() {
            return Err(Error::Compiler(format!(
                "compiling netmon-ebpf with {} and {} failed",
                self.compiler,
                self.linker.display()
            )));
        }
        let directory = target_dir.join(self.endian.target()).join(PROFILE);
        let mut objects = Vec::new();
        for noun in nouns {
            let bytes = read(&noun, &directory.join(&noun))?;
            objects.push((noun, bytes));
        }
        Ok(objects)
    }
}

/// Reads and checks the prebuilt objects.
pub(crate) fn ready_made(workspace: &Path, directory: &Path) -> Result<Vec<(String, Vec<u8>)>, String> {
    nouns(workspace)?
        .into_iter()
        .map(|noun| read(&noun, &directory.join(format!("{noun}.o"))).map(|it| (noun, it)))
        .collect()
}

/// The nouns, which are the binaries in the manifest of `netmon-ebpf`.
pub(crate) fn nouns(workspace: &Path) -> Result<Vec<String>, String> {
    let path = workspace.join("netmon-ebpf/Cargo.toml");
    let manifest = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let nouns = binaries(&manifest);
    if nouns.is_empty() {
        return Err(format!("{} has no [[bin]] with a name", path.display()));
    }
    Ok(nouns)
}

fn binaries(manifest: &str) -> Vec<String> {
    let mut table = "";
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            table = line;
        } else if let Some((key, value)) = line.split_once('=')
            && (table, key.trim()) == ("[[bin]]", "name")
        {
            names.push(value.trim().trim_matches('"').to_owned());
        }
    }
    names
}

fn read(noun: &str, path: &Path) -> Result<Vec<u8>, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    object::check(&bytes).map_err(|why| {
        format!(
            "the kernel programs of `{noun}` ({}) are not fit to be loaded: {why}",
            path.display()
        )
    })?;
    Ok(bytes)
}

fn is_inherited(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let of_the_tools = ["CARGO", "RUST", "CLIPPY_"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    !of_the_tools || INHERITED.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::{binaries, is_inherited};

    #[test]
    fn the_nouns_are_the_names_of_the_binaries() {
        let manifest = "[package]\nname = \"netmon-ebpf\"\n\n[[bin]]\nname = \"traffic\"\npath = \"src/bin/traffic.rs\"\n\
                        \n[[bin]]\npath = \"src/bin/drops.rs\"\nname= \"drops\"\n[lints]\nworkspace = true\n";
        assert_eq!(binaries(manifest), ["traffic", "drops"]);
    }

    #[test]
    fn the_nested_cargo_keeps_the_persons_settings_and_drops_the_builds() {
        for kept in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_CRATES_IO_INDEX",
        ] {
            assert!(is_inherited(kept.as_ref()), "{kept} was dropped");
        }
        for dropped in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "RUSTUP_TOOLCHAIN",
            "CARGO",
        ] {
            assert!(!is_inherited(dropped.as_ref()), "{dropped} was handed on");
        }
    }
}
