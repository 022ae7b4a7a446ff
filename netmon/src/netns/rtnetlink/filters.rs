//! Decodes clsact filters from rtnetlink messages.

use super::decode::{Answer, attributes, u32_at};

const RTM_NEWTFILTER: u16 = 44;
const TCMSG_BYTES: usize = 20;
const TCA_OPTIONS: u16 = 2;
/// The id of the filter's BPF program, since 4.13.
const TCA_BPF_ID: u16 = 11;

/// The two clsact hooks of a device (`linux/pkt_sched.h`: `TC_H_CLSACT` and `TC_H_MIN_INGRESS`, `_EGRESS`).
pub(super) const INGRESS: u32 = 0xffff_fff2;
pub(super) const EGRESS: u32 = 0xffff_fff3;

/// The id of a filter's BPF program. `None` if the filter has no program.
pub(super) fn program(answer: Answer<'_>) -> Option<u32> {
    if answer.kind != RTM_NEWTFILTER {
        return None;
    }
    let mut all = answer.attributes(TCMSG_BYTES);
    let (_, options) = all.find(|(kind, _)| *kind == TCA_OPTIONS)?;
    let (_, id) = attributes(options).find(|(kind, _)| *kind == TCA_BPF_ID)?;
    u32_at(id, 0)
}
