//! How many connections conntrack tracks in a namespace. Knows where its count may be, and takes nothing else for it.

use netmon_common::protocols::{CONNTRACK_COUNT, CONNTRACK_ID, CONNTRACK_SETTING, CONNTRACK_SETTINGS};

use super::Object;
use crate::kernel::Arguments;

/// The count of the namespace at this address. `None` if what is under the number of the argument is not conntrack's.
///
/// Among conntrack's settings is its count (`net.netfilter.nf_conntrack_count`), so a table of settings leads back to it.
/// Nothing else under any number has that. The program runs under RCU, which holds the list of pointers. A namespace has
/// what is conntrack's until nothing is in it any more, and the thread is in it.
#[inline(always)]
pub(super) fn entries(object: &impl Object, net: u64, arguments: &impl Arguments) -> Option<u64> {
    let id = arguments.number(CONNTRACK_ID);
    if id == 0 {
        return None;
    }
    let pointers: u64 = object.probe(net, object.namespace_generic())?;
    // The list's length is where its first pointer would be (`struct net_generic`).
    let length: u32 = object.probe(pointers, 0)?;
    if id >= length {
        return None;
    }
    let its: u64 = object.probe(pointers.wrapping_add(u64::from(id) * 8), 0)?;
    let settings: u64 = object.probe(its, arguments.number(CONNTRACK_SETTINGS))?;
    let table: u64 = object.probe(settings, object.settings_table())?;
    let setting: u64 = object.probe(table, arguments.number(CONNTRACK_SETTING))?;
    let count = its.wrapping_add(arguments.number(CONNTRACK_COUNT).into());
    if setting != count {
        return None;
    }
    object.probe::<u32>(count, 0).map(u64::from)
}
