//! The files of the emulated machine: programs with their libraries, kernel modules, and what runs in it. All of them
//! are in its memory.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use netmon_tests::sh as tools;

use super::{Machine, confinement};
use crate::{needs, sh};

/// Programs that tests and fixtures call.
const PROGRAMS: &[&str] = &[
    "bash", "bpftool", "bridge", "ethtool", "ip", "nft", "nsenter", "ping", "prlimit", "setpriv", "ss", "sysctl", "tc",
    "unshare",
];
/// Applets of busybox that init and the tests call.
const APPLETS: &[&str] = &[
    "cat", "dd", "insmod", "kill", "ls", "mkdir", "mount", "nproc", "poweroff", "sh", "sleep", "sync", "true",
    "umount", "uname",
];
/// Modules for the tests' devices and for the filters that drop packets. A module that the kernel has built in, or
/// does not have, is not loaded.
const MODULES: &[&str] = &[
    "veth",
    "bridge",
    "vxlan",
    "macvlan",
    "ipvlan",
    "dummy",
    "tun",
    "nf_conntrack",
    "nf_tables",
    "nft_counter",
    "nft_ct",
    "nft_numgen",
    "nft_reject",
    "nft_reject_inet",
    "nft_reject_ipv4",
    "nft_reject_ipv6",
    "nf_nat",
    "nft_chain_nat",
    "nft_nat",
    "ip_vs",
    "ip_vs_rr",
    "sch_ingress",
    "sch_tbf",
    "sch_netem",
    "sch_fq",
    "cls_bpf",
    "act_bpf",
    "esp4",
    "xfrm_user",
    // The ciphers that Docker encrypts with, in software.
    "gcm",
    "ctr",
    "ghash-generic",
    "seqiv",
    "echainiv",
    // The random number generator that these ciphers need.
    "sha512_generic",
    "sha3_generic",
    "jitterentropy_rng",
    "drbg",
    "inet_diag",
    "tcp_diag",
];
/// Files that programs read.
const FILES: &[&str] = &["/etc/protocols", "/etc/services", "/etc/iproute2/rt_tables"];
/// The factor for the tests' waiting times.
const SLOWNESS: &str = "4";

/// The names of a folder's entries; none if it does not exist.
fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// Its release, as `uname -r` prints it.
    pub(super) release: String,
    /// The image to boot.
    pub(super) image: PathBuf,
    /// The folder that contains its modules.
    root: PathBuf,
}

impl Kernel {
    /// Looks for a kernel in the folder of an unpacked package. It is in `boot`, or in newer packages beside its
    /// modules.
    pub(super) fn find(directory: &Path) -> anyhow::Result<Self> {
        let boot = directory.join("boot");
        let modules = directory.join("usr/lib/modules");
        let in_boot = names(&boot).find_map(|name| name.strip_prefix("vmlinuz-").map(ToOwned::to_owned));
        let found = in_boot
            .map(|release| (boot.join(format!("vmlinuz-{release}")), release))
            .or_else(|| {
                names(&modules)
                    .map(|release| (modules.join(&release).join("vmlinuz"), release))
                    .find(|(image, _)| image.exists())
            });
        let (image, release) = found.with_context(|| format!("no kernel in {}", directory.display()))?;
        Ok(Self {
            image,
            root: directory.to_path_buf(),
            release,
        })
    }

    /// Makes the index of modules, which packages do not contain.
    pub(super) fn index(directory: &Path) -> anyhow::Result<()> {
        let Self { release, root, .. } = &Self::find(directory)?;
        // Later packages have modules below /usr.
        let lib = root.join("lib/modules");
        if !lib.exists() {
            std::os::unix::fs::symlink("usr/lib", root.join("lib"))?;
        }
        tools::output(Command::new("depmod").arg("-b").arg(root).arg(release)).map(drop)
    }

    /// The files of the modules and of their dependencies, in the order of loading.
    fn modules(&self) -> anyhow::Result<Vec<PathBuf>> {
        let Self { release, root, .. } = self;
        let mut files = Vec::new();
        for module in MODULES {
            let shown = Command::new("modprobe")
                .args(["--show-depends", "--ignore-install", "-S", release, "-d"])
                .arg(root)
                .arg(module)
                .output()
                .context("modprobe cannot be run")?;
            // If this kernel does not have a module, the tests that need it fail.
            for line in String::from_utf8_lossy(&shown.stdout).lines() {
                // Options may follow the path.
                if let Some(file) = line
                    .strip_prefix("insmod ")
                    .and_then(|rest| rest.split_whitespace().next())
                {
                    let file = PathBuf::from(file);
                    if !files.contains(&file) {
                        files.push(file);
                    }
                }
            }
        }
        ensure!(!files.is_empty(), "kernel {release} has no modules");
        Ok(files)
    }
}

