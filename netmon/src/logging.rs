//! The log: lines on standard error.
//!
//! The only place that names tracing-subscriber.

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};

/// Begins to log. A second call changes nothing.
pub fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Libraries tell a developer of theirs: aya a thousand lines for each interface, bollard every answer it decodes.
    let filter = EnvFilter::new(format!("{level},aya=warn,aya_obj=warn,bollard=warn,hyper=warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Else a line that cannot be written, as on a full disk, is told of on standard error, and if that cannot be
        // written either, by a panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // Fails when somebody else's log was started before: then that is where lines go.
    let _started = match format {
        LogFormat::Logfmt => log.with_ansi(false).with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}
