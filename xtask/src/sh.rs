//! Runs other programs so that a person can follow: the purpose, the command itself, and how long it took.
#![expect(clippy::print_stderr, reason = "chores talk to the person at the terminal")]

use std::{
    ffi::OsStr,
    fmt::Display,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, bail};

use crate::kernel_programs::toolchain::tools_folder;

/// The workspace's folder.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_path_buf()
}

/// The folder of tools that only this project uses. All clones share it.
pub(crate) fn tools() -> PathBuf {
    tools_folder(&workspace())
}

/// The cargo that runs this chore.
pub(crate) fn cargo<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace()).args(arguments);
    command
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

/// Prints a line for the person.
pub(crate) fn say(line: impl Display) {
    eprintln!("{line}");
}

/// Prints why the chore failed.
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("\nxtask: {error:#}");
}

/// Runs a command. Prints the command before and the time after it; the command's output goes to ours.
pub(crate) fn run(what: &str, command: &mut Command) -> anyhow::Result<()> {
    eprintln!("\n== {what}");
    eprintln!("   $ {}", line(command));
    let begin = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("{} cannot be run", command.get_program().display()))?;
    if !status.success() {
        bail!("{what}: `{}` failed ({status})", line(command));
    }
    eprintln!("   done in {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Like [`run`], but the command's standard output goes to a file.
pub(crate) fn run_into(what: &str, command: &mut Command, file: &Path) -> anyhow::Result<()> {
    let output = fs::File::create(file).with_context(|| format!("{} cannot be written", file.display()))?;
    run(what, command.stdout(output))
}

/// The command's output. `None` if it could not run or failed.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The command as a person would type it.
fn line(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        let value = value?;
        Some(format!("{}={}", name.display(), value.display()))
    });
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned());
    variables.chain(words).collect::<Vec<_>>().join(" ")
}
