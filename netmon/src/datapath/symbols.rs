//! The addresses of kernel functions, which decide about drops that have a location but no reason.
//!
//! The list of symbols has some 200,000 names, so only the ranges of the requested functions are kept. It is read at
//! start-up, and again for a location that is new after modules were loaded or unloaded. A decision about a location
//! stays, because a count that is left out later looks like a reset.
//!
//! The kernel decides when a file is opened whether it shows addresses (`kallsyms_open`, `modules_open`). So both files
//! are opened at start-up, and read again from their beginning by a thread without capabilities.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek},
    ops::Range,
    time::{Duration, Instant},
};

use tracing::{debug, warn};

/// The file in which the kernel exposes them.
pub const PATH: &str = "/proc/kallsyms";

/// The file in which the kernel lists its modules.
const MODULES: &str = "/proc/modules";

/// How long the list is not read again after it was read.
const READ_AGAIN: Duration = Duration::from_mins(1);

/// Kernel functions, and which locations are in them.
#[derive(Debug)]
pub struct Functions<F = File> {
    names: &'static [&'static str],
    symbols: F,
    /// `None` if the kernel has no modules.
    modules: Option<F>,
    ranges: Ranges,
    /// The modules whose functions the ranges are of.
    loaded: BTreeSet<String>,
    /// When the list was last read, or could not be read.
    read: Instant,
    decided: BTreeMap<u64, bool>,
}

impl Functions {
    /// Finds functions in the running kernel. A function that the kernel lacks has no location. Returns `None` if the
    /// kernel hides its addresses.
    ///
    /// # Errors
    /// The lists cannot be read.
    pub fn of_kernel(names: &'static [&'static str], now: Instant) -> io::Result<Option<Self>> {
        Self::open(names, File::open(PATH)?, File::open(MODULES).ok(), now)
    }
}

impl<F: Read + Seek> Functions<F> {
    fn open(
        names: &'static [&'static str],
        mut symbols: F,
        mut modules: Option<F>,
        now: Instant,
    ) -> io::Result<Option<Self>> {
        // In this order: a module that is loaded in between is missed by neither.
        let loaded = modules.as_mut().map(read_modules).transpose()?.unwrap_or_default();
        let ranges = read_ranges(&mut symbols, names)?;
        Ok(ranges.map(|ranges| Self {
            names,
            symbols,
            modules,
            ranges,
            loaded,
            read: now,
            decided: BTreeMap::new(),
        }))
    }

    /// Whether a location is in one of the functions; `None` while that is not decided.
    #[must_use]
    pub fn contain(&self, location: u64) -> Option<bool> {
        self.decided.get(&location).copied()
    }

    /// Decides about new locations. If modules were loaded or unloaded, the list is read first. If it was just read, the
    /// decision is left for later.
    pub fn decide(&mut self, locations: impl IntoIterator<Item = u64>, now: Instant) {
        let new = |location: &u64| !self.decided.contains_key(location);
        let new: BTreeSet<u64> = locations.into_iter().filter(new).collect();
        if new.is_empty() || !self.is_of_these_modules(now) {
            return;
        }
        let ranges = &self.ranges;
        let decisions = new.into_iter().map(|location| (location, ranges.contain(location)));
        self.decided.extend(decisions);
    }

    /// Reads the list again if other modules are loaded. Returns false if it should be read, but was just read.
    fn is_of_these_modules(&mut self, now: Instant) -> bool {
        let Some(modules) = &mut self.modules else { return true };
        let loaded = match read_modules(modules) {
            Ok(loaded) if loaded == self.loaded => return true,
            Ok(loaded) => loaded,
            Err(error) => {
                debug!(%error, path = MODULES, "the kernel's modules are not known");
                return true;
            }
        };
        if now.saturating_duration_since(self.read) < READ_AGAIN {
            return false;
        }
        self.read = now;
        match read_ranges(&mut self.symbols, self.names) {
            Ok(Some(ranges)) => (self.ranges, self.loaded) = (ranges, loaded),
            Ok(None) => warn!(
                path = PATH,
                "the kernel hides its functions' addresses by now; those of new modules are not known"
            ),
            Err(error) => {
                warn!(%error, path = PATH, "cannot read the kernel's functions again; those of new modules are not known");
            }
        }
        true
    }
}

fn read_ranges(symbols: &mut (impl Read + Seek), names: &[&str]) -> io::Result<Option<Ranges>> {
    symbols.rewind()?;
    Ranges::read(BufReader::new(symbols), names)
}

/// The modules, each with its name and its address.
fn read_modules(modules: &mut (impl Read + Seek)) -> io::Result<BTreeSet<String>> {
    modules.rewind()?;
    let mut list = String::new();
    modules.read_to_string(&mut list)?;
    let module = |line: &str| {
        // Name, size, users, their names, state, address (`m_show`).
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        Some(format!("{} {}", words.first()?, words.get(5)?))
    };
    Ok(list.lines().filter_map(module).collect())
}

