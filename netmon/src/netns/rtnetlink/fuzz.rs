//! Fuzz target for the code that decodes netlink messages. See [`crate::fuzzing`].

use super::{
    decode::{self, Answer, Message},
    filters, queues, routes,
};

/// A message has a header of its own. It yields at most two items: the message, and the note that the dump was
/// interrupted.
const LEAST_MESSAGE: usize = 16;
const LEAST_ATTRIBUTE: usize = 4;

/// A datagram from the kernel.
pub(crate) fn netlink(data: &[u8]) {
    let mut count = 0;
    for message in decode::messages(data) {
        count += 1;
        match message {
            Message::Answer(answer) => read(answer),
            Message::Error(error) => assert_ne!(error.raw_os_error(), Some(0), "success is not an error"),
            Message::Done | Message::Interrupted => {}
        }
    }
    assert!(
        count <= 2 * (data.len() / LEAST_MESSAGE),
        "{count} messages in {} bytes",
        data.len()
    );
}

/// Every decoder gets every message.
fn read(answer: Answer<'_>) {
    let bytes = answer.payload.len();
    assert!(answer.attributes(0).count() <= bytes / LEAST_ATTRIBUTE);
    if let Some(device) = decode::device(answer) {
        assert_printable(&device.name, bytes);
    }
    if let Some((_, queue)) = queues::queue(answer) {
        assert_printable(&queue.kind, bytes);
        assert!(!queue.kind.is_empty());
    }
    if let Some((_, remote)) = routes::remote(answer) {
        assert!(!remote.is_unspecified() && !remote.is_multicast(), "{remote} is nobody");
    }
    if let Some(table) = queues::neighbours(answer) {
        assert!(
            matches!(table.family, "" | "ipv4" | "ipv6"),
            "{} would be a label",
            table.family
        );
    }
    if let Some(filter) = filters::filter(answer) {
        assert_printable(&filter.name, bytes);
    }
    if let Some(nsid) = decode::nsid(answer) {
        assert!(nsid >= 0, "{nsid} is not an nsid");
    }
    let _seen = (
        decode::address(answer),
        decode::statistics(answer),
        routes::device(answer),
    );
    // Both decoders read the same device from the same message.
    if let (Some(device), Some(news)) = (decode::device(answer), decode::link_event(answer)) {
        assert_eq!(device, news.device);
    }
}

/// Names appear on the metrics page and in the log. A byte that is not printable takes four characters.
fn assert_printable(name: &str, bytes: usize) {
    assert!(
        name.bytes().all(|byte| matches!(byte, b' '..=b'~')),
        "{name:?} cannot be printed"
    );
    assert!(name.len() <= 4 * bytes, "{name:?} is more than the message has");
}
