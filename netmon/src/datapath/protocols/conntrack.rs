//! Where the kernel has conntrack's count of a namespace. Owns the search for it. Must not know how the program is run.
//!
//! A namespace has what belongs to a module under a number (`net->gen->ptr[id]`), which only that module knows. So each
//! number is tried: the program takes none but conntrack's ([`netmon_common::protocols::CONNTRACK_ID`]).

use crate::datapath::{DatapathError, btf::Types};

const MODULE: &str = "nf_conntrack";
/// What a namespace has of conntrack.
const STRUCTURE: &str = "nf_conntrack_net";
/// One of the settings of a table.
const SETTING: &str = "ctl_table";
/// The first number that a module may get (`MIN_PERNET_OPS_ID`, at least), and one that no kernel comes near.
const IDS: std::ops::Range<u32> = 1..256;
/// The count is the second of conntrack's settings (`NF_SYSCTL_CT_COUNT`). Its neighbours are tried as well.
const SETTINGS: u32 = 4;

/// Where conntrack's count is.
#[derive(Debug)]
pub(super) struct Conntrack {
    /// A setting's size, and where the address of its value is in it.
    setting: Option<[u32; 2]>,
    /// Where the count and the table of settings are in what a namespace has of conntrack.
    fields: Option<[u32; 2]>,
    /// Under which number that is.
    pub(super) place: Option<Place>,
}

/// A number, and the offset of the address of the count's setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    id: u32,
    setting: u32,
}

impl Conntrack {
    /// What the kernel itself describes. Conntrack's types may be those of a module.
    pub(super) fn new(types: &Types) -> Self {
        let setting = || Some([types.size(SETTING)?, types.offset(SETTING, "data")?]);
        Self {
            setting: setting(),
            fields: fields(types),
            place: None,
        }
    }

    /// Reads the module's types, if conntrack is a module.
    pub(super) fn describe(&mut self) -> Result<(), DatapathError> {
        if self.fields.is_none() {
            self.fields = fields(&Types::of_module(MODULE)?);
        }
        let missing = |structure, member| DatapathError::NoField { structure, member };
        self.fields.ok_or(missing(STRUCTURE, "count"))?;
        self.setting.ok_or(missing(SETTING, "data"))?;
        Ok(())
    }

    /// All places where the count may be.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Place> + use<> {
        let settings = self.setting.into_iter().flat_map(|[size, data]| {
            // The second one first.
            let rows = [1].into_iter().chain((0..SETTINGS).filter(|row| *row != 1));
            rows.map(move |row| row * size + data)
        });
        settings.flat_map(|setting| IDS.map(move |id| Place { id, setting }))
    }

    /// The program's arguments: the number, and three offsets. The number is 0 as long as it is unknown.
    pub(super) fn arguments(&self) -> [u64; 4] {
        match (self.place, self.fields) {
            (Some(Place { id, setting }), Some([count, settings])) => [id, setting, count, settings].map(u64::from),
            _ => [0; 4],
        }
    }
}

fn fields(types: &Types) -> Option<[u32; 2]> {
    Some([
        types.offset(STRUCTURE, "count")?,
        types.offset(STRUCTURE, "sysctl_header")?,
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Conntrack, Place};

    #[test]
    fn each_number_is_tried_with_each_setting_once() {
        let conntrack = Conntrack {
            setting: Some([64, 8]),
            fields: Some([0, 16]),
            place: None,
        };
        let all: Vec<_> = conntrack
            .candidates()
            .map(|Place { id, setting }| (id, setting))
            .collect();
        assert_eq!(all.first(), Some(&(1, 72)));
        let settings: BTreeSet<_> = all.iter().map(|(_, setting)| *setting).collect();
        assert_eq!(settings, BTreeSet::from([8, 72, 136, 200]));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(all.len(), 4 * 255);
    }

    #[test]
    fn what_is_not_known_is_not_looked_for() {
        let mut conntrack = Conntrack {
            setting: None,
            fields: None,
            place: None,
        };
        assert_eq!(conntrack.candidates().count(), 0);
        assert_eq!(conntrack.arguments(), [0; 4]);
        conntrack.place = Some(Place { id: 7, setting: 72 });
        assert_eq!(conntrack.arguments(), [0; 4]);
        conntrack.fields = Some([0, 16]);
        assert_eq!(conntrack.arguments(), [7, 72, 0, 16]);
    }
}
