//! The addresses of kernel functions, which decide about drops that have a location but no reason.
//!
//! The list of symbols is read once at start-up. It has some 200,000 names, so only the ranges of the requested
//! functions are kept.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader},
    ops::Range,
};

/// The file in which the kernel exposes them.
pub const PATH: &str = "/proc/kallsyms";

/// Address ranges of kernel functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Finds functions in the running kernel. A function that the kernel lacks has no range. Returns `None` if the
    /// kernel hides its addresses.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn of_kernel(functions: &[&str]) -> io::Result<Option<Self>> {
        Self::read(BufReader::new(File::open(PATH)?), functions)
    }

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
    use super::Ranges;

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
}
