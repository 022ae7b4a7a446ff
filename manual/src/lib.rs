//! netmon's manual page and shell completions, generated from its command line. So they can neither name a flag that
//! does not exist nor omit one.
//!
//! A separate package, because the generator does not belong in the daemon. Must not know where the files are
//! installed.

pub mod completions;
pub mod page;

use clap::{Command, CommandFactory as _};
use netmon::config::Config;

/// The prefix of a flag that `--help` hides because it is the opposite of another one.
const OPPOSITE: &str = "no-";
/// The prefix of a flag that switches a collector on.
const COLLECTOR: &str = "collector.";

/// The prefix of a flag for netmon's own tests.
#[cfg(test)]
const FOR_TESTS: &str = "debug.";

/// The command line with all flags. `--help` leaves out the flags that switch collectors off.
#[must_use]
pub fn command() -> Command {
    Config::command().mut_args(|argument| {
        let Some(long) = argument.get_long().map(str::to_owned) else {
            return argument;
        };
        match long.strip_prefix(OPPOSITE) {
            Some(opposite) => argument.hide(false).help(format!("Without what --{opposite} gives")),
            // The values of a boolean need no list.
            None if long.starts_with(COLLECTOR) => argument.value_name("BOOLEAN").hide_possible_values(true),
            None => argument,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{FOR_TESTS, command};

    #[test]
    fn nothing_that_can_be_said_is_hidden_or_unexplained() {
        for argument in command().get_arguments() {
            let is_for_tests = argument.get_long().is_some_and(|long| long.starts_with(FOR_TESTS));
            assert_eq!(argument.is_hide_set(), is_for_tests, "{argument}");
            assert!(argument.get_help().is_some(), "{argument}");
        }
    }
}