/// Address ranges of kernel functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    pub(super) fn read(mut list: impl BufRead, functions: &[&str]) -> io::Result<Option<Self>> {
        let (mut all, mut wanted) = (Vec::new(), BTreeSet::new());
        let mut line = Vec::new();
        while list.read_until(b'\n', &mut line)? > 0 {
            if let Some((address, name)) = symbol(&line) {
                all.push(address);
                if functions.contains(&name) {
                    wanted.insert(address);
                }
            }
            line.clear();
        }
        all.sort_unstable();
        all.dedup();
        // Without permission to see the addresses, every address is 0.
        if all.len() < 2 {
            return Ok(None);
        }
        let range = |begin: u64| {
            let next = all.partition_point(|address| *address <= begin);
            all.get(next).map(|end| begin..*end)
        };
        Ok(Some(Self(wanted.into_iter().filter_map(range).collect())))
    }

    /// Whether an address is in one of the functions.
    #[must_use]
    pub fn contain(&self, place: u64) -> bool {
        self.0.iter().any(|range| range.contains(&place))
    }
}

/// The address and the name of a function. A variant made by the compiler (`name.isra.0`) gets the name of its
/// function.
fn symbol(line: &[u8]) -> Option<(u64, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
    let is_code = matches!(kind, "t" | "T" | "w" | "W");
    let name = name.split('.').next()?;
    is_code.then_some((u64::from_str_radix(address, 16).ok()?, name))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Cursor,
        time::{Duration, Instant},
    };

    use super::{Functions, READ_AGAIN, Ranges};

    const LIST: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000100 t tcp_v4_rcv
ffffffff81000180 d some_data
ffffffff81000200 T tcp_v4_send_check
ffffffff81000300 t tcp_v4_rcv.cold
ffffffff81000310 t last
ffffffffc0000000 t in_a_module\t[bridge]
not a symbol
";

    #[test]
    fn a_place_in_a_function_or_its_variant_is_found() {
        let ranges = Ranges::read(LIST.as_bytes(), &["tcp_v4_rcv", "not_there"])
            .expect("a list")
            .expect("addresses");
        for inside in [0xffff_ffff_8100_0100, 0xffff_ffff_8100_01ff, 0xffff_ffff_8100_0305] {
            assert!(ranges.contain(inside), "{inside:x}");
        }
        for outside in [0xffff_ffff_8100_0200, 0xffff_ffff_8100_0310, 0] {
            assert!(!ranges.contain(outside), "{outside:x}");
        }
    }

    #[test]
    fn addresses_that_the_kernel_hides_are_no_places() {
        let hidden = "0000000000000000 T _stext\n0000000000000000 t tcp_v4_rcv\n";
        assert_eq!(Ranges::read(hidden.as_bytes(), &["tcp_v4_rcv"]).expect("a list"), None);
    }

    const MODULE: &str = "ffffffffc0001000 t tcp_v4_rcv\t[late]\nffffffffc0001100 t rest\t[late]\n";
    const HARMLESS: u64 = 0xffff_ffff_8100_0100;
    const LATE: u64 = 0xffff_ffff_c000_1010;

    fn functions(now: Instant) -> Functions<Cursor<String>> {
        let (symbols, modules) = (LIST.to_owned(), "bridge 4096 1 - Live 0xffffffffc0000000\n".to_owned());
        let functions = Functions::open(&["tcp_v4_rcv"], Cursor::new(symbols), Some(Cursor::new(modules)), now);
        functions.expect("lists").expect("addresses")
    }

    fn load_module(functions: &mut Functions<Cursor<String>>) {
        functions.symbols.get_mut().push_str(MODULE);
        functions
            .modules
            .as_mut()
            .expect("a list of modules")
            .get_mut()
            .push_str("late 4096 0 - Live 0xffffffffc0001000\n");
    }

    #[test]
    fn a_function_of_a_module_that_was_loaded_later_is_known() {
        let now = Instant::now();
        let mut functions = functions(now);
        functions.decide([HARMLESS, 1], now);
        assert_eq!(
            (functions.contain(HARMLESS), functions.contain(1)),
            (Some(true), Some(false))
        );
        load_module(&mut functions);
        functions.decide([HARMLESS, LATE], now + READ_AGAIN);
        assert_eq!(functions.contain(LATE), Some(true));
    }

    #[test]
    fn a_location_waits_for_a_list_that_was_just_read() {
        let now = Instant::now();
        let mut functions = functions(now);
        load_module(&mut functions);
        functions.decide([LATE], now + Duration::from_secs(1));
        assert_eq!(functions.contain(LATE), None, "not decided by an old list");
        functions.decide([LATE], now + READ_AGAIN);
        assert_eq!(functions.contain(LATE), Some(true));
    }

    #[test]
    fn what_was_decided_stays() {
        let now = Instant::now();
        let mut functions = functions(now);
        functions.decide([HARMLESS, LATE], now);
        load_module(&mut functions);
        functions.decide([HARMLESS, LATE, 1], now + READ_AGAIN);
        let known = [HARMLESS, LATE, 1].map(|location| functions.contain(location));
        assert_eq!(known, [Some(true), Some(false), Some(false)]);
    }

    #[test]
    fn a_kernel_without_modules_has_functions_all_the_same() {
        let now = Instant::now();
        let functions: Option<Functions<Cursor<&str>>> =
            Functions::open(&["tcp_v4_rcv"], Cursor::new(LIST), None, now).expect("a list");
        let mut functions = functions.expect("addresses");
        functions.decide([HARMLESS], now);
        assert_eq!(functions.contain(HARMLESS), Some(true));
    }

    #[test]
    fn an_unchanged_list_of_modules_is_no_reason_to_read_the_symbols() {
        let now = Instant::now();
        let mut functions = functions(now);
        functions.symbols.get_mut().clear();
        functions.decide([HARMLESS], now + READ_AGAIN);
        assert_eq!(functions.contain(HARMLESS), Some(true));
    }
}
