//! What the machine's folders are called in what is compiled: the same everywhere, so that the same source gives the same
//! bytes, and nobody is told where it was built.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// What stands for the folder of the source.
const WORKSPACE: &str = "netmon";
/// What stands for each folder that cargo has unpacked packages into.
const PACKAGES: &str = "packages";

/// The compiler's flags that give the folders these names.
pub(crate) fn renamed(workspace: &Path) -> Vec<String> {
    let flag = |folder: &Path, name: &str| format!("--remap-path-prefix={}={name}", folder.display());
    let packages = packages().into_iter().map(|folder| flag(&folder, PACKAGES));
    std::iter::once(flag(workspace, WORKSPACE)).chain(packages).collect()
}

/// The folders that cargo unpacks packages into: one for each registry, with a hash of its address in its name.
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
        // This test is made of packages.
        assert!(flags.len() > 1, "cargo's packages were not found");
        assert!(flags[1..].iter().all(|it| it.ends_with("=packages")), "{flags:?}");
    }
}
