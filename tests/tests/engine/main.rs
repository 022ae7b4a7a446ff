//! netmon beside real engines.

mod drivers;
mod ground;
