//! Access to the pages, and encryption: the settings in the `--web.config.file`, reloaded when the file changes.
//!
//! Owns the rules in force. Knows nothing of pages. The file has the format of Prometheus' exporters
//! (`exporter-toolkit`, `docs/web-configuration.md`). Settings that netmon does not support are rejected with an
//! explanation and never ignored, because operators rely on what they wrote.

mod basic_auth;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
pub(super) mod local;
mod rate;
#[cfg(test)]
mod tests;
mod tls;
mod turns;

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use tokio::{io::AsyncRead, io::AsyncWrite, net::TcpStream};
use tracing::{info, warn};

use self::{basic_auth::BasicAuth, rate::Rate, tls::Tls};

/// The minimum time between checks for a changed file. There may be thousands of connections a second.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A file of rules or certificates has a few kilobytes.
const LARGEST_FILE: u64 = 1 << 20;

/// Why the rules cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; see --web.config.file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a web configuration.
    #[error("{} is not a web configuration: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The error and its place.
        reason: String,
    },
    /// A setting is invalid, or netmon does not support it.
    #[error("{}: {key}: {reason}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// The setting's key.
        key: String,
        /// Why not.
        reason: String,
    },
}

/// The rules for a connection and the requests on it.
#[derive(Debug, Default)]
pub(super) struct Rules {
    tls: Option<Tls>,
    users: Option<BasicAuth>,
    rate: Option<Rate>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Whether a request is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is accepted.
    Welcome,
    /// The client is not authenticated.
    Unknown,
    /// There were too many requests.
    TooMany,
}

/// The rules in force, and their source.
#[derive(Debug)]
pub struct Access {
    file: Option<PathBuf>,
    rules: ArcSwap<Rules>,
    /// The files that the rules were made from, and when they were last checked.
    seen: Mutex<(Vec<Stamp>, Instant)>,
    is_current: AtomicBool,
}

/// A file's state without its content. It changes if the file is replaced or written to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    /// Device, inode, size, and the time of the last change. `None` if there is no file.
    state: Option<(u64, u64, u64, i64, i64)>,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            state: fs::metadata(path)
                .ok()
                .map(|it| (it.dev(), it.ino(), it.size(), it.ctime(), it.ctime_nsec())),
        }
    }
}

