//! A page in every form that clients ask for. Each form is made when the first client asks for it, and shared by all.

use std::{
    fmt,
    io::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
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
    /// Each form that was asked for, in pieces. Locked while it is made: who waits for it would make it, too.
    forms: [Mutex<Option<Pieces>>; 4],
}

/// A form of a page. All clients share its memory.
type Pieces = Arc<[Bytes]>;

impl Rendered {
    /// A page in no form yet.
    #[must_use]
    pub fn new(text: impl Text + 'static) -> Self {
        Self {
            text: Box::new(text),
            forms: Default::default(),
        }
    }

    /// The page in this form. Blocks until it is made.
    pub(super) fn get(&self, format: Format, is_compressed: bool) -> io::Result<Pieces> {
        let [open_metrics, open_metrics_gzip, text, text_gzip] = &self.forms;
        let form = match (format, is_compressed) {
            (Format::OpenMetrics, false) => open_metrics,
            (Format::OpenMetrics, true) => open_metrics_gzip,
            (Format::Text, false) => text,
            (Format::Text, true) => text_gzip,
        };
        let mut form = form.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = &*form {
            return Ok(Arc::clone(page));
        }
        let page = if is_compressed {
            Arc::new([self.compressed(format)?])
        } else {
            self.plain(format)?
        };
        *form = Some(Arc::clone(&page));
        Ok(page)
    }

    fn plain(&self, format: Format) -> io::Result<Pieces> {
        let mut pieces = Vec::new();
        self.text.write(format, &mut |text| {
            // Pieces are about as long as each other. One that ends in many long lines may have grown to twice the room.
            let next = String::with_capacity(text.len() + text.len() / 8);
            let mut piece = std::mem::replace(text, next);
            piece.shrink_to_fit();
            pieces.push(Bytes::from(piece));
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
        f.debug_struct("Rendered").finish_non_exhaustive()
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
    use std::{
        io::{self, Read as _},
        sync::{
            Arc, Barrier,
            atomic::{AtomicU32, Ordering},
        },
        thread,
        time::Duration,
    };

    use flate2::read::GzDecoder;

    use super::{Fixed, Format, Rendered, Text};

    /// Counts how often it is written, and takes its time. The first time it fails.
    #[derive(Clone, Default)]
    struct Slow(Arc<AtomicU32>);

    impl Text for Slow {
        fn write(&self, _: Format, take: &mut dyn FnMut(&mut String) -> io::Result<()>) -> io::Result<()> {
            let is_first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
            thread::sleep(Duration::from_millis(50));
            if is_first {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            // A piece that has grown.
            let mut text = String::with_capacity(1 << 20);
            text.push_str("a 1\n");
            take(&mut text)
        }
    }

    #[test]
    fn clients_who_ask_at_the_same_time_share_one_form() {
        let text = Slow::default();
        let page = Rendered::new(text.clone());
        assert!(page.get(Format::Text, false).is_err(), "it failed, and nothing is kept");
        let begin = Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    begin.wait();
                    let pieces = page.get(Format::Text, false).expect("a page");
                    assert_eq!(pieces.concat(), b"a 1\n");
                });
            }
        });
        assert_eq!(text.0.load(Ordering::Relaxed), 2);
    }

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
