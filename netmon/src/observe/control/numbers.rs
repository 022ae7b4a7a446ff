//! The nsids of namespaces: the kernel reports changes of devices only from namespaces that have one.

use std::{fs::File, path::Path, time::Instant};

use tracing::debug;

use super::Loop;
use crate::{
    model::{
        interface::NetnsId,
        netns::{NetnsFile, Role},
    },
    netns::enter::EnterError,
    observe::{read::ReadError, state::Number},
    workers::Turn,
};

impl Loop {
    /// The nsids of these namespaces. Assigns one to those that have none. It does so before they are looked at, so that
    /// every change after the look is received. Also returns why one of them got none, if that may change soon.
    pub(super) fn number_all(
        &mut self,
        files: impl IntoIterator<Item = NetnsFile>,
        turn: &Turn<'_>,
    ) -> (Vec<(NetnsFile, Option<Number>)>, Option<ReadError>) {
        let mut want = None;
        let mut numbered = Vec::new();
        for file in files {
            turn.renew();
            let number = self.number(&file).unwrap_or_else(|error| {
                debug!(path = %file.path.display(), %error, "changes in a namespace are found by looking");
                want = want.take().or_else(|| error.is_want().then_some(error));
                None
            });
            numbered.push((file, number));
        }
        if numbered.iter().any(|(_, number)| number.is_some()) {
            self.waker.wake();
        }
        (numbered, want)
    }

    /// The nsid of a namespace that is not known to have one. Assigns one if it has none.
    fn number(&mut self, file: &NetnsFile) -> Result<Option<Number>, ReadError> {
        // The node's devices are not counted, and messages about them carry no nsid.
        if file.role == Role::Node {
            return Ok(None);
        }
        let open = File::open(&file.path).map_err(|source| EnterError::Open {
            path: file.path.clone(),
            source,
        })?;
        let nsid = self.home.number(open)?;
        let since = Instant::now();
        Ok(nsid.map(|nsid| Number { nsid, since }))
    }

    /// Asks for the nsids of the namespaces that have none yet: one may have got its nsid just now. The node's own never
    /// has one.
    pub(super) fn find_number(&mut self, wanted: i32) -> Option<NetnsId> {
        let unnumbered: Vec<_> = self
            .shared
            .lock()
            .namespaces()
            .iter()
            .filter(|(_, namespace)| namespace.number.is_none() && namespace.file.role != Role::Node)
            .map(|(netns, namespace)| (*netns, namespace.file.path.clone()))
            .collect();
        let mut found = None;
        for (netns, path) in unnumbered {
            let Some(number) = self.number_of(&path) else { continue };
            self.shared.lock().numbered(netns, number);
            self.waker.wake();
            if number.nsid == wanted {
                found = Some(netns);
            }
        }
        found
    }

    /// Whether a namespace still has this nsid in the node's namespace.
    pub(super) fn calls(&mut self, netns: NetnsId, nsid: i32) -> bool {
        let path = self
            .shared
            .lock()
            .namespaces()
            .get(&netns)
            .map(|it| it.file.path.clone());
        path.and_then(|path| self.number_of(&path))
            .is_some_and(|number| number.nsid == nsid)
    }

    /// The nsid of the namespace on that file in the node's namespace, if it has one.
    fn number_of(&mut self, path: &Path) -> Option<Number> {
        let file = File::open(path).ok()?;
        let nsid = self.home.nsid(file).ok().flatten()?;
        let since = Instant::now();
        Some(Number { nsid, since })
    }
}
