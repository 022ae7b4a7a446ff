//! Decodes queueing disciplines and neighbour tables from rtnetlink messages.

use super::decode::{Answer, attributes, u32_at, u64_at};
use crate::model::buffers::{Neighbours, Queue};

const RTM_NEWQDISC: u16 = 36;
const RTM_NEWNEIGHTBL: u16 = 64;
const TCMSG_BYTES: usize = 20;
const NDTMSG_BYTES: usize = 4;

/// The parent of the root discipline, which all packets of a device pass through.
const TC_H_ROOT: u32 = 0xffff_ffff;
const TCA_KIND: u16 = 1;
const TCA_STATS2: u16 = 7;
const TCA_STATS_QUEUE: u16 = 3;
/// The discipline of a device without a queue.
const NO_QUEUE: &str = "noqueue";

const NDTA_NAME: u16 = 1;
const NDTA_THRESHOLDS: [u16; 3] = [2, 3, 4];
const NDTA_CONFIG: u16 = 5;
const NDTA_STATS: u16 = 7;
/// `ndt_config.ndtc_entries`.
const CONFIG_ENTRIES: usize = 4;
/// `ndt_stats.ndts_table_fulls`, since 4.3.
const STATS_TABLE_FULLS: usize = 10 * 8;

/// The root discipline of a device, with the device's ifindex. `None` if it has no queue.
pub(super) fn queue(answer: Answer<'_>) -> Option<(u32, Queue)> {
    if answer.kind != RTM_NEWQDISC || u32_at(answer.payload, 12)? != TC_H_ROOT {
        return None;
    }
    let mut queue = Queue::default();
    for (kind, value) in answer.attributes(TCMSG_BYTES) {
        match kind {
            TCA_KIND => queue.kind = text(value),
            TCA_STATS2 => {
                // struct gnet_stats_queue: length, backlog, drops, requeues, overlimits.
                let figures = attributes(value).find(|(kind, _)| *kind == TCA_STATS_QUEUE);
                let figure = |index: usize| u32_at(figures.map_or(&[][..], |(_, value)| value), index * 4);
                queue.backlog_bytes = figure(1).unwrap_or_default();
                queue.drops = figure(2).unwrap_or_default();
                queue.overlimits = figure(4).unwrap_or_default();
            }
            _ => {}
        }
    }
    (!queue.kind.is_empty() && queue.kind != NO_QUEUE).then_some((u32_at(answer.payload, 4)?, queue))
}

/// A neighbour table. The kernel also sends the settings of each device in this message type, which are not tables.
pub(super) fn neighbours(answer: Answer<'_>) -> Option<Neighbours> {
    if answer.kind != RTM_NEWNEIGHTBL {
        return None;
    }
    let mut table = Neighbours::default();
    let mut has_entries = false;
    for (kind, value) in answer.attributes(NDTMSG_BYTES) {
        match kind {
            NDTA_NAME => {
                table.family = match text(value).as_str() {
                    "arp_cache" => "ipv4",
                    "ndisc_cache" => "ipv6",
                    _ => return None,
                };
            }
            NDTA_CONFIG => {
                table.entries = u32_at(value, CONFIG_ENTRIES)?.into();
                has_entries = true;
            }
            NDTA_STATS => table.full = u64_at(value, STATS_TABLE_FULLS).unwrap_or_default(),
            _ => {
                if let Some(index) = NDTA_THRESHOLDS.iter().position(|threshold| *threshold == kind) {
                    table.thresholds[index] = u32_at(value, 0).unwrap_or_default().into();
                }
            }
        }
    }
    has_entries.then_some(table)
}

fn text(value: &[u8]) -> String {
    value.strip_suffix(b"\0").unwrap_or(value).escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::samples::attribute;
    use super::{super::decode::Message, NO_QUEUE, neighbours, queue};
    use crate::netns::rtnetlink::messages;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::from(u32::try_from(body.len() + 16).expect("short").to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    fn discipline(kind: &str, parent: u32) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 0];
        for word in [7, 0, parent, 0] {
            body.extend(u32::to_ne_bytes(word));
        }
        body.extend(attribute(1, format!("{kind}\0").as_bytes()));
        let figures: Vec<u8> = [1_u32, 200, 30, 4, 5].iter().flat_map(|it| it.to_ne_bytes()).collect();
        body.extend(attribute(7, &attribute(3, &figures)));
        message(36, &body)
    }

    fn decoded<T>(bytes: &[u8], decode: impl Fn(super::Answer<'_>) -> Option<T>) -> Option<T> {
        messages(bytes).find_map(|message| match message {
            Message::Answer(answer) => decode(answer),
            Message::Done | Message::Interrupted | Message::Error(_) => None,
        })
    }

    #[test]
    fn a_devices_queue_is_the_one_at_the_root() {
        let (ifindex, found) = decoded(&discipline("tbf", 0xffff_ffff), queue).expect("a queue");
        assert_eq!((ifindex, found.kind.as_str()), (7, "tbf"));
        assert_eq!((found.backlog_bytes, found.drops, found.overlimits), (200, 30, 5));
        assert!(decoded(&discipline("tbf", 0x1_0000), queue).is_none());
        assert!(decoded(&discipline(NO_QUEUE, 0xffff_ffff), queue).is_none());
    }

    #[test]
    fn a_table_of_neighbours_has_entries_and_a_devices_settings_have_none() {
        let name = attribute(1, b"arp_cache\0");
        let thresholds = [128_u32, 512, 1024].map(u32::to_ne_bytes);
        let mut config = vec![4, 0, 100, 1];
        config.extend(42_u32.to_ne_bytes());
        let mut stats = vec![0; 80];
        stats.extend(3_u64.to_ne_bytes());
        let mut body = vec![0; 4];
        body.extend(&name);
        for (kind, value) in (2..).zip(&thresholds) {
            body.extend(attribute(kind, value));
        }
        body.extend(attribute(5, &config));
        body.extend(attribute(7, &stats));
        let table = decoded(&message(64, &body), neighbours).expect("a table");
        assert_eq!((table.family, table.entries, table.full), ("ipv4", 42, 3));
        assert_eq!(table.thresholds, [128, 512, 1024]);
        let settings = [vec![0; 4], name].concat();
        assert_eq!(decoded(&message(64, &settings), neighbours), None);
    }
}
