//! Replaces the names of this machine's folders in the compiled code. The same source then gives the same bytes
//! everywhere, and the result does not reveal where it was built.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The name that replaces the folder of the source.
const WORKSPACE: &str = "netmon";
/// The name that replaces each folder into which cargo has unpacked packages.
const PACKAGES: &str = "packages";

/// The compiler's flags that replace the folders' names.
pub(crate) fn renamed(workspace: &Path) -> Vec<String> {
    let flag = |folder: &Path, name: &str| format!("--remap-path-prefix={}={name}", folder.display());
    let packages = packages().into_iter().map(|folder| flag(&folder, PACKAGES));
    std::iter::once(flag(workspace, WORKSPACE)).chain(packages).collect()
}

/// The folders that cargo unpacks packages into: one per registry, with a hash of the registry's address in its name.
pub(crate) fn packages() -> Vec<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let folders = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let mut folders: Vec<_> = folders
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::renamed;

    #[test]
    fn the_source_and_its_packages_have_names_of_their_own() {
        let flags = renamed(Path::new("/home/somebody/checkout"));
        assert_eq!(flags[0], "--remap-path-prefix=/home/somebody/checkout=netmon");
        // This test depends on packages, so there are some.
        assert!(flags.len() > 1, "cargo's packages were not found");
        assert!(flags[1..].iter().all(|it| it.ends_with("=packages")), "{flags:?}");
    }
}
