//! Parses the arguments, starts netmon, and turns the outcome into an exit status. It is 0 after an end that was
//! asked for, 2 for wrong usage and for a doctor that could not look, and 1 for everything else, with one sentence on standard error. A task of a Swarm service
//! whose kernel programs were refused ends with 3 ([`Refused`]).

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;
use netmon::{
    app::{self, AppError, End, Refused},
    collectors,
    config::{Command, Config},
    doctor,
    http::healthcheck,
    logging,
    privilege::{self, ThreadRole},
    process,
};

/// Threads that serve. Scrapes, and watching the engine, have threads of their own.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let config = Config::parse();
    let outcome = match config.command {
        Some(Command::Metrics { markdown }) => print(&if markdown {
            collectors::markdown()
        } else {
            collectors::table()
        })
        .map(|()| End::Whole),
        Some(Command::Healthcheck) => healthcheck::ask(&config.listen)
            .map(|()| End::Whole)
            .map_err(Into::into),
        Some(Command::Doctor { json }) => return examine(&config, json),
        None => run(config),
    };
    match outcome {
        Ok(End::Whole) => ExitCode::SUCCESS,
        Ok(End::WithoutPrograms) => ExitCode::from(Refused::STATUS),
        Err(error) => {
            // The sentence includes the cause of the error. If writing it fails, too, nothing is left to be done.
            let _written = writeln!(std::io::stderr(), "netmon: {error}");
            match error.downcast_ref() {
                Some(AppError::Refused(_)) => ExitCode::from(Refused::STATUS),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(config: Config) -> anyhow::Result<End> {
    // Before any thread is started.
    process::share_memory();
    logging::start(config.log_level, config.log_format);
    privilege::begin().map_err(|error| anyhow::anyhow!("cannot give up capabilities: {error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(64)
        // These threads talk to clients.
        .on_thread_start(|| privilege::keep_or_warn(ThreadRole::Serve))
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(app::run(config));
    // Nobody waits for a scrape that still runs.
    runtime.shutdown_background();
    Ok(outcome?)
}

/// Says what is wrong.
fn examine(config: &Config, as_json: bool) -> ExitCode {
    let diagnosis = doctor::ask(&config.listen, as_json);
    let status = diagnosis.and_then(|diagnosis| print(&diagnosis.text).map(|()| diagnosis.status));
    status.map_or_else(
        |error| {
            // The sentence includes the cause of the error. If writing it fails, too, nothing is left to be done.
            let _written = writeln!(std::io::stderr(), "netmon: {error}");
            ExitCode::from(doctor::BLIND)
        },
        ExitCode::from,
    )
}

fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // `netmon metrics | head` has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
