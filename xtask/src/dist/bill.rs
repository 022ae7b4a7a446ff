//! The software bill of materials (SBOM), in `CycloneDX` format: what the daemon and its kernel programs are linked
//! from, and which part uses which.

use std::{collections::BTreeMap, process::Command};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Release, VERSION};
use crate::{
    image::archive::digest,
    packages::{self, Key, Package},
    sh,
};

/// A part that is linked but is not a cargo package.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) license: &'static str,
}

/// Rust's standard library, the C library, and the library that unwinds the stack after a panic.
pub(super) fn runtime() -> Vec<Part> {
    let first = |program: &str, argument: &str| {
        let text = sh::ask(Command::new(program).arg(argument)).unwrap_or_default();
        let version = text
            .split_whitespace()
            .find(|it| it.starts_with(|letter: char| letter.is_ascii_digit()));
        version.unwrap_or("unknown").to_owned()
    };
    vec![
        Part {
            name: "rust-std",
            version: first("rustc", "--version"),
            license: "MIT OR Apache-2.0",
        },
        Part {
            name: "glibc",
            version: sh::ask(Command::new("getconf").arg("GNU_LIBC_VERSION"))
                .and_then(|it| it.split(' ').next_back().map(str::to_owned))
                .unwrap_or_else(|| "unknown".to_owned()),
            license: "LGPL-2.1-or-later",
        },
        Part {
            name: "libgcc",
            version: first("cc", "-dumpfullversion"),
            license: "GPL-3.0-or-later WITH GCC-exception-3.1",
        },
    ]
}

/// The SBOM as JSON.
pub(super) fn text(release: &Release, program: &[u8]) -> anyhow::Result<String> {
    let graph = packages::linked()?;
    let checksums = packages::checksums()?;
    let all: BTreeMap<Key, Package> = packages::all()?.into_iter().map(|it| (it.key(), it)).collect();
    let daemon = graph
        .keys()
        .find(|(name, _)| name == "netmon")
        .context("netmon is not among its own parts")?;
    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    for (key, uses) in &graph {
        let package = all
            .get(key)
            .with_context(|| format!("{} {} is not in Cargo.lock", key.0, key.1))?;
        let mut used: Vec<String> = uses.iter().map(reference).collect();
        if key == daemon {
            used.extend(runtime().iter().map(generic));
        } else {
            components.push(component(package, checksums.get(key)));
        }
        dependencies.push(json!({"ref": reference(key), "dependsOn": used}));
    }
    for part in runtime() {
        components.push(json!({
            "type": "library",
            "bom-ref": generic(&part),
            "name": part.name,
            "version": part.version,
            "licenses": [{"expression": part.license}],
            "purl": generic(&part),
        }));
    }
    let hash = digest(program);
    let list = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": serial(&hash),
        "version": 1,
        "metadata": {
            "timestamp": release.date("%Y-%m-%dT%H:%M:%SZ")?,
            "component": {
                "type": "application",
                "bom-ref": reference(daemon),
                "name": "netmon",
                "version": VERSION,
                "description": "Container network telemetry for Docker Swarm, counted in the kernel",
                "hashes": [{"alg": "SHA-256", "content": hash}],
                "licenses": [{"expression": "MIT OR Apache-2.0"}],
                "purl": reference(daemon),
                "externalReferences": [{"type": "vcs", "url": env!("CARGO_PKG_REPOSITORY")}],
            },
            "properties": [
                {"name": "netmon:architecture", "value": release.architecture},
                {"name": "netmon:revision", "value": release.revision},
            ],
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(format!("{list:#}\n"))
}

fn component(package: &Package, checksum: Option<&String>) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": reference(&package.key()),
        "name": package.name,
        "version": package.version,
        // In SPDX syntax: some packages write a slash for "or".
        "licenses": [{"expression": package.license.replace(" / ", " OR ").replace('/', " OR ")}],
        "purl": reference(&package.key()),
    });
    if let Some(checksum) = checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if let Some(repository) = &package.repository {
        component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
    }
    component
}

/// The package URL of a cargo package. `+` is escaped, because it would mean a space.
fn reference((name, version): &Key) -> String {
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

fn generic(part: &Part) -> String {
    format!("pkg:generic/{}@{}", part.name, part.version)
}

/// The SBOM's serial number: the program's checksum in the form of a UUID (version 8, whose content is free).
fn serial(hash: &str) -> String {
    let part = |from: usize, to: usize| hash.get(from..to).unwrap_or_default();
    format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 15),
        part(15, 18),
        part(18, 30)
    )
}

#[cfg(test)]
mod tests {
    use super::{reference, serial};

    #[test]
    fn a_version_with_build_metadata_is_escaped() {
        let key = ("a".to_owned(), "1.0.0+2".to_owned());
        assert_eq!(reference(&key), "pkg:cargo/a@1.0.0%2B2");
    }

    #[test]
    fn the_serial_number_is_a_uuid() {
        let hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        assert_eq!(serial(hash), "urn:uuid:01234567-89ab-8cde-8f01-23456789abcd");
    }
}
