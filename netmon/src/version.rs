//! Which build this is, as the build script found out.

/// The release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from; `unknown` outside a repository.
pub const REVISION: &str = env!("NETMON_REVISION");

/// The compiler that built it.
pub const RUSTC: &str = env!("NETMON_RUSTC");

/// Release and commit, for people.
pub const LONG: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("NETMON_REVISION"), ")");
