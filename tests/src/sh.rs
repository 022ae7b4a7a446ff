//! Runs other programs to their end.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

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
    result(command, &output)
}

/// Runs the command with this input, and returns its output. The command has to read it all before it writes much.
///
/// # Errors
/// As [`output`].
pub fn fed(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let program = command.get_program().to_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be run", program.display()))?;
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    let said = result(command, &output)?;
    written.transpose()?;
    Ok(said)
}

fn result(command: &Command, output: &Output) -> anyhow::Result<String> {
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
