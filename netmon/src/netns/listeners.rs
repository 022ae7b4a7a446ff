//! Who listens to messages about devices in a namespace. Every netmon does so in the node's, and in no other way than
//! [`super::watch`]. So this tells whether another netmon may run, in whatever container.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use tracing::debug;

use super::{enter::inside, watch::LINK_GROUP};
use crate::model::programs::Others;

/// The netlink sockets of the calling thread's namespace (`netlink_seq_show` in `net/netlink/af_netlink.c`).
const PATH: &str = "/proc/thread-self/net/netlink";
/// The protocol of rtnetlink.
const ROUTE: &str = "0";
/// A netlink socket has a line of about a hundred bytes. A node has some dozens of them.
const MOST_BYTES: usize = 4 << 20;

/// The other netmons that take the namespace mounted on `node` for the node's. If nothing can be read, there may be one.
#[must_use]
pub fn others(node: &Path) -> Others {
    let unknown = |error: &io::Error| debug!(%error, "filters of older netmons stay: perhaps one runs");
    let opened = inside(node, Listeners::open).map_err(io::Error::other).flatten();
    opened.inspect_err(unknown).map_or_else(
        |_| Others::unknown(),
        |listeners| Others::found_by(move || listeners.has_others().inspect_err(unknown).unwrap_or(true)),
    )
}

/// The list of netlink sockets of one namespace.
#[derive(Debug)]
struct Listeners(File);

impl Listeners {
    /// Opens the list of the calling thread's namespace. It stays that namespace's.
    fn open() -> io::Result<Self> {
        File::open(PATH).map(Self)
    }

    /// Whether a socket of another process listens as netmon's does.
    fn has_others(&self) -> io::Result<bool> {
        // A socket that this process closes in between is taken for another's.
        let listening = listening(&self.read()?);
        Ok(!listening.is_subset(&own()?))
    }

    fn read(&self) -> io::Result<String> {
        let Self(file) = self;
        let mut text = Vec::new();
        let mut part = vec![0; 16 << 10];
        loop {
            // A part may end within a line, and the next one begins there.
            let length = file.read_at(&mut part, text.len() as u64)?;
            text.extend_from_slice(part.get(..length).unwrap_or_default());
            if length == 0 {
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
            if text.len() > MOST_BYTES {
                return Err(io::Error::other("the list of netlink sockets is too long"));
            }
        }
    }
}

/// The inodes of the sockets that listen to messages about devices and to nothing else.
fn listening(list: &str) -> BTreeSet<u64> {
    list.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (protocol, groups) = (words.next()?, words.nth(1)?);
            let listens = protocol == ROUTE && u32::from_str_radix(groups, 16) == Ok(LINK_GROUP);
            listens.then(|| words.last()?.parse().ok()).flatten()
        })
        .collect()
}

/// The inodes of this process's sockets.
fn own() -> io::Result<BTreeSet<u64>> {
    let mut sockets = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        // The descriptor may be closed by now.
        let Ok(target) = fs::read_link(entry?.path()) else {
            continue;
        };
        let name = target.to_string_lossy();
        sockets.extend(
            name.strip_prefix("socket:[")
                .and_then(|name| name.strip_suffix(']')?.parse::<u64>().ok()),
        );
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

    use super::{LINK_GROUP, Listeners, listening, own};

    #[test]
    fn only_sockets_that_hear_of_devices_and_of_nothing_else_listen_as_netmon_does() {
        let list = "\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000aa1dce3f 0   0          00000000 0        0        0     2        0        4
0000000022cc8e13 0   715        00000001 0        0        0     2        0        1436
0000000022cc8e14 0   4294963200 00000001 0        0        0     2        7        1437
0000000050d54dd6 0   615        80000551 0        0        0     2        0        1048
000000007d081484 15  1          00000001 0        0        0     2        0        6
0000000050d54dd6 0   615        00000001
";
        assert_eq!(listening(list).into_iter().collect::<Vec<_>>(), [1436, 1437]);
        assert!(listening("").is_empty());
    }

    #[test]
    fn a_socket_of_this_process_is_its_own() {
        let mut socket = Socket::new(NETLINK_ROUTE).expect("a socket");
        socket.bind(&SocketAddr::new(0, LINK_GROUP)).expect("it listens");
        let target = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).expect("its name");
        let inode = target.to_string_lossy().replace(|it: char| !it.is_ascii_digit(), "");
        let inode = inode.parse().expect("a number");
        let list = Listeners::open().and_then(|list| list.read()).expect("the list");
        assert!(listening(&list).contains(&inode), "{inode} is not among {list}");
        assert!(own().expect("sockets").contains(&inode));
    }
}
