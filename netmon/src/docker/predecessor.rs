//! How the netmon before ended: the last task of the same Swarm service that ended on this node. The engine keeps the
//! containers of ended tasks for a while (`docker swarm update --task-history-limit`).

use std::time::Duration;

use super::{
    DockerError,
    client::{Client, RequestError, filters},
    convert,
    host::EngineAddress,
    wire::{self, List},
};

/// How long all answers together may take. netmon starts meanwhile.
const PATIENCE: Duration = Duration::from_secs(15);
/// The label of a task's container that names its service.
const SERVICE: &str = "com.docker.swarm.service.id";

/// Why it is not known how the netmon before ended.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// netmon cannot use the engine's address.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The engine does not say.
    #[error("{0}")]
    Request(String),
    /// The engine took too long.
    #[error("the Docker engine took more than {} s", PATIENCE.as_secs())]
    Slow,
}

impl From<RequestError> for Unknown {
    fn from(error: RequestError) -> Self {
        Self::Request(error.to_string())
    }
}

/// The exit status of the last container of this Swarm service that ended on this node. `None` if there is none.
/// `host` is the engine's address, as in [`super::Options`].
///
/// # Errors
/// See [`Unknown`].
pub async fn predecessor(host: Option<String>, service: &str) -> Result<Option<i64>, Unknown> {
    let host = EngineAddress::configured(host.as_deref())?;
    tokio::time::timeout(PATIENCE, ask(host, service))
        .await
        .map_err(|_| Unknown::Slow)?
}

async fn ask(host: EngineAddress, service: &str) -> Result<Option<i64>, Unknown> {
    let client = Client::connect(host, PATIENCE).await?;
    let wanted = filters(&[
        ("label", &[format!("{SERVICE}={service}")]),
        ("status", &["exited".to_owned()]),
    ]);
    let list: List<wire::Ended> = client.get(&format!("/containers/json?all=1&filters={wanted}")).await?;
    let newest = list.items.into_iter().max_by_key(|it| it.created);
    let Some(id) = newest.and_then(|it| convert::id(&it.id)) else {
        return Ok(None);
    };
    let described: wire::End = client.get(&format!("/containers/{id}/json")).await?;
    Ok(Some(described.state.exit_code))
}
