//! What is sent to a client: pieces of text, which are not copied.

use std::{io::IoSlice, sync::Arc};

use bytes::{Buf, Bytes};

use super::clients::Receiving;

/// The body of an answer. All clients that receive the same page share its pieces.
#[derive(Debug)]
pub(super) struct Body {
    pieces: Arc<[Bytes]>,
    /// The piece to send next, and how much of it was sent.
    at: (usize, usize),
    left: usize,
    /// Dropped when everything was sent.
    _receiving: Option<Receiving>,
}

impl Body {
    /// A page for a client.
    pub(super) fn page(pieces: Arc<[Bytes]>, receiving: Receiving) -> Self {
        Self::new(pieces, Some(receiving))
    }

    fn new(pieces: Arc<[Bytes]>, receiving: Option<Receiving>) -> Self {
        Self {
            left: pieces.iter().map(Bytes::len).sum(),
            pieces,
            at: (0, 0),
            _receiving: receiving,
        }
    }

    /// What is left to be sent.
    fn rest(&self) -> impl Iterator<Item = &[u8]> {
        let (piece, sent) = self.at;
        let rest = self.pieces.iter().skip(piece).enumerate();
        let rest = rest.map(move |(number, piece)| &piece[if number == 0 { sent } else { 0 }..]);
        rest.filter(|piece| !piece.is_empty())
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(text: T) -> Self {
        Self::new(Arc::new([text.into()]), None)
    }
}

impl Buf for Body {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.rest().next().unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, parts: &mut [IoSlice<'a>]) -> usize {
        let filled = parts.iter_mut().zip(self.rest());
        filled.map(|(part, piece)| *part = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.left, "{count} bytes of {} were sent", self.left);
        self.left -= count;
        let (mut piece, mut sent) = (self.at.0, self.at.1 + count);
        while let Some(bytes) = self.pieces.get(piece)
            && sent >= bytes.len()
        {
            sent -= bytes.len();
            piece += 1;
        }
        self.at = (piece, sent);
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use bytes::{Buf as _, Bytes};
    use proptest::prelude::{prop, prop_assert_eq, proptest};

    use super::Body;

    fn body(pieces: &[&'static str]) -> Body {
        Body::new(pieces.iter().copied().map(Bytes::from).collect(), None)
    }

    #[test]
    fn several_pieces_are_sent_at_once() {
        let mut body = body(&["", "one", "", "two", "three"]);
        body.advance(1);
        let mut parts = [IoSlice::new(&[]); 2];
        assert_eq!(body.chunks_vectored(&mut parts), 2);
        assert_eq!(parts.map(|part| part.to_vec()), [b"ne", &b"two"[..]]);
        body.advance(10);
        assert!(!body.has_remaining());
        assert_eq!(body.chunks_vectored(&mut [IoSlice::new(&[])]), 0);
        assert_eq!(body.chunk(), b"");
    }

    #[test]
    fn nothing_is_a_body_too() {
        for mut body in [body(&[]), body(&["", ""]), Body::from("")] {
            assert_eq!((body.remaining(), body.chunk()), (0, &b""[..]));
            body.advance(0);
            assert!(!body.has_remaining());
        }
    }

    proptest! {
        /// However much is sent at a time, all of it arrives, in order.
        #[test]
        fn everything_is_sent_once(
            pieces in prop::collection::vec(prop::sample::select(vec!["", "a", "bc", "def", "ghijklm"]), 0..6),
            steps in prop::collection::vec(1..5_usize, 64),
        ) {
            let mut body = body(&pieces);
            let mut sent = String::new();
            for step in steps {
                let mut parts = [IoSlice::new(&[]); 3];
                let filled = body.chunks_vectored(&mut parts);
                let there: Vec<u8> = parts[..filled].iter().flat_map(|part| part.iter().copied()).collect();
                prop_assert_eq!(filled == 0, !body.has_remaining());
                prop_assert_eq!(body.chunk(), parts.first().map_or(&b""[..], |part| part));
                let step = step.min(there.len());
                sent.push_str(std::str::from_utf8(&there[..step]).expect("text"));
                body.advance(step);
            }
            prop_assert_eq!(body.remaining(), 0);
            prop_assert_eq!(sent, pieces.concat());
        }
    }
}
