//! Shell completions for `netmon`.

use clap_complete::{Shell, generate};

use crate::command;

/// Each shell, with the file name under which it looks for netmon's completions.
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
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if shell == Shell::Fish { for_fish(&text) } else { text }
}

/// clap's fish completions find the command with `argparse`. It rejects flags with a dot in the name, and then
/// nothing is completed. So this replaces clap's function that finds the command.
fn for_fish(text: &str) -> String {
    const BEGIN: &str = "function __fish_netmon_needs_command\n";
    const END: &str = "\nend\n";
    let commands: Vec<String> = command().get_subcommands().map(|it| it.get_name().to_owned()).collect();
    let rest = text
        .split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(END))
        .map_or(text, |(_, rest)| rest);
    format!(
        "# Prints the command that has been said, if one has.\n{BEGIN}    for word in (commandline -opc)[2..-1]\n        if \
         contains -- $word {} help\n            echo $word\n            return 1\n        end\n    end\n    return 0{END}{rest}",
        commands.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;

    use super::{SHELLS, text};
    use crate::command;

    #[test]
    fn fish_is_not_asked_to_read_flags_with_dots() {
        let text = text(Shell::Fish);
        assert!(!text.contains("argparse"), "{text}");
        assert_eq!(
            text.matches("function __fish_netmon_needs_command\n").count(),
            1,
            "{text}"
        );
        assert!(
            text.contains("contains -- $word healthcheck doctor metrics help\n"),
            "{text}"
        );
    }

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
