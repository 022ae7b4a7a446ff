//! A page before it becomes text: families, rows, and the limits on them.
//!
//! A [`rows::Schema`] declares families that share their labels. [`rows::Rows`] are the series of one scrape. A row
//! has a [`key::Key`] (who) and a value for each family. [`limits::Limits`] sum up the rows over a limit.
//!
//! Pure. Does not know which families there are, where values come from, or how a page is written.

pub mod family;
pub mod key;
pub mod labels;
pub mod limits;
pub mod rows;
pub mod value;
