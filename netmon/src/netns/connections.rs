//! How many TCP sockets a namespace has in each state, from the kernel's own list.
//!
//! The BPF programs count changes of state. They need a starting value for namespaces that existed at start-up, and
//! their counts are verified from time to time. The kernel walks all connections of the machine for such a list, which
//! takes some milliseconds. So a list is not read at every scrape.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
};

/// The lists of the calling thread's namespace.
const LISTS: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
/// The number of states that a listed socket can have (`include/net/tcp_states.h`), including 0.
pub const STATES: usize = 12;
/// A connection being made to a listening socket is listed with this state, but is not a socket yet.
const SYN_RECEIVED: usize = 3;
/// The timer of a closed connection, which is no longer a socket (`get_timewait4_sock`). Its state is that in which
/// the socket ended: `TIME_WAIT`, or `FIN_WAIT2`. No socket has this timer.
const TIME_WAIT: &str = "03:";

/// Counts the sockets of the calling thread's namespace by the number of their state.
///
/// # Errors
/// The lists cannot be read. A missing list is not an error: a kernel without IPv6 has only one.
pub fn count() -> io::Result<[u64; STATES]> {
    let mut counts = [0; STATES];
    for path in LISTS {
        match File::open(path) {
            Ok(file) => tally(BufReader::new(file), &mut counts)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(counts)
}

pub(super) fn tally(mut list: impl BufRead, counts: &mut [u64; STATES]) -> io::Result<()> {
    let mut line = Vec::new();
    while list.read_until(b'\n', &mut line)? > 0 {
        if let Some(count) = state(&line).and_then(|state| counts.get_mut(state)) {
            *count += 1;
        }
        line.clear();
    }
    Ok(())
}

/// The state of the socket in a line of the list. `None` for the header line.
fn state(line: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace().skip(3);
    let state = usize::from_str_radix(words.next()?, 16).ok()?;
    let is_closed = words.nth(1)?.starts_with(TIME_WAIT);
    (state != SYN_RECEIVED && !is_closed).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::{STATES, tally};

    #[test]
    fn sockets_are_counted_by_state_and_what_is_none_is_left_out() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 35150 1
   1: 0100007F:0BB8 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 35151 1
   2: 0100007F:0BB8 0100007F:9C42 01 00000000:00000000 00:00000000 00000000     0        0 35152 1
   3: 0100007F:0BB8 0100007F:9C44 03 00000000:00000000 01:00000050 00000000     0        0 0 1
   4: 0100007F:0BB8 0100007F:9C46 06 00000000:00000000 03:00000050 00000000     0        0 0 3
   5: 0100007F:0BB8 0100007F:9C48 05 00000000:00000000 03:00000050 00000000     0        0 0 3
   6: 0100007F:0BB8 0100007F:9C4A 05 00000000:00000000 00:00000000 00000000     0        0 35153 1
\u{fffd} cut
";
        let mut counts = [0; STATES];
        tally(list.as_bytes(), &mut counts).expect("a list");
        assert_eq!((counts[1], counts[5], counts[10]), (2, 1, 1));
        assert_eq!(counts.iter().sum::<u64>(), 4);
    }
}
