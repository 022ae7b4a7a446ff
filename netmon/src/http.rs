//! Serves pages. The only module that names hyper.
//!
//! Knows requests, limits and slow clients, but nothing of a page's content. Clients cannot make anything here grow
//! without limit: connections, concurrent scrapes, header sizes and waiting times are all bounded.

mod accept;
mod access;
mod address;
mod body;
mod clients;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub mod healthcheck;
mod network;
mod rendered;
mod respond;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpSocket, lookup_host},
    sync::watch,
    task::JoinSet,
};
use tracing::{debug, info, warn};

use self::{
    access::Conversation,
    address::Listen,
    clients::{Clients, Connection},
    respond::{Request, Site},
    stream::{Guarded, HEAD_TIMEOUT, Heads},
};
pub use self::{
    access::{Access, AccessError},
    rendered::{Rendered, Text},
    respond::FINDINGS,
};
use crate::model::health::HttpHealth;

/// Maximum number of connections. Prometheus keeps one, and a person's browser a few.
const MAX_CONNECTIONS: usize = 256;
/// The largest head of a request. A larger one is answered with status 431.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// How long open connections may take to finish when netmon ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);
/// The pause after a failed accept. Usually no file descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The content to serve.
pub trait Pages: Send + Sync + 'static {
    /// A page of metrics. May block for as long as a scrape takes. Several requests may get the same page.
    ///
    /// # Errors
    /// The reason why there is none.
    fn scrape(&self) -> Result<Arc<Rendered>, String>;

    /// Whether all of netmon's workers are running. Must not wait for any of them.
    ///
    /// # Errors
    /// The part that is not running.
    fn healthy(&self) -> Result<(), String>;

    /// Whether the metrics are complete yet.
    ///
    /// # Errors
    /// What is still missing.
    fn ready(&self) -> Result<(), String>;

    /// What is wrong, as JSON.
    fn findings(&self) -> String;

    /// The same for a person, a sentence each.
    fn sentences(&self) -> Vec<String>;
}

/// How to serve.
#[derive(Debug)]
pub struct Options {
    /// Where to listen: `address:port`, or `:port` for every address.
    pub listen: Vec<String>,
    /// Path of the metrics page.
    pub telemetry_path: String,
    /// Maximum number of concurrent scrapes. 0 means no limit.
    pub max_requests: usize,
    /// Whether a page is compressed for clients that accept it.
    pub compresses: bool,
    /// The version on the landing page.
    pub version: &'static str,
    /// Who has access to the pages.
    pub access: Arc<Access>,
}

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is not valid.
    #[error("cannot understand the listen address {address:?}: write ADDRESS:PORT or :PORT")]
    Address {
        /// The address.
        address: String,
    },
    /// The server cannot listen on the address.
    #[error("cannot listen on {address}: {source}; choose another with --web.listen-address")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The server no longer accepts connections somewhere, though nobody asked it to end.
    #[error("netmon no longer accepts connections: {how}; it exits to be restarted")]
    Ended {
        /// How that came.
        how: String,
    },
}

/// A server that is listening, but not serving yet.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    site: Site,
    clients: Arc<Clients>,
}

/// Access to the server's figures while it serves.
#[derive(Clone, Debug)]
pub struct Monitor(Arc<Clients>);

impl Monitor {
    /// The current connections, and how many clients were turned away.
    #[must_use]
    pub fn health(&self) -> HttpHealth {
        self.0.health()
    }
}

impl Server {
    /// Starts to listen, so that a port in use is an error at start-up.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn bind(options: Options) -> Result<Self, HttpError> {
        let mut listeners = Vec::new();
        for address in &options.listen {
            listeners.push(listen(address).await?);
        }
        let clients = Arc::new(Clients::new(MAX_CONNECTIONS));
        Ok(Self {
            listeners,
            site: Site::new(options, Arc::clone(&clients)),
            clients,
        })
    }

    /// The server's figures. Can be read while it serves.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor(Arc::clone(&self.clients))
    }

    /// The addresses it listens on.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Serves until `shutdown` completes, then gives open connections half a second.
    ///
    /// # Errors
    /// A listener ended by itself: [`HttpError::Ended`]. The others were ended, too.
    pub async fn serve<P: Pages>(self, pages: Arc<P>, shutdown: impl Future<Output = ()>) -> Result<(), HttpError> {
        let (end, ended) = watch::channel(());
        let site = Arc::new(self.site);
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(
                listener,
                Arc::clone(&site),
                Arc::clone(&pages),
                Arc::clone(&self.clients),
                ended.clone(),
            ));
        }
        drop(ended);
        supervise(accepting, end, shutdown).await
    }
}

