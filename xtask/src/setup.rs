//! `cargo xtask setup`: installs what is missing, and nothing else. Works on Debian and Ubuntu; elsewhere it lists
//! what is needed.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::{
    kernel_programs::{endian, toolchain},
    needs::{Crate, NEEDS, Need, Purpose, Remedy, new_engine},
    sh,
};

/// Debian's way to keep packages from starting their services during installation: exit status 101 means "forbidden".
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing for this purpose and for those that it includes.
pub(crate) fn run(purpose: Purpose) -> anyhow::Result<()> {
    let missing: Vec<&Need> = NEEDS
        .iter()
        .filter(|need| purpose.includes(need.purpose) && (need.find)().is_err())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let tools = sh::tools();
    sh::say(format!(
        "For `{}` these are missing and will be installed; what the system has no package for goes to {}:",
        purpose.as_str(),
        tools.display()
    ));
    // Clones share the folder, and may be set up at the same time. After waiting for another one, fewer needs may be
    // missing.
    let _lock = lock(&tools)?;
    let missing: Vec<&Need> = missing.into_iter().filter(|need| (need.find)().is_err()).collect();
    for need in &missing {
        sh::say(format!("  {:<42} {}", need.what, describe(need.remedy)));
    }
    if toolchain::in_path("apt-get").is_none() {
        for line in toolchain::remedies() {
            sh::say(format!("  {line}"));
        }
        bail!("this machine has no apt-get: install the above by its own means, then look with `cargo xtask doctor`");
    }

    let mut packages: Vec<&str> = missing
        .iter()
        .filter_map(|need| match need.remedy {
            Remedy::Packages(names) => Some(names),
            Remedy::Unpacked(_) | Remedy::Linker | Remedy::NewEngine | Remedy::Crate(_) => None,
        })
        .flatten()
        .copied()
        .collect();
    packages.dedup();
    if needs_lists(&missing) {
        sh::run("fetch Debian's lists of packages", apt().args(["-qq", "update"]))?;
    }
    install(&packages)?;
    for need in &missing {
        match need.remedy {
            Remedy::Packages(_) => {}
            Remedy::Unpacked(package) => whole(&tools.join(package), |folder| unpack(package, folder))?,
            Remedy::Linker => linker()?,
            Remedy::Crate(it) => compile(it)?,
            Remedy::NewEngine => whole(&new_engine(), |folder| {
                sh::run(
                    "unpack a newer Docker engine, without installing it",
                    Command::new(sh::workspace().join("tests/lab/get-engine"))
                        .arg("sid")
                        .arg(folder),
                )
            })?,
        }
    }
    for need in missing {
        if let Err(why) = (need.find)() {
            bail!("{} is still missing after it was installed: {why}", need.what);
        }
    }
    Ok(())
}

/// Waits until no other clone installs into the folder of tools, and locks the folder until the file is closed.
pub(crate) fn lock(tools: &Path) -> anyhow::Result<File> {
    let name = tools.display();
    fs::create_dir_all(tools).with_context(|| format!("{name} cannot be made"))?;
    let file = File::create(tools.join("lock")).with_context(|| format!("{name} cannot be written to"))?;
    if file.try_lock().is_err() {
        sh::say(format!("Waiting for another clone that installs into {name}"));
        file.lock().with_context(|| format!("{name} cannot be locked"))?;
    }
    Ok(file)
}

/// Fills a folder, which exists only once it is complete. An interrupted attempt starts anew the next time.
pub(crate) fn whole(folder: &Path, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let part = PathBuf::from(format!("{}.part", folder.display()));
    for old in [&part, folder] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("{} cannot be removed", old.display()))?;
        }
    }
    fs::create_dir_all(&part).with_context(|| format!("{} cannot be made", part.display()))?;
    fill(&part)?;
    fs::rename(&part, folder).with_context(|| format!("{} cannot be put in place", folder.display()))
}