impl Access {
    /// Reads the rules. Without a file everybody has access, without encryption.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn read(file: Option<PathBuf>) -> Result<Self, AccessError> {
        let (rules, stamps) = match &file {
            Some(path) => load(path)?,
            None => (Rules::default(), Vec::new()),
        };
        Ok(Self {
            file,
            rules: ArcSwap::from_pointee(rules),
            seen: Mutex::new((stamps, Instant::now())),
            is_current: AtomicBool::new(true),
        })
    }

    /// Whether the rules in force are the file's current ones. `None` without a file.
    #[must_use]
    pub fn is_current(&self) -> Option<bool> {
        self.file.as_ref().map(|_| self.is_current.load(Ordering::Relaxed))
    }

    /// The rules in force. Checks now and then whether the files have changed. Invalid rules do not replace the
    /// current ones.
    pub(super) async fn rules(this: &Arc<Self>) -> Arc<Rules> {
        if this.is_due() {
            let access = Arc::clone(this);
            // Files may be slow. Who serves must not wait for them, but this request does: the file may have taken
            // somebody's access away.
            let looked = tokio::task::spawn_blocking(move || access.refresh()).await;
            if let Err(panic) = looked {
                this.is_current.store(false, Ordering::Relaxed);
                warn!(%panic, "cannot check the web configuration; the previous one stays in force");
            }
        }
        this.rules.load_full()
    }

    /// Whether the files have to be checked, and no other thread does.
    fn is_due(&self) -> bool {
        let seen = || self.seen.try_lock();
        self.file.is_some() && seen().is_ok_and(|seen| seen.1.elapsed() >= LOOK_EVERY)
    }

    fn refresh(&self) {
        let Some(path) = &self.file else { return };
        // While another thread reloads, the current rules apply.
        let Ok(mut seen) = self.seen.try_lock() else { return };
        let (stamps, at) = &mut *seen;
        if at.elapsed() < LOOK_EVERY {
            return;
        }
        *at = Instant::now();
        let now: Vec<Stamp> = stamps.iter().map(|stamp| Stamp::of(&stamp.path)).collect();
        // Rejected rules may have named a file that was missing. So they are read again until they are valid.
        let was_refused = !self.is_current.load(Ordering::Relaxed);
        if now == *stamps && !was_refused {
            return;
        }
        match load(path) {
            Ok((rules, fresh)) => {
                *stamps = fresh;
                rules.remember(&self.rules.load());
                self.rules.store(Arc::new(rules));
                self.is_current.store(true, Ordering::Relaxed);
                info!(file = %path.display(), "web configuration reloaded");
            }
            Err(error) => {
                if now != *stamps {
                    warn!(%error, "the changed web configuration is invalid; the previous one stays in force");
                }
                *stamps = now;
                self.is_current.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Makes the next request check the files.
    #[cfg(test)]
    pub(super) fn look_now(&self) {
        let mut seen = self.seen.lock().expect("nobody panicked");
        if let Some(before) = Instant::now().checked_sub(LOOK_EVERY) {
            seen.1 = before;
        }
    }
}

impl Rules {
    /// Begins the conversation with the client: plain, or with a TLS handshake.
    pub(super) async fn agree(&self, stream: TcpStream) -> io::Result<Conversation> {
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => Ok(Box::new(tls.accept(stream).await?)),
        }
    }

    /// Decides on a request of a client at that address, by its headers. Whoever is known already is not limited:
    /// otherwise strangers could use up the limit.
    pub(super) async fn judge(&self, headers: &HeaderMap, address: IpAddr) -> Verdict {
        let claim = self.users.as_ref().map(|users| (users, users.claim(headers)));
        if let Some((users, Some(claim))) = &claim
            && users.remembers(claim)
        {
            return Verdict::Welcome;
        }
        if self
            .rate
            .as_ref()
            .is_some_and(|rate| !rate.admits(address, Instant::now()))
        {
            return Verdict::TooMany;
        }
        let is_welcome = match claim {
            Some((users, Some(claim))) => users.is_right(claim, address).await,
            Some((_, None)) => false,
            None => true,
        };
        if is_welcome { Verdict::Welcome } else { Verdict::Unknown }
    }

    /// Takes over what the rules before these have learned about clients.
    fn remember(&self, before: &Self) {
        if let (Some(users), Some(before)) = (&self.users, &before.users) {
            users.remember(before);
        }
    }

    /// Additional headers for every answer.
    pub(super) fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.headers.iter().cloned()
    }
}

/// A connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) type Conversation = Box<dyn Stream>;

/// Loads the rules, and records the state of the files they are made from.
fn load(path: &Path) -> Result<(Rules, Vec<Stamp>), AccessError> {
    // The stamp is taken before the file is read. So the next check notices a change during the read.
    let mut stamps = vec![Stamp::of(path)];
    let file = file::parse(path, &read(path)?)?;
    // What the file itself says comes first: its faults are shown before those of other files.
    let users = BasicAuth::new(&file.basic_auth_users, path)?;
    let rate = Rate::new(&file.rate_limit, path)?;
    let headers = file.headers(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let tls = match &file.tls_server_config {
        Some(settings) => {
            stamps.extend(settings.files().map(|file| Stamp::of(&folder.join(file))));
            Some(Tls::new(settings, path, folder)?)
        }
        None => None,
    };
    Ok((
        Rules {
            tls,
            users,
            rate,
            headers,
        },
        stamps,
    ))
}

/// Reads a whole file, unless it is too large.
fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    let failed = |source| AccessError::Read {
        path: path.to_owned(),
        source,
    };
    let size = fs::metadata(path).map_err(failed)?.size();
    if size > LARGEST_FILE {
        return Err(failed(io::Error::other(format!(
            "it has more than {LARGEST_FILE} bytes"
        ))));
    }
    fs::read(path).map_err(failed)
}

/// A setting that cannot be accepted.
fn setting(path: &Path, key: impl Into<String>, reason: impl Into<String>) -> AccessError {
    AccessError::Setting {
        path: path.to_owned(),
        key: key.into(),
        reason: reason.into(),
    }
}
