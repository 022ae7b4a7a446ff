//! A page in every form that clients ask for. Each form is made when the first client asks for it, and shared by all.

use std::{
    fmt,
    io::{self, Write as _},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use crate::model::format::Format;

/// More compression costs more time than it saves, because the page crosses only one network.
const COMPRESSION: Compression = Compression::fast();

/// What a page says. It can be written several times, and says the same each time.
pub trait Text: Send + Sync {
    /// Writes the page in this format. `take` gets each piece, and leaves the text empty.
    ///
    /// # Errors
    /// Those of `take`.
    fn write(&self, format: Format, take: &mut dyn FnMut(&mut String) -> io::Result<()>) -> io::Result<()>;
}

/// A page of metrics.
pub struct Rendered {
    text: Box<dyn Text>,
    /// Each form that was asked for, in pieces.
    forms: [OnceLock<Arc<[Bytes]>>; 4],
}

impl Rendered {
    /// A page in no form yet.
    #[must_use]
    pub fn new(text: impl Text + 'static) -> Self {
        Self {
            text: Box::new(text),
            forms: Default::default(),
        }
    }

    /// The page in this form, in pieces.
    pub(super) fn get(&self, format: Format, is_compressed: bool) -> io::Result<Arc<[Bytes]>> {
        let [open_metrics, open_metrics_gzip, text, text_gzip] = &self.forms;
        let form = match (format, is_compressed) {
            (Format::OpenMetrics, false) => open_metrics,
            (Format::OpenMetrics, true) => open_metrics_gzip,
            (Format::Text, false) => text,
            (Format::Text, true) => text_gzip,
        };
        if let Some(page) = form.get() {
            return Ok(Arc::clone(page));
        }
        let page = if is_compressed {
            Arc::new([self.compressed(format)?])
        } else {
            self.plain(format)?
        };
        Ok(Arc::clone(form.get_or_init(|| page)))
    }

    fn plain(&self, format: Format) -> io::Result<Arc<[Bytes]>> {
        let mut pieces = Vec::new();
        self.text.write(format, &mut |text| {
            let next = String::with_capacity(text.capacity());
            pieces.push(Bytes::from(std::mem::replace(text, next)));
            Ok(())
        })?;
        Ok(pieces.into())
    }

    /// Compresses each piece as it is written: it is still in the processor's cache, and the whole text is nowhere.
    fn compressed(&self, format: Format) -> io::Result<Bytes> {
        let mut encoder = GzEncoder::new(Vec::new(), COMPRESSION);
        self.text.write(format, &mut |text| {
            encoder.write_all(text.as_bytes())?;
            text.clear();
            Ok(())
        })?;
        Ok(encoder.finish()?.into())
    }
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendered")
            .field("forms", &self.forms)
            .finish_non_exhaustive()
    }
}

/// A page that is the same text in both formats, but for its last line.
#[cfg(any(test, feature = "fuzzing"))]
#[derive(Debug)]
pub(super) struct Fixed(pub(super) String);

#[cfg(any(test, feature = "fuzzing"))]
impl Text for Fixed {
    fn write(&self, format: Format, take: &mut dyn FnMut(&mut String) -> io::Result<()>) -> io::Result<()> {
        take(&mut self.0.clone())?;
        match format {
            Format::OpenMetrics => take(&mut "# EOF\n".to_owned()),
            Format::Text => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::{Fixed, Format, Rendered};

    #[test]
    fn every_form_is_made_once_and_shared() {
        let page = Rendered::new(Fixed("a 1\n".to_owned()));
        for (format, text) in [(Format::OpenMetrics, "a 1\n# EOF\n"), (Format::Text, "a 1\n")] {
            for is_compressed in [false, true] {
                let (one, other) = (page.get(format, is_compressed), page.get(format, is_compressed));
                let (one, other) = (one.expect("a page"), other.expect("a page"));
                assert_eq!(one.as_ptr(), other.as_ptr());
                let bytes = one.concat();
                let said = if is_compressed {
                    let mut said = String::new();
                    GzDecoder::new(&*bytes).read_to_string(&mut said).expect("gzip");
                    said
                } else {
                    String::from_utf8(bytes).expect("text")
                };
                assert_eq!(said, text);
            }
        }
    }
}
