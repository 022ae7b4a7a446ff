//! The manual page: the flags of the command line, and what else a user at a terminal needs to know.

use std::io;

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, roman},
};
use netmon::version;

use crate::command;

/// The name of the page's file.
pub const FILE: &str = "netmon.1";

/// The environment variables other than those of the flags.
const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "NETMON_*",
        "Every flag has a twin: --web.listen-address is NETMON_WEB_LISTEN_ADDRESS. What a flag says counts more. A \
         collector is switched off by NETMON_COLLECTOR_NAME=false.",
    ),
    (
        "DOCKER_HOST",
        "The engine's address, where neither --docker.host nor its twin gives one.",
    ),
    (
        "NOTIFY_SOCKET",
        "Set by systemd: there netmon says when it has started, and when it ends.",
    ),
];

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "netmon was asked to end, or the command did what it is for."),
    (
        "1",
        "It cannot do what it is for: a sentence on standard error says why, and what to do.",
    ),
    ("2", "Wrong usage."),
];

const SIGNALS: &[(&str, &str)] = &[(
    "SIGTERM, SIGINT",
    "netmon lets go of the interfaces, and ends. There is none to make it read its settings again: the file of \
     --web.config.file and the certificates named there are read again when they change.",
)];

const FILES: &[(&str, &str)] = &[
    (
        "/etc/default/netmon",
        "Settings of the service, as variables of its environment.",
    ),
    ("/var/run/docker.sock", "The engine's socket, unless told otherwise."),
    (
        "/var/run/docker/netns",
        "Where the engine mounts containers' network namespaces.",
    ),
    (
        "/usr/share/netmon",
        "Dashboards for Grafana, rules for Prometheus, and what to do when an alert fires.",
    ),
];

const EXAMPLES: &[(&str, &str)] = &[
    (
        "netmon",
        "Counts, and serves http://localhost:10095/metrics. Needs root.",
    ),
    (
        "netmon --web.listen-address=127.0.0.1:10095 --no-collector.members",
        "Serves this machine only, and does not ask who else is on overlay networks.",
    ),
    ("netmon healthcheck", "Asks the netmon that runs whether it is well."),
    ("netmon metrics", "Lists every metric and what it means."),
    (
        "journalctl --unit netmon",
        "What the service has logged: netmon logs to standard error.",
    ),
];

/// The page in roff, dated with this day (`YYYY-MM-DD`).
///
/// # Errors
/// None are known: it is written into memory.
pub fn text(date: &str) -> io::Result<String> {
    let command = command().disable_help_subcommand(true);
    let page = Man::new(command.clone())
        .title("NETMON")
        .date(date)
        .source(format!("netmon {}", version::VERSION))
        .manual("netmon");
    let mut bytes = Vec::new();
    page.render_title(&mut bytes)?;
    page.render_name_section(&mut bytes)?;
    synopsis().to_writer(&mut bytes)?;
    page.render_description_section(&mut bytes)?;
    commands(&command).to_writer(&mut bytes)?;
    page.render_options_section(&mut bytes)?;
    for (heading, entries) in [
        ("ENVIRONMENT", ENVIRONMENT),
        ("EXIT STATUS", EXIT_STATUS),
        ("SIGNALS", SIGNALS),
        ("FILES", FILES),
        ("EXAMPLES", EXAMPLES),
    ] {
        section(heading, entries).to_writer(&mut bytes)?;
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(concat!(
        "docker(1), systemd.exec(5), ",
        env!("CARGO_PKG_REPOSITORY")
    ))]);
    roff.to_writer(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How to call netmon. A list of all flags would fill a screen.
fn synopsis() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold("netmon"), roman(" [flags]")]);
    roff.control("br", []);
    roff.text([bold("netmon"), roman(" [flags] "), bold("command")]);
    roff
}

/// The commands with their flags. They have no pages of their own.
fn commands(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for command in command.get_subcommands() {
        roff.control("TP", []);
        roff.text([bold(command.get_name())]);
        roff.text([roman(words(command.get_about()))]);
        for argument in command.get_arguments() {
            if let Some(long) = argument.get_long().filter(|long| *long != "help") {
                roff.control("IP", []);
                roff.text([
                    bold(format!("--{long}")),
                    roman(": "),
                    roman(words(argument.get_help())),
                ]);
            }
        }
    }
    roff
}

fn words(text: Option<&impl ToString>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

fn section(heading: &str, entries: &[(&str, &str)]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (name, meaning) in entries {
        let (name, meaning): (Inline, Inline) = (bold(*name), roman(*meaning));
        roff.control("TP", []);
        roff.text([name]);
        roff.text([meaning]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::command;

    /// The page as a reader sees it, without roff's escapes.
    fn read() -> String {
        text("2026-01-01")
            .expect("a page")
            .replace("\\-", "-")
            .replace("\\fB", "")
            .replace("\\fI", "")
            .replace("\\fR", "")
    }

    #[test]
    fn the_page_has_every_flag_with_its_variable_and_every_command() {
        let page = read();
        let mut command = command();
        command.build();
        for argument in command.get_arguments().filter(|it| !it.is_hide_set()) {
            let flag = format!("--{}", argument.get_long().expect("a long name"));
            // `-h, --help` begins with the short flag.
            assert!(
                [format!("\n{flag}"), format!(", {flag}")]
                    .iter()
                    .any(|it| page.contains(it)),
                "{flag} is not in the page: {page}"
            );
            if let Some(variable) = argument.get_env() {
                assert!(page.contains(&*variable.to_string_lossy()), "{}", variable.display());
            }
            for value in argument
                .get_possible_values()
                .iter()
                .filter(|_| !argument.is_hide_possible_values_set())
            {
                assert!(page.contains(value.get_name()), "{} of {flag}", value.get_name());
            }
        }
        for command in command.get_subcommands().filter(|it| it.get_name() != "help") {
            assert!(
                page.contains(&format!("\n{}\n", command.get_name())),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn the_page_says_how_netmon_ends() {
        let page = read();
        let (_, statuses) = page.split_once(".SH \"EXIT STATUS\"\n").expect("the section");
        for status in ["0", "1", "2"] {
            assert!(statuses.contains(&format!(".TP\n{status}\n")), "{statuses}");
        }
    }
}
