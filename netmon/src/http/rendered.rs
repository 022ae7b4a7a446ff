//! A page in every form that clients ask for. Each form is made when the first client asks for it, and shared by all.

use std::{
    fmt,
    io::{self, Write as _},
    sync::OnceLock,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::accept::Format;

/// More compression costs more time than it saves, because the page crosses only one network.
const COMPRESSION: Compression = Compression::fast();

/// A page of metrics.
pub struct Rendered {
    open_metrics: Bytes,
    to_text: fn(&str) -> String,
    text: OnceLock<Bytes>,
    compressed: [OnceLock<Bytes>; 2],
}

impl Rendered {
    /// A page in OpenMetrics, and how it is converted to Prometheus' text format 0.0.4.
    #[must_use]
    pub fn new(open_metrics: String, to_text: fn(&str) -> String) -> Self {
        Self {
            open_metrics: open_metrics.into(),
            to_text,
            text: OnceLock::new(),
            compressed: [OnceLock::new(), OnceLock::new()],
        }
    }

    /// The page in this form. A client holds only this form, not the others.
    pub(super) fn get(&self, format: Format, is_compressed: bool) -> io::Result<Bytes> {
        let plain = match format {
            Format::OpenMetrics => &self.open_metrics,
            Format::Text => self.text.get_or_init(|| {
                let page = String::from_utf8_lossy(&self.open_metrics);
                (self.to_text)(&page).into()
            }),
        };
        if !is_compressed {
            return Ok(plain.clone());
        }
        let kept = match format {
            Format::OpenMetrics => &self.compressed[0],
            Format::Text => &self.compressed[1],
        };
        if let Some(page) = kept.get() {
            return Ok(page.clone());
        }
        let page = compress(plain)?;
        Ok(kept.get_or_init(|| page).clone())
    }
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendered")
            .field("bytes", &self.open_metrics.len())
            .finish_non_exhaustive()
    }
}

fn compress(page: &[u8]) -> io::Result<Bytes> {
    // Metrics shrink to about a twentieth.
    let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 16), COMPRESSION);
    encoder.write_all(page)?;
    Ok(encoder.finish()?.into())
}

#[cfg(test)]
mod tests {
    use super::{Format, Rendered};

    #[test]
    fn every_form_is_made_once_and_shared() {
        let page = Rendered::new("a 1\n# EOF\n".to_owned(), |page| page.replace("# EOF\n", ""));
        for format in [Format::OpenMetrics, Format::Text] {
            for is_compressed in [false, true] {
                let (one, other) = (page.get(format, is_compressed), page.get(format, is_compressed));
                let (one, other) = (one.expect("a page"), other.expect("a page"));
                assert_eq!(one.as_ptr(), other.as_ptr());
                assert_eq!(one.starts_with(&[0x1f, 0x8b]), is_compressed);
            }
        }
        assert_eq!(page.get(Format::Text, false).expect("a page"), "a 1\n");
    }
}
