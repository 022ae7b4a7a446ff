//! Splits an endless answer into lines. It holds no more of it in memory than the longest permitted line.

use bytes::BytesMut;

/// The longest line that is accepted. An event carries all labels of its container, and the engine has no limit for
/// them. 1 MiB is far more than any reasonable labels need.
const LONGEST: usize = 1 << 20;

/// Received bytes that are not a whole line yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: BytesMut,
    /// How many bytes of the buffer are known to contain no line end.
    searched: usize,
    /// The beginning of the line was discarded, and its rest will be as well.
    overlong: bool,
}

/// A line without its line end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The complete line.
    Whole(BytesMut),
    /// The line was longer than permitted.
    TooLong,
}

impl Lines {
    /// Adds received bytes. Call [`Lines::next`] until it returns `None` before the next call.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line. Empty lines are skipped.
    pub(super) fn next(&mut self) -> Option<Line> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.searched > LONGEST {
                    self.overlong = true;
                    self.buffer = BytesMut::new();
                    self.searched = 0;
                }
                return None;
            };
            let mut line = self.buffer.split_to(self.searched + at + 1);
            line.truncate(line.len() - 1);
            self.searched = 0;
            if std::mem::take(&mut self.overlong) || line.len() > LONGEST {
                return Some(Line::TooLong);
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(Line::Whole(line));
            }
        }
    }

    /// Whether a line has begun and not ended.
    pub(super) fn has_rest(&self) -> bool {
        self.overlong || !self.buffer.iter().all(u8::is_ascii_whitespace)
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Line, Lines};

    /// Stands for a line that was too long.
    const TOO_LONG: &str = "(too long)";

    fn take(lines: &mut Lines) -> Vec<String> {
        std::iter::from_fn(|| lines.next())
            .map(|line| match line {
                Line::Whole(line) => String::from_utf8_lossy(&line).into_owned(),
                Line::TooLong => TOO_LONG.to_owned(),
            })
            .collect()
    }

    #[test]
    fn a_line_may_come_in_pieces_and_pieces_may_hold_several_lines() {
        let mut lines = Lines::default();
        lines.push(b"on");
        assert_eq!(take(&mut lines), [""; 0]);
        assert!(lines.has_rest());
        lines.push(b"e\ntwo\nthr");
        assert_eq!(take(&mut lines), ["one", "two"]);
        lines.push(b"ee\n");
        assert_eq!(take(&mut lines), ["three"]);
        assert!(!lines.has_rest());
    }

    #[test]
    fn empty_lines_are_left_out() {
        let mut lines = Lines::default();
        lines.push(b"\n\r\n  \none\n\n");
        assert_eq!(take(&mut lines), ["one"]);
    }

    #[test]
    fn a_line_without_an_end_is_given_up_and_the_next_one_is_read() {
        let mut lines = Lines::default();
        for _ in 0..40 {
            lines.push(&vec![b'x'; LONGEST / 8]);
            assert_eq!(take(&mut lines), [""; 0]);
            assert!(lines.buffer.capacity() <= 4 * LONGEST, "the buffer grows and grows");
        }
        lines.push(b"x\nnext\n");
        assert_eq!(take(&mut lines), [TOO_LONG, "next"]);
    }
}