/// What runs in the machine.
#[derive(Debug)]
pub(super) struct Payload {
    /// A shell's command. It runs in `/tests`.
    pub(super) command: String,
    /// The file in `/tests` that comes out by the second serial line.
    pub(super) report: &'static str,
    /// Environment variables.
    pub(super) variables: Vec<(&'static str, String)>,
    /// The program that the command is about, and its path in the machine. It gets there without what only a debugger
    /// needs.
    pub(super) program: (PathBuf, PathBuf),
    /// Other programs, and files.
    pub(super) programs: Vec<(PathBuf, PathBuf)>,
    pub(super) files: Vec<(PathBuf, PathBuf)>,
}

/// Packs the machine's files, and returns the archive to boot with.
pub(super) fn pack(
    machine: &Machine,
    kernel: &Kernel,
    directory: &Path,
    netmon: &Path,
    payload: &Payload,
) -> anyhow::Result<PathBuf> {
    let root = directory.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for folder in [
        "bin", "dev", "etc", "mnt", "modules", "proc", "root", "run", "sys", "tests", "tmp", "usr/bin",
    ] {
        fs::create_dir_all(root.join(folder))?;
    }
    let files = Files { root: &root };
    files.copy(&program("busybox")?, Path::new("/bin/busybox"))?;
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
    }
    for name in PROGRAMS {
        files.program(&program(name)?, &Path::new("/usr/bin").join(name))?;
    }
    files.program(&needs::ipvsadm(), Path::new("/usr/bin/ipvsadm"))?;
    let (from, to) = &payload.program;
    for (from, to) in [(netmon, Path::new("/tests/netmon")), (from, to)] {
        files.program(from, to)?;
        tools::output(Command::new("strip").arg(root.join(to.strip_prefix("/")?)))?;
    }
    for (from, to) in &payload.programs {
        files.program(from, to)?;
    }
    for (from, to) in &payload.files {
        files.copy(from, to)?;
    }
    for file in FILES.iter().map(Path::new).filter(|file| file.exists()) {
        files.copy(file, file)?;
    }
    for (number, module) in kernel.modules()?.iter().enumerate() {
        files.module(number, module)?;
    }
    let lab = sh::workspace().join("tests/lab");
    files.copy(&lab.join("vm-init"), Path::new("/init"))?;
    fs::write(root.join("command"), &payload.command)?;
    let netmon = if machine.confined {
        files.program(&needs::apparmor_parser(), Path::new("/usr/bin/apparmor_parser"))?;
        fs::write(root.join("docker-default"), confinement::profile(&needs::new_engine())?)?;
        files.copy(&lab.join("confined"), Path::new("/tests/confined"))?;
        "/tests/confined"
    } else {
        "/tests/netmon"
    };
    let words = payload.variables.iter().map(|(name, value)| format!("{name}={value}"));
    let more = words.collect::<Vec<_>>().join(" ");
    fs::write(
        root.join("environment"),
        format!(
            "REPORT={}\nexport RUST_BACKTRACE=0 NETMON_TEST_BINARY={netmon} NETMON_TEST_EMULATED=1 \
             NETMON_TEST_SLOWNESS={SLOWNESS} {more}\n",
            payload.report
        ),
    )?;
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    )?;
    let archive = directory.join("initrd");
    let pack = format!(
        "cd {} && find . | cpio --quiet -o -H newc > {}",
        root.display(),
        archive.display()
    );
    tools::output(Command::new("sh").args(["-c", &pack]))?;
    Ok(archive)
}

/// The machine's files, in a folder of this machine.
struct Files<'a> {
    root: &'a Path,
}

impl Files<'_> {
    fn copy(&self, from: &Path, to: &Path) -> anyhow::Result<()> {
        let target = self.root.join(to.strip_prefix("/")?);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(from, &target).with_context(|| format!("{} cannot be copied", from.display()))?;
        Ok(())
    }

    /// Copies a program and the libraries that it is linked with. They have the same paths in the machine, and so
    /// does the loader.
    fn program(&self, from: &Path, to: &Path) -> anyhow::Result<()> {
        self.copy(from, to)?;
        // `ldd` fails for a statically linked program, which has no libraries.
        let Some(text) = sh::ask(Command::new("ldd").arg(from)) else {
            return Ok(());
        };
        let libraries: BTreeSet<&Path> = text
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(Path::new)
            .collect();
        for library in libraries {
            if !self.root.join(library.strip_prefix("/")?).exists() {
                self.copy(library, library)?;
            }
        }
        Ok(())
    }

    /// Writes a module, decompressed because init cannot do that. Its number is its place in the order of loading.
    fn module(&self, number: usize, from: &Path) -> anyhow::Result<()> {
        let name = from.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (stem, unpack) = match name.rsplit_once(".ko") {
            Some((stem, "")) => (stem, "cat"),
            Some((stem, ".xz")) => (stem, "xz -dc"),
            Some((stem, ".zst")) => (stem, "zstd -dc"),
            _ => bail!("{} is not a module", from.display()),
        };
        let target = self.root.join(format!("modules/{number:02}-{stem}.ko"));
        let command = format!("{unpack} {} > {}", from.display(), target.display());
        tools::output(Command::new("sh").args(["-c", &command]))?;
        Ok(())
    }
}

fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").context("PATH is not set")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("there is no {name}: `cargo xtask setup vm`"))
}
