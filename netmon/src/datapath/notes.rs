//! Rare events that the programs note, in the daemon's log: target `netmon::kernel`, level `debug`.
//!
//! The programs write three numbers through aya-log. The words are made here. This is the only place that names aya-log.

use aya::{Ebpf, EbpfLoader};
use aya_log::{EbpfLogger, LEVEL, Level};
use log::{Log, Metadata, Record};
use netmon_common::{
    notes::{NO_DEVICE, NO_KEY, NO_SHARE, UNKNOWN_STATE},
    refusal,
};
use tracing::{debug, enabled};

/// The ring buffer that the programs write to.
const MAP: &str = "AYA_LOGS";
const TARGET: &str = "netmon::kernel";

/// Reads the notes of an object's programs.
pub(super) struct Notes(Option<EbpfLogger<Words>>);

impl Notes {
    /// Sets up an object that may write notes, before it is loaded. If nobody reads them, it writes none, and its ring
    /// buffer is as small as can be.
    pub(super) fn prepare(loader: &mut EbpfLoader<'_>) {
        let level = if is_wanted() { &(Level::Debug as u8) } else { &0 };
        loader.override_global(LEVEL, level, false);
        if !is_wanted() {
            let page = u32::try_from(rustix::param::page_size()).unwrap_or(u32::MAX);
            loader.map_max_entries(MAP, page);
        }
    }

    /// Takes the ring buffer from a loaded object. `object` is what the programs count.
    pub(super) fn of(loaded: &mut Ebpf, object: &'static str) -> Self {
        if !is_wanted() || loaded.map(MAP).is_none() {
            return Self(None);
        }
        match EbpfLogger::init_with_logger(loaded, Words { object }) {
            Ok(logger) => Self(Some(logger)),
            Err(error) => {
                debug!(%error, object, "cannot read what the kernel programs note");
                Self(None)
            }
        }
    }

    /// Writes what was noted since to the log.
    pub(super) fn read(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.flush();
        }
    }
}

fn is_wanted() -> bool {
    enabled!(target: TARGET, tracing::Level::DEBUG)
}

/// Makes words of numbers.
struct Words {
    object: &'static str,
}

impl Log for Words {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let numbers = record.args().to_string();
        if let Some((netns, what)) = words(&numbers) {
            debug!(target: TARGET, netns, object = self.object, "{what}");
        }
    }

    fn flush(&self) {}
}

/// The namespace of a note, and what it says. `None` if it is none.
fn words(numbers: &str) -> Option<(u64, String)> {
    let mut numbers = numbers.split(' ').map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    let (note, netns, number) = (u32::try_from(next()?).ok()?, next()?, u32::try_from(next()?).ok()?);
    let what = match note {
        NO_KEY => {
            let cause = match number {
                refusal::FULL => "the map is full",
                refusal::NO_MEMORY => "the kernel had no memory for it at that moment",
                refusal::SHARE => "the namespaces that are not watched have used up their share",
                _ => "the kernel refused it",
            };
            format!("an event is not counted under its key: {cause}")
        }
        NO_SHARE => "the namespace has used up its share: new counts do not distinguish its devices".to_owned(),
        NO_DEVICE => format!("a packet dropped for reason {number} has something else where its device should be"),
        UNKNOWN_STATE => format!("a socket has the unknown state {number}"),
        _ => return None,
    };
    Some((netns, what))
}

#[cfg(test)]
mod tests {
    use netmon_common::{notes::NO_KEY, refusal};

    use super::words;

    #[test]
    fn a_note_is_three_numbers() {
        let full = words(&format!("{NO_KEY} 265754 {}", refusal::FULL));
        let full = full.expect("a note");
        assert_eq!(full.0, 265_754);
        assert!(full.1.ends_with("the map is full"), "{}", full.1);
        for none in ["", "0", "0 1", "0 1 x", "9 1 1", "-1 1 1", "0 1 5000000000"] {
            assert_eq!(words(none), None, "{none}");
        }
    }
}
