//! Which parts of the tables of counters the program copies. Pure: must not know where the numbers come from.

use netmon_common::protocols::{COUNTERS, COUNTERS_OF, ENUMERATORS, WIDEST, WINDOWS};

/// The windows: in each all counters from the first to the last that is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Windows {
    pub(super) first: [u32; WINDOWS],
    pub(super) words: [u32; WINDOWS],
    /// Where each counter is in its window.
    pub(super) places: [u32; COUNTERS],
}

impl Windows {
    /// The windows around counters with these numbers. The error is one without a number, or too far from the others.
    pub(super) fn around(numbers: [Option<u64>; COUNTERS]) -> Result<Self, &'static str> {
        let mut windows = Self {
            first: [0; WINDOWS],
            words: [0; WINDOWS],
            places: [0; COUNTERS],
        };
        for (window, counters) in COUNTERS_OF.into_iter().enumerate() {
            let number = |counter: usize| {
                let number = numbers[counter].and_then(|number| u32::try_from(number).ok());
                number.ok_or(ENUMERATORS[counter])
            };
            let all = counters.clone().map(number).collect::<Result<Vec<_>, _>>()?;
            let first = all.iter().copied().min().unwrap_or_default();
            for (counter, number) in counters.zip(all) {
                let place = number - first;
                if place as usize >= WIDEST {
                    return Err(ENUMERATORS[counter]);
                }
                windows.places[counter] = place;
                windows.words[window] = windows.words[window].max(place + 1);
            }
            windows.first[window] = first;
        }
        Ok(windows)
    }
}

#[cfg(test)]
mod tests {
    use super::{COUNTERS, COUNTERS_OF, ENUMERATORS, WIDEST, Windows};

    /// Those of Linux 6.18.
    const NUMBERS: [u64; COUNTERS] = [11, 12, 14, 7, 9, 20, 21, 88, 119, 2, 5, 6, 7, 9, 14];

    #[test]
    fn a_window_is_from_the_first_to_the_last_of_its_counters() {
        let windows = Windows::around(NUMBERS.map(Some)).expect("windows");
        assert_eq!(windows.first, [11, 7, 88, 119, 2, 9]);
        assert_eq!(windows.words, [4, 15, 1, 1, 6, 6]);
        for (window, counters) in COUNTERS_OF.into_iter().enumerate() {
            for counter in counters {
                let number = windows.first[window] + windows.places[counter];
                assert_eq!(u64::from(number), NUMBERS[counter]);
                assert!(windows.places[counter] < windows.words[window]);
            }
        }
    }

    #[test]
    fn a_kernel_that_lacks_a_counter_or_has_it_far_away_is_not_read() {
        for (counter, name) in ENUMERATORS.into_iter().enumerate() {
            let mut numbers = NUMBERS.map(Some);
            numbers[counter] = None;
            assert_eq!(Windows::around(numbers), Err(name));
            numbers[counter] = Some(u64::MAX);
            assert_eq!(Windows::around(numbers), Err(name));
        }
        // The widest window that there is room for, and one counter more.
        let with_last = |last| {
            let mut numbers = NUMBERS.map(Some);
            numbers[6] = Some(last);
            Windows::around(numbers)
        };
        let widest = 7 + WIDEST as u64 - 1;
        assert_eq!(with_last(widest).expect("windows").words[1] as usize, WIDEST);
        assert_eq!(with_last(widest + 1), Err("LINUX_MIB_LISTENDROPS"));
        assert_eq!(with_last(0).map(|windows| windows.first), Ok([11, 0, 88, 119, 2, 9]));
    }
}
