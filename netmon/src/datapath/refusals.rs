//! Reads how many events found no entry in a map of counts, by the cause.

use aya::maps::{Map, MapData, PerCpuArray};
use netmon_common::refusal::NAMES;

use super::DatapathError;
use crate::model::health::Refusals;

/// The counts of an array that the programs count refusals in.
///
/// # Errors
/// The kernel refuses, or it is another kind of map.
pub(super) fn refusals(map: &Map) -> Result<Refusals, DatapathError> {
    let array: PerCpuArray<&MapData, u64> = map.try_into().map_err(DatapathError::map)?;
    let of = |(cause, name)| {
        let counts = array.get(&cause, 0).map_err(DatapathError::map)?;
        Ok((name, counts.iter().sum()))
    };
    (0..).zip(NAMES).map(of).collect()
}
