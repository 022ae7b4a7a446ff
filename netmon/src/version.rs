//! Which build this is.

/// The release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from.
pub const REVISION: &str = match option_env!("NETMON_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// The compiler that built it.
pub const RUSTC: &str = match option_env!("NETMON_RUSTC") {
    Some(rustc) => rustc,
    None => "unknown",
};
