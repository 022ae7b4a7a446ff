//! A page in every form that clients ask for. Each form is made when the first client asks for it, and shared by all.

use std::{
    fmt,
    io::{self, Write as _},
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::accept::Format;

/// More compression costs more time than it saves, because the page crosses only one network.
const COMPRESSION: Compression = Compression::fast();

/// A page of metrics.
pub struct Rendered {
    page: Page,
    open_metrics: Arc<[Bytes]>,
    older: Vec<(Range<usize>, String)>,
    text: OnceLock<Arc<[Bytes]>>,
    compressed: [OnceLock<Arc<[Bytes]>>; 2],
}

impl Rendered {
    /// A page in OpenMetrics, and what Prometheus' text format 0.0.4 has in place of these parts of it, in their order.
    #[must_use]
    pub fn new(open_metrics: String, older: Vec<(Range<usize>, String)>) -> Self {
        let page = Page(Arc::new(open_metrics));
        Self {
            open_metrics: Arc::new([page.bytes()]),
            page,
            older,
            text: OnceLock::new(),
            compressed: [OnceLock::new(), OnceLock::new()],
        }
    }

    /// The page in this form, in pieces.
    pub(super) fn get(&self, format: Format, is_compressed: bool) -> io::Result<Arc<[Bytes]>> {
        let plain = match format {
            Format::OpenMetrics => &self.open_metrics,
            Format::Text => self.text.get_or_init(|| self.text()),
        };
        if !is_compressed {
            return Ok(Arc::clone(plain));
        }
        let kept = match format {
            Format::OpenMetrics => &self.compressed[0],
            Format::Text => &self.compressed[1],
        };
        if let Some(page) = kept.get() {
            return Ok(Arc::clone(page));
        }
        let page = Arc::new([compress(plain)?]);
        Ok(Arc::clone(kept.get_or_init(|| page)))
    }

    /// The text shares most of its memory with the page.
    fn text(&self) -> Arc<[Bytes]> {
        let page = self.page.bytes();
        let mut pieces = Vec::with_capacity(2 * self.older.len() + 1);
        let mut begin = 0;
        for (part, older) in &self.older {
            pieces.extend([page.slice(begin..part.start), Bytes::copy_from_slice(older.as_bytes())]);
            begin = part.end;
        }
        pieces.push(page.slice(begin..));
        pieces.retain(|piece| !piece.is_empty());
        pieces.into()
    }
}

/// The text of the page, which its forms share.
#[derive(Clone)]
struct Page(Arc<String>);

impl Page {
    fn bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendered")
            .field("bytes", &self.page.0.len())
            .finish_non_exhaustive()
    }
}

fn len(page: &[Bytes]) -> usize {
    page.iter().map(Bytes::len).sum()
}

fn compress(page: &[Bytes]) -> io::Result<Bytes> {
    // Metrics shrink to about a twentieth.
    let mut encoder = GzEncoder::new(Vec::with_capacity(len(page) / 16), COMPRESSION);
    for piece in page {
        encoder.write_all(piece)?;
    }
    Ok(encoder.finish()?.into())
}

#[cfg(test)]
mod tests {
    use super::{Format, Rendered};

    #[test]
    fn every_form_is_made_once_and_shared() {
        let older = vec![(0..2, "# A page.\n".to_owned()), (6..12, String::new())];
        let page = Rendered::new("# a 1\n# EOF\n".to_owned(), older);
        for format in [Format::OpenMetrics, Format::Text] {
            for is_compressed in [false, true] {
                let (one, other) = (page.get(format, is_compressed), page.get(format, is_compressed));
                let (one, other) = (one.expect("a page"), other.expect("a page"));
                assert_eq!(one.as_ptr(), other.as_ptr());
                assert_eq!(one[0].starts_with(&[0x1f, 0x8b]), is_compressed);
            }
        }
        let text = page.get(Format::Text, false).expect("a page");
        assert_eq!(text.concat(), b"# A page.\na 1\n");
        let open_metrics = page.get(Format::OpenMetrics, false).expect("a page");
        assert_eq!(text[1].as_ptr(), open_metrics[0][2..].as_ptr(), "the text is a copy");
    }
}
