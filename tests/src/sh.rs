//! Runs other programs to their end.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Runs the command, and returns its output.
///
/// # Errors
/// The command cannot run, or fails. The error contains its output.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} cannot be run", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed ({}): {}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The command of a line of words separated by blanks.
#[must_use]
pub fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Runs a line of words separated by blanks.
///
/// # Errors
/// As [`output`].
pub fn run(line: &str) -> anyhow::Result<String> {
    output(&mut command(line))
}
