//! The libraries that netmon consists of, as cargo knows them: all in the lock file, and those that are linked.

use std::{
    collections::{BTreeMap, BTreeSet},
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use serde_json::Value;

use crate::sh;

/// One library, in one version.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The licence as the author wrote it; empty if there is none.
    pub(crate) license: String,
    /// Where it comes from; `None` for the workspace's own packages.
    pub(crate) source: Option<String>,
    /// The address of its repository.
    pub(crate) repository: Option<String>,
    /// The folder of its source.
    pub(crate) folder: PathBuf,
}

/// A library's name and version.
pub(crate) type Key = (String, String);

impl Package {
    pub(crate) fn key(&self) -> Key {
        (self.name.clone(), self.version.clone())
    }
}

/// Which library uses which.
pub(crate) type Graph = BTreeMap<Key, BTreeSet<Key>>;

/// Every package in the lock file, the workspace's own included.
pub(crate) fn all() -> anyhow::Result<Vec<Package>> {
    let text = ask(&mut sh::cargo(["metadata", "--format-version", "1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata: no packages")?;
    packages
        .iter()
        .map(|package| {
            let text = |key: &str| package[key].as_str().map(str::to_owned);
            let manifest = text("manifest_path").context("a package without a manifest")?;
            Ok(Package {
                name: text("name").context("a package without a name")?,
                version: text("version").context("a package without a version")?,
                license: text("license").unwrap_or_default(),
                source: text("source"),
                repository: text("repository"),
                folder: Path::new(&manifest).parent().map(Path::to_path_buf).unwrap_or_default(),
            })
        })
        .collect()
}

/// The packages that the daemon's binary and its kernel programs are linked from. Without build dependencies, test
/// dependencies and macros.
pub(crate) fn linked() -> anyhow::Result<Graph> {
    let mut graph = Graph::new();
    for (package, target) in [
        ("netmon", format!("{ARCH}-unknown-linux-gnu")),
        ("netmon-ebpf", "bpfel-unknown-none".to_owned()),
    ] {
        let tree = ask(&mut sh::cargo([
            "tree",
            "--locked",
            "--package",
            package,
            "--target",
            &target,
            "--edges",
            "normal,no-proc-macro",
            "--prefix",
            "depth",
            "--format",
            " {p}",
        ]))?;
        read_tree(&tree, &mut graph).with_context(|| format!("cargo tree of {package}"))?;
    }
    // The daemon's binary contains the kernel programs as bytes.
    let key = |name: &str| graph.keys().find(|(it, _)| it == name).cloned();
    if let (Some(daemon), Some(programs)) = (key("netmon"), key("netmon-ebpf")) {
        graph.entry(daemon).or_default().insert(programs);
    }
    Ok(graph)
}

/// Reads lines of depth, name and version. A package is used by the nearest one above it of a lower depth.
fn read_tree(tree: &str, graph: &mut Graph) -> anyhow::Result<()> {
    let mut above: Vec<Key> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let (depth, rest) = line.split_once(' ').with_context(|| format!("{line:?}"))?;
        let depth: usize = depth.parse().with_context(|| format!("{line:?}"))?;
        let mut words = rest.split(' ');
        let name = words.next().with_context(|| format!("{line:?}"))?;
        let version = words
            .next()
            .and_then(|it| it.strip_prefix('v'))
            .with_context(|| format!("{line:?}"))?;
        let key = (name.to_owned(), version.to_owned());
        above.truncate(depth);
        graph.entry(key.clone()).or_default();
        if let Some(user) = above.last() {
            graph.entry(user.clone()).or_default().insert(key.clone());
        }
        above.push(key);
    }
    Ok(())
}

/// The registry's checksums (SHA-256) of the packages in the lock file.
pub(crate) fn checksums() -> anyhow::Result<BTreeMap<Key, String>> {
    let path = sh::workspace().join("Cargo.lock");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    Ok(read_lock(&text))
}

fn read_lock(text: &str) -> BTreeMap<Key, String> {
    text.split("[[package]]")
        .filter_map(|package| {
            let value = |key: &str| {
                let line = package
                    .lines()
                    .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
                line.map(|it| it.trim_matches('"').to_owned())
            };
            Some(((value("name")?, value("version")?), value("checksum")?))
        })
        .collect()
}

fn ask(command: &mut Command) -> anyhow::Result<String> {
    sh::ask(command).context("cargo cannot say what netmon is made of: is Cargo.lock up to date (`cargo build`)?")
}

#[cfg(test)]
mod tests {
    use super::{Graph, read_lock, read_tree};

    fn key(name: &str) -> (String, String) {
        (name.to_owned(), "1.0.0".to_owned())
    }

    #[test]
    fn who_uses_whom_is_read_from_how_deep_they_stand() {
        let mut graph = Graph::new();
        read_tree(
            "0 a v1.0.0 (/somewhere)\n1 b v1.0.0\n2 c v1.0.0\n1 d v1.0.0\n2 c v1.0.0 (*)\n",
            &mut graph,
        )
        .expect("a tree");
        let expected = [("a", vec!["b", "d"]), ("b", vec!["c"]), ("c", vec![]), ("d", vec!["c"])];
        let expected: Graph = expected
            .into_iter()
            .map(|(name, uses)| (key(name), uses.into_iter().map(key).collect()))
            .collect();
        assert_eq!(graph, expected);
    }

    #[test]
    fn checksums_are_read_and_our_own_packages_have_none() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"12\"\n\n[[package]]\nname = \
                    \"b\"\nversion = \"1.0.0\"\n";
        assert_eq!(
            read_lock(lock).into_iter().collect::<Vec<_>>(),
            [(key("a"), "12".to_owned())]
        );
    }
}
