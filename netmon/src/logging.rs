//! The log: lines on standard error.
//!
//! The only place that names tracing-subscriber.

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};

/// Starts the log. A second call changes nothing.
pub fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Libraries log for their own developers: aya a thousand lines for each interface, bollard every answer it
    // decodes.
    let filter = EnvFilter::new(format!("{level},aya=warn,aya_obj=warn,bollard=warn,hyper=warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Otherwise a line that cannot be written, as on a full disk, is reported on standard error. If that cannot
        // be written either, tracing-subscriber panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // Fails if somebody else has started a log before: then lines go there.
    let _started = match format {
        LogFormat::Logfmt => log.with_ansi(false).with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}
