//! Why the engine cannot be reached, and what to do about it: from the kernel's error and from the socket's file.

use std::{
    error::Error,
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

/// Why nothing answers at the engine's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// There is no socket at that path.
    NoSocket,
    /// The path leads to something that is no socket.
    NotASocket,
    /// The socket's file was deleted, and only a bind mount still holds it. Nobody can ever listen there again.
    Stale,
    /// Nobody listens on the socket.
    NobodyListens,
    /// netmon must not open the socket.
    Forbidden,
    /// Nobody listens at a host and port.
    Refused,
    /// Anything else.
    Other,
}

impl Cause {
    /// Finds the cause from the error, and from the file that a Unix socket has.
    pub(super) fn of(error: &(dyn Error + 'static), socket: Option<&Path>) -> Self {
        Self::decide(kind(error), socket.map(File::at))
    }

    fn decide(kind: Option<io::ErrorKind>, socket: Option<File>) -> Self {
        match (socket, kind) {
            (Some(File::Absent), _) => Self::NoSocket,
            (Some(File::Forbidden), _) | (Some(_), Some(io::ErrorKind::PermissionDenied)) => Self::Forbidden,
            (Some(File::Other), _) => Self::NotASocket,
            (Some(File::Deleted), Some(io::ErrorKind::ConnectionRefused)) => Self::Stale,
            (Some(File::Socket), Some(io::ErrorKind::ConnectionRefused)) => Self::NobodyListens,
            (None, Some(io::ErrorKind::ConnectionRefused)) => Self::Refused,
            _ => Self::Other,
        }
    }

    /// What to do.
    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::NoSocket => {
                "check that the engine runs, and --docker.host; if netmon runs in a container, bind the engine's socket"
            }
            Self::NotASocket => {
                "the engine had no socket when this path was bound, and made a directory of it; check that the engine \
                 runs, remove the directory and start netmon's container again"
            }
            Self::Stale => {
                "the engine was started again and has a new socket, but netmon's container holds the old one; start \
                 the container again (docker restart)"
            }
            Self::NobodyListens => {
                "check that the engine runs; if it was started again, a bound socket may be the old one, and netmon's \
                 container has to be started again, too"
            }
            Self::Forbidden => {
                "netmon may not open the socket: SELinux (run it with --security-opt label=disable), userns-remap \
                 (--userns=host), another user than root, or an engine of another user (rootless) forbid it"
            }
            Self::Refused | Self::Other => "check that it runs, and --docker.host",
        }
    }
}

/// What is at the path of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    /// Nothing.
    Absent,
    /// netmon may not look.
    Forbidden,
    /// A socket.
    Socket,
    /// A socket whose name was removed. A bind mount of the file shows it all the same.
    Deleted,
    /// Something else, or it cannot be told.
    Other,
}

impl File {
    fn at(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(file) if !file.file_type().is_socket() => Self::Other,
            Ok(file) if file.nlink() == 0 => Self::Deleted,
            Ok(_) => Self::Socket,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Forbidden,
            Err(_) => Self::Absent,
        }
    }
}

/// The kind of the innermost error of the kernel.
fn kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .last()
        .map(|error| innermost(error).kind())
}

/// An error of the kernel, without those that wrap it: their sources leave it out.
fn innermost(error: &io::Error) -> &io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
    inner.map_or(error, innermost)
}

