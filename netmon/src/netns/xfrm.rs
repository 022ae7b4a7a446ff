//! Encryption errors (`IPsec`), as procfs shows them to the calling thread's namespace.

pub mod policies;

use std::{fs, io, sync::Arc};

use crate::model::overlay::XfrmErrors;

/// Missing if the kernel was built without these statistics.
const STATISTICS: &str = "/proc/thread-self/net/xfrm_stat";
/// How many kinds of errors are read. Linux 6.18 has 30.
pub(super) const MOST: usize = 64;

/// Reads the errors. `None` if the kernel does not count them.
///
/// # Errors
/// The file exists, but cannot be read.
pub fn errors() -> io::Result<Option<XfrmErrors>> {
    match fs::read_to_string(STATISTICS) {
        Ok(text) => Ok(Some(parse(&text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A name and a value on each line. Every one of them is an error, and the names are the kernel's.
pub(super) fn parse(text: &str) -> XfrmErrors {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (name, count) = (words.next()?, words.next()?.parse().ok()?);
        Some((Arc::from(name), count))
    };
    text.lines().filter_map(line).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn every_reason_is_read_those_without_errors_too() {
        let text = "XfrmInError                     \t0\nXfrmOutNoStates                 \t7\n\nnonsense\nXfrmInNoStates\tmany\n";
        let errors: Vec<_> = parse(text).into_iter().collect();
        assert_eq!(errors, [("XfrmInError".into(), 0), ("XfrmOutNoStates".into(), 7)]);
        assert!(parse("").is_empty());
    }
}
