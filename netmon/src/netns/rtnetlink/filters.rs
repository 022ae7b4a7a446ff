//! Decodes clsact filters from rtnetlink messages.

use super::decode::{Answer, attributes, u32_at};
use crate::model::programs::Filter;

const RTM_NEWTFILTER: u16 = 44;
const TCMSG_BYTES: usize = 20;
/// `tcmsg.tcm_handle` and `tcmsg.tcm_info`.
const HANDLE: usize = 8;
const INFO: usize = 16;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
/// The kind of filters that are BPF programs. Other kinds have options with the same numbers.
const BPF: &[u8] = b"bpf\0";
const TCA_BPF_NAME: u16 = 7;
/// The id of the filter's BPF program, since 4.13.
const TCA_BPF_ID: u16 = 11;

/// The two clsact hooks of a device (`linux/pkt_sched.h`: `TC_H_CLSACT` and `TC_H_MIN_INGRESS`, `_EGRESS`).
pub(super) const INGRESS: u32 = 0xffff_fff2;
pub(super) const EGRESS: u32 = 0xffff_fff3;

/// A filter with a BPF program. `None` if it has none.
pub(super) fn filter(answer: Answer<'_>) -> Option<Filter> {
    if answer.kind != RTM_NEWTFILTER {
        return None;
    }
    let (mut is_bpf, mut options) = (false, None);
    for (kind, value) in answer.attributes(TCMSG_BYTES) {
        match kind {
            TCA_KIND => is_bpf = value == BPF,
            TCA_OPTIONS => options = Some(value),
            _ => {}
        }
    }
    let (mut program, mut name) = (None, String::new());
    for (kind, value) in attributes(options.filter(|_| is_bpf)?) {
        match kind {
            TCA_BPF_ID => program = u32_at(value, 0),
            TCA_BPF_NAME => name = value.strip_suffix(b"\0").unwrap_or(value).escape_ascii().to_string(),
            _ => {}
        }
    }
    let [high, low, ..] = u32_at(answer.payload, INFO)?.to_be_bytes();
    Some(Filter {
        name,
        program: program?,
        priority: u16::from_be_bytes([high, low]),
        handle: u32_at(answer.payload, HANDLE)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::attribute;
    use super::filter;
    use crate::{
        model::programs::Filter,
        netns::rtnetlink::{Message, decode::messages},
    };

    /// The first filter of this kind in a message of the kernel: priority 1, for all protocols.
    fn decoded(kind: &str, options: &[u8]) -> Option<Filter> {
        let body = [
            &[0; 8][..],
            &0x1234_u32.to_ne_bytes(),
            &0xffff_fff2_u32.to_ne_bytes(),
            &(1_u32 << 16 | u32::from(0x0003_u16.to_be())).to_ne_bytes(),
            &attribute(1, format!("{kind}\0").as_bytes()),
            &attribute(2, options),
        ]
        .concat();
        let mut message = Vec::from(u32::try_from(body.len() + 16).expect("short").to_ne_bytes());
        message.extend(44_u16.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        messages(&message).find_map(|message| match message {
            Message::Answer(answer) => filter(answer),
            Message::Done | Message::Interrupted | Message::Error(_) => None,
        })
    }

    #[test]
    fn a_filter_has_its_programs_name_and_id_its_priority_and_its_handle() {
        let options = [attribute(7, b"traffic_ingress\0"), attribute(11, &77_u32.to_ne_bytes())].concat();
        let found = decoded("bpf", &options).expect("a filter");
        let wanted = Filter {
            name: "traffic_ingress".to_owned(),
            program: 77,
            priority: 1,
            handle: 0x1234,
        };
        assert_eq!(found, wanted);
        assert_eq!(
            decoded("flower", &options),
            None,
            "the numbers have another meaning there"
        );
        assert_eq!(decoded("bpf", &attribute(7, b"classic\0")), None, "it has no id");
    }
}
