//! netmon beside real engines.
