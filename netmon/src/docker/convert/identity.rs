//! Whose a container is: its service, its stack and its task, from its name and labels.
//!
//! A container has its image's labels, too, and an image has any labels: `docker commit` of a task keeps Swarm's. So
//! Swarm's labels count only where they agree with a name, which no image can choose. Compose leaves nothing to
//! compare with: its labels are believed.

use std::collections::BTreeMap;

use super::text;
use crate::model::inventory::Identity;

/// The task that Swarm made a container for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task<'a> {
    service: &'a str,
    slot: &'a str,
    id: &'a str,
}

impl<'a> Task<'a> {
    /// The container's task. Swarm calls the container `service.slot.id` (`naming.Task` in swarmkit), or
    /// `service.node.id` if the service is global, and its labels say the same. Anything else is `None`.
    pub(super) fn of(name: &'a str, labels: &BTreeMap<String, String>) -> Option<Self> {
        let mut parts = name.rsplitn(3, '.');
        let (id, slot, service) = (parts.next()?, parts.next()?, parts.next()?);
        let says = |label: &str, value: &str| labels.get(label).is_some_and(|said| said == value);
        let is_task = ![id, slot, service].contains(&"")
            && says("com.docker.swarm.task.name", name)
            && says("com.docker.swarm.task.id", id)
            && says("com.docker.swarm.service.name", service);
        is_task.then_some(Self { service, slot, id })
    }

    pub(super) fn id(self) -> String {
        text(self.id)
    }

    /// The slot, or the node's id if the service is global.
    pub(super) fn slot(self) -> String {
        text(self.slot)
    }

    /// The stack. `docker stack deploy` calls its services `stack_service`. A service without a stack has the label if
    /// its image has it.
    fn stack(self, labels: &BTreeMap<String, String>) -> Option<String> {
        let stack = labels.get("com.docker.stack.namespace")?;
        let rest = self.service.strip_prefix(stack.as_str())?;
        (!stack.is_empty() && rest.starts_with('_')).then(|| text(stack))
    }
}

/// Container, service and stack. For a Swarm task only Swarm's labels count: `docker compose build` leaves Compose's
/// labels in the image.
pub(super) fn identity(name: &str, task: Option<Task<'_>>, labels: &BTreeMap<String, String>) -> Identity {
    let (service, stack) = match task {
        Some(task) => (Some(text(task.service)), task.stack(labels)),
        None => (
            label(labels, "com.docker.compose.service"),
            label(labels, "com.docker.compose.project"),
        ),
    };
    Identity {
        container: text(name),
        service: service.unwrap_or_default(),
        stack: stack.unwrap_or_default(),
    }
}

/// A label that is present and not empty.
pub(super) fn label(labels: &BTreeMap<String, String>, name: &str) -> Option<String> {
    labels
        .get(name)
        .filter(|value| !value.is_empty())
        .map(|value| text(value))
}
