//! Writes an image in the format of `docker load`: the layout of the Open Container Initiative, plus the
//! `manifest.json` that older engines read. The same input gives the same bytes.

use std::{fs::File, io::Write as _, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// An image of a single layer.
pub(super) struct Image {
    /// `name:tag`.
    pub(super) name: String,
    /// The architecture, as images name it.
    pub(super) architecture: &'static str,
    /// When the image was made.
    pub(super) created: String,
    /// What to run, and how.
    pub(super) config: Value,
    /// The programs in the image: path and content.
    pub(super) programs: Vec<(String, Vec<u8>)>,
}

/// Writes the archive.
pub(super) fn write(image: &Image, path: &Path) -> anyhow::Result<()> {
    let layer = layer(&image.programs)?;
    let configuration = serde_json::to_vec(&json!({
        "architecture": image.architecture,
        "os": "linux",
        "created": image.created,
        "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]},
        "history": [{"created": image.created, "created_by": "cargo xtask image"}],
    }))?;
    let describe = |kind: &str, bytes: &[u8]| {
        let digest = format!("sha256:{}", digest(bytes));
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": bytes.len()})
    };
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe("config.v1+json", &configuration),
        "layers": [describe("layer.v1.tar", &layer)],
    }))?;
    let mut described = describe("manifest.v1+json", &manifest);
    let (_, tag) = image.name.split_once(':').context("an image's name has a tag")?;
    described["annotations"] = json!({
        "io.containerd.image.name": format!("docker.io/library/{}", image.name),
        "org.opencontainers.image.ref.name": tag,
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [described],
    });
    let engines = json!([{
        "Config": blob(&configuration),
        "RepoTags": [image.name],
        "Layers": [blob(&layer)],
    }]);

    let file = File::create(path).with_context(|| format!("{}", path.display()))?;
    let mut archive = Builder::new(file);
    for folder in ["blobs/", "blobs/sha256/"] {
        entry(&mut archive, folder, &Entry::folder(0o755), &[])?;
    }
    for bytes in [&layer, &configuration, &manifest] {
        entry(&mut archive, &blob(bytes), &Entry::file(0o644, 0), bytes)?;
    }
    for (name, json) in [
        ("index.json", index),
        ("manifest.json", engines),
        ("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
    ] {
        entry(&mut archive, name, &Entry::file(0o644, 0), &serde_json::to_vec(&json)?)?;
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

fn layer(programs: &[(String, Vec<u8>)]) -> anyhow::Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for (path, bytes) in programs {
        entry(&mut layer, path.trim_start_matches('/'), &Entry::file(0o755, 0), bytes)?;
    }
    Ok(layer.into_inner()?)
}

/// The kind, mode and time of an archive entry. Its owner is root.
pub(crate) struct Entry {
    kind: EntryType,
    mode: u32,
    /// Seconds of Unix time.
    time: u64,
}

impl Entry {
    /// A regular file.
    pub(crate) fn file(mode: u32, time: u64) -> Self {
        Self {
            kind: EntryType::Regular,
            mode,
            time,
        }
    }

    /// A folder, with time 0.
    fn folder(mode: u32) -> Self {
        Self {
            kind: EntryType::Directory,
            mode,
            time: 0,
        }
    }
}

/// Adds an entry to the archive.
pub(crate) fn entry<W: std::io::Write>(
    archive: &mut Builder<W>,
    path: &str,
    entry: &Entry,
    bytes: &[u8],
) -> anyhow::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(entry.kind);
    header.set_mode(entry.mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(entry.time);
    header.set_size(bytes.len() as u64);
    Ok(archive.append_data(&mut header, path, bytes)?)
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", digest(bytes))
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _: std::fmt::Result = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, io::Read as _, path::PathBuf};

    use serde_json::{Value, json};

    use super::{Image, digest, write};

    fn image() -> Image {
        Image {
            name: "netmon:1".to_owned(),
            architecture: "amd64",
            created: "2026-01-01T00:00:00Z".to_owned(),
            config: json!({"Entrypoint": ["/netmon"]}),
            programs: vec![("/netmon".to_owned(), b"a program".to_vec())],
        }
    }

    fn written(name: &str) -> Vec<u8> {
        let path: PathBuf = std::env::temp_dir().join(format!("netmon-image-{}-{name}", std::process::id()));
        write(&image(), &path).expect("an archive");
        let bytes = fs::read(&path).expect("the archive");
        fs::remove_file(&path).expect("its end");
        bytes
    }

    #[test]
    fn the_same_image_is_the_same_bytes() {
        assert_eq!(written("one"), written("other"));
    }

    #[test]
    fn every_name_in_the_archive_leads_to_what_it_names() {
        let bytes = written("names");
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            files.insert(path, content);
        }
        let json = |path: &str| -> Value { serde_json::from_slice(&files[path]).expect("JSON") };
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let blob = |digest: &Value| format!("blobs/{}", text(digest).replace(':', "/"));

        let manifest = json(&blob(&json("index.json")["manifests"][0]["digest"]));
        let (config, layer) = (
            blob(&manifest["config"]["digest"]),
            blob(&manifest["layers"][0]["digest"]),
        );
        let engines = json("manifest.json");
        assert_eq!(
            [text(&engines[0]["Config"]), text(&engines[0]["Layers"][0])],
            [config.clone(), layer.clone()]
        );
        assert_eq!(
            json(&config)["rootfs"]["diff_ids"][0],
            format!("sha256:{}", digest(&files[&layer]))
        );
        for (path, content) in files
            .iter()
            .filter(|(path, content)| path.starts_with("blobs") && !content.is_empty())
        {
            assert_eq!(*path, format!("blobs/sha256/{}", digest(content)));
        }
    }
}
