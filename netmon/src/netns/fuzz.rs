//! Fuzz targets for the code that reads netlink and procfs. See [`crate::fuzzing`].

pub(crate) use super::rtnetlink::fuzz::netlink;
use super::{buffers, connections, protocols, xfrm};
use crate::{
    datapath::fuzz::symbols,
    model::{buffers::Conntrack, protocols::Protocols},
};

/// Any file of procfs.
pub(crate) fn procfs(data: &[u8]) {
    let mut states = [0; connections::STATES];
    connections::tally(data, &mut states).expect("memory can be read");
    let lines = data.split(|byte| *byte == b'\n').count() as u64;
    assert!(states.iter().sum::<u64>() <= lines, "more sockets than lines");
    symbols(data);

    // The other files are read as text, because the kernel writes nothing else there.
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = |text: &str| {
        let mut protocols = Protocols::default();
        protocols::table(text, &mut protocols);
        protocols::ipv6(text, &mut protocols);
        protocols::sockets(text, &mut protocols);
        protocols::ipv6_sockets(text, &mut protocols);
        let conntrack = buffers::parse_conntrack(text, Conntrack::default());
        let pages = ["TCP:", "UDP:"].map(|protocol| buffers::pages(text, protocol));
        (protocols, buffers::parse_softnet(text), conntrack, pages)
    };
    assert_eq!(read(text), read(&format!("{text}\n")), "an empty line means something");
    let errors = xfrm::parse(text);
    assert!(errors.len() <= xfrm::MOST, "the page grows with the file");
    for name in errors.keys() {
        assert!(
            !name.contains([' ', '\t', '\n']) && !name.is_empty(),
            "{name:?} is not a name"
        );
    }
}
