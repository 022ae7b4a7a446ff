//! The filters of a device to which programs are about to be attached.

use crate::{
    datapath::{attach::AttachError, host::Mode},
    model::{counters::Directions, programs::Filter},
    netns::rtnetlink::Client,
};

/// The filters of a device in the client's namespace. They do not matter, and are not read, if the programs will be no
/// filters themselves.
///
/// # Errors
/// The kernel does not list them.
pub(super) fn before(
    mode: Mode,
    name: &str,
    ifindex: u32,
    client: &mut Client,
) -> Result<Directions<Vec<Filter>>, AttachError> {
    match mode {
        Mode::Tcx => Ok(Directions::default()),
        Mode::Clsact => client.filters(ifindex).map_err(|source| AttachError::Unlisted {
            name: name.to_owned(),
            source: source.into(),
        }),
    }
}
