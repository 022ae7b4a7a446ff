//! Connections whose end no program heard.
//!
//! A reading cannot tell them from those that ended while it was made. What is in several readings in a row is none of
//! these.

/// How many readings a number has to be in.
const READINGS: usize = 4;

/// The numbers of the last readings.
#[derive(Debug, Default)]
pub struct Unheard {
    readings: [Option<i64>; READINGS],
    next: usize,
}

impl Unheard {
    /// Takes in a reading's number.
    pub const fn add(&mut self, unheard: i64) {
        self.readings[self.next % READINGS] = Some(unheard);
        self.next = (self.next + 1) % READINGS;
    }

    /// The least of the last numbers; 0 until there are enough of them.
    #[must_use]
    pub fn least(&self) -> u64 {
        let least = self.readings.into_iter().min().flatten();
        least.and_then(|least| u64::try_from(least).ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Unheard;

    #[test]
    fn what_is_in_four_readings_in_a_row_was_not_heard() {
        let mut unheard = Unheard::default();
        let shown = [5, 3, 9, 4, 4, 4, -1, 7, 7, 7, 8].map(|number| {
            unheard.add(number);
            unheard.least()
        });
        assert_eq!(shown, [0, 0, 0, 3, 3, 4, 0, 0, 0, 0, 7]);
    }
}
