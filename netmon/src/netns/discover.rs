//! The engine's namespaces on this node: the files in its netns directory.
//!
//! The engine mounts every namespace that it creates on a file there. Not every file is a mount. After a power
//! failure plain files stay behind. Without `rslave` propagation a container sees plain files where the host has
//! mounts.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use crate::model::netns::{Listing, NetnsFile, Role};

/// `f_type` of the namespaces' file system (`NSFS_MAGIC`, linux/magic.h).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// The namespace that netmon runs in. It is the node's if netmon runs outside a container or in one on the host's
/// network. This is the process's namespace: a thread may be in another one.
pub const OWN: &str = "/proc/self/ns/net";

/// Lists the engine's namespaces.
///
/// # Errors
/// The directory cannot be read. A missing directory is an empty list: the engine creates it with the first
/// namespace.
pub fn list(directory: &Path) -> io::Result<Listing> {
    let mut listing = Listing {
        directory: directory.to_owned(),
        ..Listing::default()
    };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            listing.is_missing = true;
            return Ok(listing);
        }
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        match netns_inode(&path) {
            Some(inode) => {
                let role = Role::of(&path.file_name().unwrap_or_default().to_string_lossy());
                listing.files.push(NetnsFile { path, inode, role });
            }
            None => listing.strays.push(path),
        }
    }
    listing.files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(listing)
}

/// The inode of the namespace mounted there. `None` for a plain file, or for a file that is being removed.
fn netns_inode(path: &Path) -> Option<u64> {
    let statfs = rustix::fs::statfs(path).ok()?;
    let metadata = fs::metadata(path).ok()?;
    is_nsfs(&statfs).then(|| metadata.ino())
}

/// Whether this is the namespaces' file system.
pub(super) fn is_nsfs(statfs: &rustix::fs::StatFs) -> bool {
    #[expect(
        clippy::useless_conversion,
        reason = "the field's width differs between architectures"
    )]
    let kind = i64::from(statfs.f_type);
    kind == NSFS_MAGIC
}

/// The node's namespace, mounted on that file.
pub fn node(path: &Path) -> io::Result<NetnsFile> {
    Ok(NetnsFile {
        path: path.to_owned(),
        inode: fs::metadata(path)?.ino(),
        role: Role::Node,
    })
}

/// Whether that file is netmon's own namespace.
pub(super) fn is_own(path: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino()));
    matches!((identity(path), identity(Path::new(OWN))), (Ok(one), Ok(own)) if one == own)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use super::{Listing, Role, list};

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
    fn a_missing_directory_is_an_empty_list_that_says_so() {
        let expected = Listing {
            directory: PathBuf::from("/nonexistent/netns"),
            is_missing: true,
            ..Listing::default()
        };
        assert_eq!(list(Path::new("/nonexistent/netns")).expect("a listing"), expected);
    }

    #[test]
    fn a_plain_file_is_no_namespace() {
        let directory = tempfile::tempdir().expect("a directory");
        let stray = directory.path().join("4bb2bc5b7b64");
        fs::write(&stray, b"").expect("a file");
        let listing = list(directory.path()).expect("a listing");
        assert!(listing.files.is_empty() && !listing.is_missing);
        assert_eq!(listing.strays, [stray]);
    }
}
