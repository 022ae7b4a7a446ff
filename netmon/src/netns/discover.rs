//! Which namespaces the engine has on this node: the files in its netns directory.
//!
//! The engine mounts every namespace it makes on a file there. Not every file is a mount: after a power cut plain
//! files stay behind, and without `rslave` propagation a container sees plain files where the host has mounts.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// `f_type` of the file system that namespaces live on (`NSFS_MAGIC`, linux/magic.h).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// The namespace that netmon itself runs in, which is the node's unless the engine made it: outside a container, and in
/// one on the host's network. The process', not the thread's, which may be somewhere else.
pub const OWN: &str = "/proc/self/ns/net";

/// A file that is a mounted network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetnsFile {
    /// Where it is.
    pub path: PathBuf,
    /// The namespace's inode: tells when another namespace was mounted over the same file, most of the time.
    pub inode: u64,
    /// What the engine uses it for.
    pub role: Role,
}

/// What the engine uses a namespace for, by the name it gave the file (libnetwork's sandbox keys, 20.10 to 29).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A container's: the file is named by the sandbox's id.
    Sandbox,
    /// An overlay network's, on this node: bridge, VXLAN devices and the containers' far ends.
    Overlay {
        /// The first characters of the network's id.
        network: String,
    },
    /// The load balancer of a network's virtual addresses, on this node.
    LoadBalancer {
        /// The first characters of the network's id.
        network: String,
    },
    /// The routing mesh's load balancer.
    Ingress,
    /// The node's own.
    Node,
}

impl Role {
    /// Reads the role off a file's name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        if name == "default" {
            Self::Node
        } else if name == "ingress_sbox" {
            Self::Ingress
        } else if let Some(network) = name.strip_prefix("lb_") {
            Self::LoadBalancer {
                network: network.to_owned(),
            }
        } else if let Some((_, network)) = name.split_once('-').filter(|(index, _)| is_number(index)) {
            Self::Overlay {
                network: network.to_owned(),
            }
        } else {
            Self::Sandbox
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What is in the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The namespaces, by path.
    pub files: Vec<NetnsFile>,
    /// Names that are no mounted namespace.
    pub strays: usize,
}

/// Lists the engine's namespaces.
///
/// # Errors
/// The directory cannot be read; a missing one is an empty list, for the engine makes it with the first namespace.
pub fn list(directory: &Path) -> io::Result<Listing> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
        entries => entries?,
    };
    let mut listing = Listing::default();
    for entry in entries {
        let path = entry?.path();
        match netns_inode(&path) {
            Some(inode) => {
                let role = Role::of(&path.file_name().unwrap_or_default().to_string_lossy());
                listing.files.push(NetnsFile { path, inode, role });
            }
            None => listing.strays += 1,
        }
    }
    listing.files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(listing)
}

/// The inode of the namespace mounted there; nothing for a plain file, or one that is just going.
fn netns_inode(path: &Path) -> Option<u64> {
    let statfs = rustix::fs::statfs(path).ok()?;
    let metadata = fs::metadata(path).ok()?;
    is_nsfs(&statfs).then(|| metadata.ino())
}

/// Whether this is the file system that namespaces live on.
pub(super) fn is_nsfs(statfs: &rustix::fs::StatFs) -> bool {
    #[expect(
        clippy::useless_conversion,
        reason = "the field's width differs between architectures"
    )]
    let kind = i64::from(statfs.f_type);
    kind == NSFS_MAGIC
}

/// The node's namespace, on that file.
///
/// # Errors
/// There is no such file.
pub fn node(path: &Path) -> io::Result<NetnsFile> {
    Ok(NetnsFile {
        path: path.to_owned(),
        inode: fs::metadata(path)?.ino(),
        role: Role::Node,
    })
}

/// Whether that file is the namespace that netmon itself is in.
pub(super) fn is_own(path: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino()));
    matches!((identity(path), identity(Path::new(OWN))), (Ok(one), Ok(own)) if one == own)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{Role, list};

    #[test]
    fn a_role_is_read_off_the_name_the_engine_gives() {
        assert_eq!(Role::of("default"), Role::Node);
        assert_eq!(Role::of("ingress_sbox"), Role::Ingress);
        assert_eq!(
            Role::of("lb_tmhelb35n"),
            Role::LoadBalancer {
                network: "tmhelb35n".to_owned()
            }
        );
        assert_eq!(
            Role::of("1-tmhelb35nq"),
            Role::Overlay {
                network: "tmhelb35nq".to_owned()
            }
        );
        assert_eq!(Role::of("4bb2bc5b7b64"), Role::Sandbox);
    }

    #[test]
    fn a_missing_directory_is_an_empty_list() {
        assert_eq!(
            list(Path::new("/nonexistent/netns")).expect("a listing"),
            super::Listing::default()
        );
    }

    #[test]
    fn a_plain_file_is_no_namespace() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("4bb2bc5b7b64"), b"").expect("a file");
        let listing = list(directory.path()).expect("a listing");
        assert!(listing.files.is_empty());
        assert_eq!(listing.strays, 1);
    }
}