/// A remedy in a few words.
pub(crate) fn describe(remedy: Remedy) -> String {
    match remedy {
        Remedy::Packages(names) => format!("apt-get install {}", names.join(" ")),
        Remedy::Unpacked(name) => format!("Debian's {name}, unpacked, not installed"),
        Remedy::Linker => "compiled (a minute), after Debian's LLVM".to_owned(),
        Remedy::Crate(_) => "compiled (some minutes)".to_owned(),
        Remedy::NewEngine => "Debian sid's docker.io, unpacked, not installed".to_owned(),
    }
}

/// Whether Debian's package lists are needed.
fn needs_lists(missing: &[&Need]) -> bool {
    missing.iter().any(|need| match need.remedy {
        Remedy::Packages(_) | Remedy::Unpacked(_) | Remedy::Linker => true,
        Remedy::NewEngine | Remedy::Crate(_) => false,
    })
}

/// `apt-get`, with `sudo` if the person is not root.
fn apt() -> Command {
    let mut command = as_root("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn as_root(program: &str) -> Command {
    if sh::is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Installs packages, without starting their services.
fn install(packages: &[&str]) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    // Only root can write this file. Otherwise the packages start their services as usual.
    let policy = Path::new(POLICY);
    let ours = !policy.exists() && fs::write(policy, "#!/bin/sh\nexit 101\n").is_ok();
    if ours {
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755)).context(POLICY)?;
    }
    let installed = sh::run(
        "install Debian's packages; the services in them are not started",
        apt()
            .args(["install", "-qq", "-y", "--no-install-recommends"])
            .args(packages),
    );
    if ours {
        fs::remove_file(policy).with_context(|| format!("{POLICY} cannot be removed: remove it by hand"))?;
    }
    installed
}

/// Unpacks one of Debian's packages into a folder, without installing it.
fn unpack(package: &str, folder: &Path) -> anyhow::Result<()> {
    let name = folder.display();
    fs::create_dir_all(folder).with_context(|| format!("{name}"))?;
    sh::run(
        &format!("fetch {package}"),
        Command::new("apt-get")
            .args(["-qq", "-o", "APT::Sandbox::User=root", "download", package])
            .current_dir(folder),
    )?;
    for entry in fs::read_dir(folder).with_context(|| format!("{name}"))? {
        let path = entry.with_context(|| format!("{name}"))?.path();
        if path.extension().is_some_and(|it| it == "deb") {
            sh::run(
                &format!("unpack {package}"),
                Command::new("dpkg").arg("-x").arg(&path).arg(folder),
            )?;
            fs::remove_file(&path).with_context(|| format!("{}", path.display()))?;
        }
    }
    Ok(())
}

/// Compiles bpf-linker with the LLVM version of the compiler of kernel programs.
fn linker() -> anyhow::Result<()> {
    let compiler = toolchain::find_compiler(endian()).map_err(|tried| anyhow::anyhow!(tried.join("; ")))?;
    let major = compiler.llvm_major();
    let llvm = [
        format!("llvm-{major}-dev"),
        format!("libpolly-{major}-dev"),
        "zlib1g-dev".to_owned(),
        "libzstd-dev".to_owned(),
        "g++".to_owned(),
    ];
    install(&llvm.iter().map(String::as_str).collect::<Vec<_>>())?;
    sh::run(
        "compile bpf-linker (a minute, once)",
        sh::cargo([
            "install",
            "bpf-linker",
            "--version",
            toolchain::LINKER_VERSION,
            "--locked",
        ])
        .args(["--no-default-features", "--features", &format!("llvm-{major}")])
        .arg("--root")
        .arg(toolchain::linker_root(&sh::tools(), major))
        // Otherwise its build script asks the first llvm-config in `PATH`, which may belong to another LLVM.
        .env("LLVM_PREFIX", format!("/usr/lib/llvm-{major}"))
        // In the workspace, cargo would use our profiles and lints.
        .current_dir("/"),
    )
}

/// Compiles a program from crates.io.
fn compile(it: &Crate) -> anyhow::Result<()> {
    sh::run(
        &format!("compile {} (some minutes, once)", it.name),
        sh::cargo(["install", it.name, "--version", it.version, "--locked"])
            .args(it.flags)
            .arg("--root")
            .arg(it.root())
            // In the workspace, cargo would use our profiles and lints.
            .current_dir("/"),
    )
}