/// What to do if the engine refused a request because of the version of its API. `None` if that is not why.
pub(super) fn version_remedy(status: u16, message: &str) -> Option<&'static str> {
    if status != 400 || !message.contains("client version") {
        None
    } else if message.contains("too old") {
        Some("this netmon speaks only older versions of the engine's API: install a newer netmon")
    } else if message.contains("too new") {
        Some("this netmon speaks only newer versions of the engine's API: install a newer engine")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{self, ErrorKind},
        os::{
            fd::AsRawFd as _,
            unix::net::{UnixListener, UnixStream},
        },
        path::Path,
    };

    use super::{Cause, File, version_remedy};
    use crate::{
        docker::{client::Client, host::EngineAddress},
        model::times::Times,
    };

    /// The cause of what happens when somebody connects to this path.
    fn cause(path: &Path) -> Cause {
        let error = UnixStream::connect(path).expect_err("nobody listens");
        Cause::of(&error, Some(path))
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_told_from_one_that_is_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docker.sock");
        assert_eq!(cause(&path), Cause::NoSocket);
        drop(UnixListener::bind(&path).expect("a socket"));
        assert_eq!(cause(&path), Cause::NobodyListens);
        assert_eq!(cause(folder.path()), Cause::NotASocket);
    }

    #[test]
    fn a_deleted_socket_that_is_still_held_is_stale() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docker.sock");
        drop(UnixListener::bind(&path).expect("a socket"));
        // What holds the file need not be a mount.
        let flags = rustix::fs::OFlags::PATH;
        let held = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).expect("the socket's file");
        let held = Path::new("/proc/self/fd").join(held.as_raw_fd().to_string());
        assert_eq!(cause(&held), Cause::NobodyListens);
        fs::remove_file(&path).expect("the file can be removed");
        // The engine has a new one of the same name.
        let _new = UnixListener::bind(&path).expect("a socket");
        assert_eq!(cause(&held), Cause::Stale);
    }

    #[tokio::test]
    async fn the_sentence_names_the_socket_the_error_and_the_remedy() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docker.sock");
        drop(UnixListener::bind(&path).expect("a socket"));
        let held = rustix::fs::open(&path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).expect("a file");
        let held = format!("unix:///proc/self/fd/{}", held.as_raw_fd());
        let said = async |address: &str| {
            let host = EngineAddress::choose(Some(address), None).expect("an address");
            let outcome = Client::connect(host, Times::default().engine_patience).await;
            outcome.err().expect("nobody listens")
        };
        let error = said(&held).await;
        assert!(!error.is_stale_socket(), "{error}");
        fs::remove_file(&path).expect("the file can be removed");
        let error = said(&held).await;
        assert!(error.is_stale_socket(), "{error}");
        for word in [&held, "Connection refused", "docker restart"] {
            assert!(error.to_string().contains(word), "it does not say {word}: {error}");
        }
        let error = said(&format!("unix://{}", path.display())).await.to_string();
        assert!(error.contains("bind the engine's socket"), "{error}");
    }

    #[test]
    fn each_cause_has_its_remedy() {
        let words = [
            (Some(ErrorKind::PermissionDenied), Some(File::Socket), "SELinux"),
            (None, Some(File::Forbidden), "userns-remap"),
            (Some(ErrorKind::PermissionDenied), Some(File::Deleted), "rootless"),
            (
                Some(ErrorKind::ConnectionRefused),
                Some(File::Deleted),
                "docker restart",
            ),
            (Some(ErrorKind::ConnectionRefused), Some(File::Socket), "started again"),
            (Some(ErrorKind::ConnectionRefused), Some(File::Other), "directory"),
            (None, Some(File::Absent), "bind the engine's socket"),
            (Some(ErrorKind::ConnectionRefused), None, "--docker.host"),
            (Some(ErrorKind::PermissionDenied), None, "--docker.host"),
            (None, None, "--docker.host"),
        ];
        for (kind, file, word) in words {
            let remedy = Cause::decide(kind, file).remedy();
            assert!(
                remedy.contains(word),
                "{kind:?} on {file:?} does not say {word:?}: {remedy}"
            );
        }
    }

    #[test]
    fn the_kernels_error_is_found_inside_of_others() {
        let inner = io::Error::from(ErrorKind::PermissionDenied);
        let outer = io::Error::other(inner);
        assert_eq!(super::kind(&outer), Some(ErrorKind::PermissionDenied));
    }

    #[test]
    fn an_engine_of_another_time_is_told_from_other_refusals() {
        let old = "client version 1.53 is too old. Minimum supported API version is 1.60, please upgrade your client";
        let new = "client version 1.53 is too new. Maximum supported API version is 1.41";
        assert!(version_remedy(400, old).is_some_and(|it| it.contains("newer netmon")));
        assert!(version_remedy(400, new).is_some_and(|it| it.contains("newer engine")));
        assert_eq!(version_remedy(403, old), None);
        assert_eq!(version_remedy(400, "bad parameter"), None);
    }
}
