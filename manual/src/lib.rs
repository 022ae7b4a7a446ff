//! netmon's manual page and the shells' completions, made of its own command line, so that neither can name a flag that
//! is not there or leave one out.
//!
//! A package of its own: what makes them is not in the daemon. Must not know where they are installed.

pub mod completions;
pub mod page;

use clap::{Command, CommandFactory as _};
use netmon::config::Config;

/// What a flag is called that is not shown by `--help`, because it is another one's opposite.
const OPPOSITE: &str = "no-";
/// What a flag that switches a collector on is called.
const COLLECTOR: &str = "collector.";

/// What a flag is called that is for netmon's own tests.
#[cfg(test)]
const FOR_TESTS: &str = "debug.";

/// The command line with everything that can be said on it: `--help` leaves out the flags that switch collectors off.
#[must_use]
pub fn command() -> Command {
    Config::command().mut_args(|argument| {
        let Some(long) = argument.get_long().map(str::to_owned) else {
            return argument;
        };
        match long.strip_prefix(OPPOSITE) {
            Some(opposite) => argument.hide(false).help(format!("Without what --{opposite} gives")),
            // That these are true or false needs no list.
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
