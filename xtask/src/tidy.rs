//! The project's own rules, which no compiler checks. Every module says what it owns, each third-party library is
//! named in one folder, a public type's name has one meaning, pure layers do no I/O, documents are readable, and what is deployed is bounded.

mod documents;
mod imports;
mod names;
mod stacks;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use self::{documents::Document, names::Types};
use crate::sh;

/// Where each library may be named: (library, folders or files of `netmon/src`).
const HOMES: &[(&str, &[&str])] = &[
    ("aya", &["datapath"]),
    ("bcrypt", &["http"]),
    ("aya_log", &["datapath"]),
    ("bollard", &["docker"]),
    ("CapabilitySet", &["privilege.rs"]),
    ("clap", &["config", "main.rs"]),
    ("dtoa", &["metrics"]),
    ("flate2", &["http"]),
    ("hyper", &["http", "docker"]),
    ("hyper_util", &["http", "docker"]),
    ("itoa", &["metrics"]),
    ("netlink_packet_core", &["netns"]),
    ("netlink_packet_route", &["netns"]),
    ("netlink_sys", &["netns"]),
    ("procfs", &["process.rs", "netns"]),
    ("prometheus_client", &["metrics"]),
    ("rustls", &["http"]),
    ("sd_notify", &["systemd.rs"]),
    ("seccompiler", &["privilege"]),
    ("serde_saphyr", &["http"]),
    ("tokio_rustls", &["http"]),
    ("tracing_subscriber", &["logging.rs"]),
    ("x509_parser", &["http"]),
];

/// Folders and files of `netmon/src` that do no I/O.
const PURE: &[&str] = &[
    "api.rs",
    "checks",
    "checks.rs",
    "collectors",
    "model",
    "metrics",
    "network",
    "network.rs",
    "page",
    "docker/convert.rs",
    "observe/state",
];
/// A file of more lines than this holds more than one idea.
const LONG: usize = 400;

/// Checks every file that git tracks or does not ignore, and reports all breaches.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = sh::workspace();
    let list = sh::ask(
        Command::new("git")
            .args(["ls-files", "-co", "--exclude-standard"])
            .current_dir(&root),
    )
    .context("git cannot list the project's files")?;
    let mut breaches = Vec::new();
    let mut documents = Vec::new();
    let mut types = Types::default();
    for path in list.lines().map(PathBuf::from).filter(|path| root.join(path).is_file()) {
        let bytes = fs::read(root.join(&path)).with_context(|| format!("{}", path.display()))?;
        let Ok(text) = std::str::from_utf8(&bytes) else {
            continue;
        };
        if path.extension().is_some_and(|it| it == "rs") {
            source(&path, text, &mut breaches);
            if let Ok(inner) = path.strip_prefix("netmon/src")
                && !is_test(inner)
            {
                types.read(inner, text);
            }
        }
        if path.starts_with("deploy") && path.extension().is_some_and(|it| it == "yml") {
            breaches.extend(stacks::breaches(&path.to_string_lossy(), text)?);
        }
        if path.extension().is_some_and(|it| it == "md") {
            documents.push(Document::read(&path, text));
        }
    }
    breaches.extend(types.breaches());
    let exists = |path: &Path| root.join(path).exists();
    breaches.extend(documents.iter().flat_map(|it| it.breaches(&documents, exists)));
    if breaches.is_empty() {
        return Ok(());
    }
    bail!("the rules of the house are broken:\n  {}", breaches.join("\n  "))
}

fn source(path: &Path, text: &str, breaches: &mut Vec<String>) {
    let name = path.display();
    if !text.starts_with("//!") && !text.starts_with("#!") {
        breaches.push(format!(
            "{name}: a module opens with `//!`: what it owns and what it must not know"
        ));
    }
    let lines = text.lines().count();
    if lines > LONG {
        breaches.push(format!("{name}: {lines} lines; split it by idea (at most {LONG})"));
    }
    let Ok(inner) = path.strip_prefix("netmon/src") else {
        return;
    };
    let at_home = |home: &&str| is_at(inner, home);
    for (library, homes) in HOMES {
        if names(text, library) && !homes.iter().any(at_home) {
            breaches.push(format!(
                "{name}: names {library}, which belongs into {}",
                homes.join(", ")
            ));
        }
    }
    if is_test(inner) {
        return;
    }
    let imports = match imports::of(inner, text) {
        Ok(imports) => imports,
        Err(error) => return breaches.push(format!("{name}: cannot be parsed: {error}")),
    };
    for (layer, other) in imports::of_higher_layers(&imports, at_home) {
        breaches.push(format!("{name}: {layer} must not import {other}"));
    }
    if PURE.iter().any(at_home) {
        for import in imports::of_io(&imports) {
            breaches.push(format!("{name}: does I/O ({import}) in a layer that is to be pure"));
        }
    }
}

/// Whether a file is in that folder. `*` stands for one folder's name. A folder's own file (`docker.rs`) belongs to it.
fn is_at(file: &Path, home: &str) -> bool {
    let own = file.with_extension("");
    let parts = home.trim_end_matches(".rs").split('/');
    let mut names = own.iter().map(|name| name.to_string_lossy());
    parts
        .into_iter()
        .all(|part| names.next().is_some_and(|name| part == "*" || name == part))
}

/// Whether the code uses that crate. Comments are ignored.
fn names(text: &str, library: &str) -> bool {
    let path = format!("{library}::");
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .any(|line| {
            line.match_indices(&path).any(|(at, _)| {
                !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
            })
        })
}

/// Tests may read the files that they compare with, and import whatever they need.
fn is_test(path: &Path) -> bool {
    path.iter().any(|part| {
        let part = part.to_string_lossy();
        part.starts_with("tests") || part.starts_with("golden") || part.starts_with("fuzz")
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{is_at, names, source};

    #[test]
    fn a_library_is_named_by_its_path_and_not_by_a_word_that_ends_like_it() {
        assert!(names("use aya::Ebpf;", "aya"));
        assert!(names("let it = aya::Ebpf::load();", "aya"));
        assert!(!names("use papaya::Map;", "aya"));
        assert!(!names("// aya::Ebpf is not used", "aya"));
        assert!(!names("crate::aya::x", "aya"));
    }

    #[test]
    fn a_folder_has_its_own_file_and_a_star_is_any_folder() {
        let at = |file: &str, home: &str| is_at(Path::new(file), home);
        assert!(at("docker.rs", "docker") && at("docker/watch.rs", "docker") && at("config.rs", "config.rs"));
        assert!(!at("docker_hub.rs", "docker") && !at("http.rs", "docker"));
        assert!(at("collectors/tcp/facts.rs", "collectors/*/facts"));
        assert!(at("collectors/overlay/facts/more.rs", "collectors/*/facts"));
        assert!(
            !at("collectors/tcp/kernel.rs", "collectors/*/facts") && !at("collectors/facts.rs", "collectors/*/facts")
        );
    }

    #[test]
    fn a_breach_is_found() {
        let mut breaches = Vec::new();
        source(Path::new("netmon/src/http.rs"), "use bollard::Docker;\n", &mut breaches);
        assert_eq!(breaches.len(), 2, "{breaches:?}");
        breaches.clear();
        source(
            Path::new("netmon/src/docker.rs"),
            "//! The engine.\nuse bollard::Docker;\n",
            &mut breaches,
        );
        assert_eq!(breaches, Vec::<String>::new());
    }
}
