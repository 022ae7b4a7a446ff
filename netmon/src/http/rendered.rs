//! A page in every form that clients ask for. Each form is made when the first client asks for it, and shared by all.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write as _},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::accept::Format;

/// More compression costs more time than it saves, because the page crosses only one network.
const COMPRESSION: Compression = Compression::fast();

/// Converts OpenMetrics to Prometheus' text format 0.0.4. Returns pieces in their order. Those of the page are not
/// copied.
pub type ToText = fn(&str) -> Vec<Cow<'_, str>>;

/// A page of metrics.
pub struct Rendered {
    page: Page,
    open_metrics: Arc<[Bytes]>,
    to_text: ToText,
    text: OnceLock<Arc<[Bytes]>>,
    compressed: [OnceLock<Arc<[Bytes]>>; 2],
}

impl Rendered {
    /// A page in OpenMetrics, and how it is converted.
    #[must_use]
    pub fn new(open_metrics: String, to_text: ToText) -> Self {
        let page = Page(Arc::new(open_metrics));
        Self {
            open_metrics: Arc::new([page.bytes()]),
            page,
            to_text,
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
        let pieces = (self.to_text)(&self.page.0).into_iter().map(|piece| match piece {
            Cow::Borrowed(piece) if is_within(piece.as_bytes(), &page) => page.slice_ref(piece.as_bytes()),
            piece @ (Cow::Borrowed(_) | Cow::Owned(_)) => piece.into_owned().into(),
        });
        pieces.collect()
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

fn is_within(piece: &[u8], page: &[u8]) -> bool {
    let (piece, page) = (piece.as_ptr_range(), page.as_ptr_range());
    page.start <= piece.start && piece.end <= page.end
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
    use std::borrow::Cow;

    use super::{Format, Rendered};

    fn without_end(page: &str) -> Vec<Cow<'_, str>> {
        let own = "\n".to_owned();
        vec!["# A page.".into(), own.into(), page.trim_end_matches("# EOF\n").into()]
    }

    #[test]
    fn every_form_is_made_once_and_shared() {
        let page = Rendered::new("a 1\n# EOF\n".to_owned(), without_end);
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
        assert_eq!(text[2].as_ptr(), open_metrics[0].as_ptr(), "the text is a copy");
    }
}