/// Waits until `shutdown` completes or a listener ends by itself, then ends all listeners. Each ends its connections.
async fn supervise(
    mut accepting: JoinSet<()>,
    end: watch::Sender<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), HttpError> {
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        Some(outcome) = accepting.join_next() => {
            let how = outcome.map_or_else(|error| error.to_string(), |()| "a listener ended by itself".to_owned());
            Err(HttpError::Ended { how })
        }
    };
    drop(end);
    while accepting.join_next().await.is_some() {}
    outcome
}

async fn listen(address: &str) -> Result<TcpListener, HttpError> {
    let failed = |source| HttpError::Listen {
        address: address.to_owned(),
        source,
    };
    let nonsense = || HttpError::Address {
        address: address.to_owned(),
    };
    if let Listen::Everywhere(port) = Listen::parse(address).ok_or_else(nonsense)? {
        // A host without IPv6 has only IPv4.
        return match bind((Ipv6Addr::UNSPECIFIED, port).into()) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                bind((Ipv4Addr::UNSPECIFIED, port).into()).map_err(failed)
            }
            result => result.map_err(failed),
        };
    }
    let mut found = lookup_host(address).await.map_err(|_| nonsense())?;
    let resolved = found.next().ok_or_else(nonsense)?;
    bind(resolved).map_err(failed)
}

/// Listens on the address. `[::]` is every address, those of IPv4 too, whatever `net.ipv6.bindv6only` is.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    /// The kernel takes no more than `net.core.somaxconn`.
    const BACKLOG: u32 = 4096;

    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.is_ipv6() && address.ip().is_unspecified() {
        SockRef::from(&socket).set_only_v6(false)?;
    }
    // Connections of a netmon that has just ended do not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept<P: Pages>(
    listener: TcpListener,
    site: Arc<Site>,
    pages: Arc<P>,
    clients: Arc<Clients>,
    mut ended: watch::Receiver<()>,
) {
    let connections = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    let mut is_short = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.changed() => break,
        };
        match accepted {
            Ok((stream, client)) => {
                is_short = false;
                let Some(connection) = clients.connection(client.ip().to_canonical(), Instant::now()) else {
                    continue;
                };
                let connection = Arc::new(connection);
                let (site, pages, watcher) = (Arc::clone(&site), Arc::clone(&pages), connections.watcher());
                tasks.spawn(async move {
                    let its = Arc::clone(&connection);
                    let talk = async move {
                        // A TLS handshake may take as long as a head.
                        let agreed = tokio::time::timeout(HEAD_TIMEOUT, site.agree(stream)).await;
                        let conversation = agreed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                        match conversation {
                            Ok(conversation) => {
                                if let Err(error) = watcher.watch(converse(conversation, site, pages, &its)).await {
                                    its.failed(&error);
                                    debug!(%client, %error, "a connection ended early");
                                }
                            }
                            Err(error) => debug!(%client, %error, "a client and netmon did not agree on how to talk"),
                        }
                    };
                    tokio::select! {
                        () = talk => {}
                        () = connection.has_to_leave() => debug!(%client, "a client had to make room for others"),
                    }
                });
            }
            Err(error) => {
                // Warns once and not ten times a second: the error persists until resources are free again.
                if !std::mem::replace(&mut is_short, true) {
                    warn!(%error, "cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while tasks.try_join_next().is_some() {}
    }
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, connections.shutdown())
        .await
        .is_err()
    {
        info!("closing connections that are still open");
    }
}

fn converse<P: Pages>(
    conversation: Conversation,
    site: Arc<Site>,
    pages: Arc<P>,
    connection: &Arc<Connection>,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send + use<P> {
    let (connection, heads) = (Arc::clone(connection), Heads::default());
    let stream = Guarded::new(conversation, heads.clone());
    let service = service_fn(move |request: Request| {
        heads.is_read();
        let (site, pages, connection) = (Arc::clone(&site), Arc::clone(&pages), Arc::clone(&connection));
        async move {
            let answer = site.respond(&request, &pages, &connection).await;
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
}
