//! Parses, starts, and turns the outcome into an exit status: 0 for an end that was asked for, 2 for wrong usage, 1 for
//! everything else, with one sentence on standard error.

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;
use netmon::{
    app,
    config::{Command, Config},
    http::healthcheck,
    logging, metrics,
    privilege::{self, ThreadRole},
    process,
};

/// Threads that serve. Scrapes, and following the engine, have threads of their own.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let config = Config::parse();
    let outcome = match config.command {
        Some(Command::Metrics { markdown }) => print(&if markdown {
            metrics::markdown()
        } else {
            metrics::table()
        }),
        Some(Command::Healthcheck) => healthcheck::ask(&config.listen).map_err(Into::into),
        None => run(config),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What caused an error is in its sentence. Nothing is left to be done when this fails, too.
            let _written = writeln!(std::io::stderr(), "netmon: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    // Before there are threads.
    process::share_memory();
    logging::start(config.log_level, config.log_format);
    privilege::begin().map_err(|error| anyhow::anyhow!("cannot give up capabilities: {error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(64)
        // They talk to clients.
        .on_thread_start(|| privilege::keep_or_warn(ThreadRole::Serve))
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(app::run(config));
    // A scrape that still runs is nobody's any more.
    runtime.shutdown_background();
    Ok(outcome?)
}

fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // `netmon metrics | head` has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
