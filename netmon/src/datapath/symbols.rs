//! Where the kernel's functions lie, for judging drops that have no reason but a place.
//!
//! Read once at the start, and only the ranges of the functions that are asked for are kept: the whole list has some
//! 200,000 names.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader},
    ops::Range,
};

/// Where the kernel shows them.
pub const PATH: &str = "/proc/kallsyms";

/// Places of functions in the kernel's code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Finds functions in the running kernel. One that is not there has no place; nothing at all if the kernel hides its
    /// addresses.
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
        // Without the right to see them every address is 0.
        if all.len() < 2 {
            return Ok(None);
        }
        let range = |begin: u64| {
            let next = all.partition_point(|address| *address <= begin);
            all.get(next).map(|end| begin..*end)
        };
        Ok(Some(Self(wanted.into_iter().filter_map(range).collect())))
    }

    /// Whether a place is in one of the functions.
    #[must_use]
    pub fn contain(&self, place: u64) -> bool {
        self.0.iter().any(|range| range.contains(&place))
    }
}

/// Address and name of a function. The compiler's variants of a function (`name.isra.0`) have its name.
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
