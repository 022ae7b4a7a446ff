//! What shells complete after `netmon`.

use clap_complete::{Shell, generate};

use crate::command;

/// Each shell with the name under which it looks for the completions of netmon.
pub const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "netmon.bash"),
    (Shell::Zsh, "_netmon"),
    (Shell::Fish, "netmon.fish"),
];

/// The completions for a shell, in its own language.
#[must_use]
pub fn text(shell: Shell) -> String {
    let mut bytes = Vec::new();
    generate(shell, &mut command(), "netmon", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{SHELLS, text};
    use crate::command;

    #[test]
    fn every_shell_completes_every_flag_and_command() {
        let mut command = command();
        command.build();
        for (shell, _) in SHELLS {
            let text = text(shell);
            for flag in command.get_arguments().filter_map(|it| it.get_long()) {
                assert!(text.contains(flag), "{shell} does not complete --{flag}");
            }
            for name in command.get_subcommands().map(clap::Command::get_name) {
                assert!(text.contains(name), "{shell} does not complete {name}");
            }
        }
    }
}
