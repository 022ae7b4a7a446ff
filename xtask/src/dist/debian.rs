//! The Debian package: where each file goes, and the files that dpkg reads.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use flate2::{Compression, GzBuilder};

use super::{Release, VERSION, contents::Contents};
use crate::sh;

/// The folder of dpkg's control file and scripts.
const FOLDER: &str = "deploy/package/debian";
/// The scripts that run when the package is installed or removed.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
/// dpkg asks before it overwrites this file.
const SETTINGS: &str = "etc/default/netmon";
const DOCUMENTS: &str = "usr/share/doc/netmon";

/// The path of the package file.
pub(super) fn path(release: &Release, folder: &Path) -> PathBuf {
    folder.join(format!("netmon_{VERSION}_{}.deb", release.architecture))
}

/// Makes the package in `folder`, and returns its path.
pub(super) fn make(release: &Release, contents: &Contents, folder: &Path) -> anyhow::Result<PathBuf> {
    let root = folder.join(".work/root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("{}", root.display()))?;
    }
    let tree = Tree(root.clone());
    let size = install(release, contents, &tree)?;
    describe(release, size, &tree)?;

    let path = path(release, folder);
    sh::run(
        "pack",
        Command::new("dpkg-deb")
            // With one thread, the bytes are the same on every machine.
            .args(["--root-owner-group", "--threads-max=1", "-Zxz", "--build"])
            .arg(&root)
            .arg(&path)
            .env("SOURCE_DATE_EPOCH", release.time.to_string()),
    )?;
    Ok(path)
}

/// Puts every file in its place, and returns their total size in kilobytes.
fn install(release: &Release, contents: &Contents, tree: &Tree) -> anyhow::Result<u64> {
    tree.add("usr/bin/netmon", 0o755, &contents.program)?;
    let unit = contents.file("deploy/package/netmon.service")?;
    tree.add("lib/systemd/system/netmon.service", 0o644, unit)?;
    tree.add(SETTINGS, 0o644, contents.file("deploy/package/netmon.default")?)?;
    tree.add("usr/share/man/man1/netmon.1.gz", 0o644, &gzip(&contents.page)?)?;
    for (name, bytes) in &contents.completions {
        let place = match name.as_str() {
            "netmon.bash" => "usr/share/bash-completion/completions/netmon",
            "_netmon" => "usr/share/zsh/vendor-completions/_netmon",
            _ => "usr/share/fish/vendor_completions.d/netmon.fish",
        };
        tree.add(place, 0o644, bytes)?;
    }
    for (path, bytes) in contents.below("dashboards") {
        let is_board = path.extension().is_some_and(|it| it == "json");
        let folder = if is_board {
            "usr/share/netmon/dashboards"
        } else {
            "usr/share/netmon"
        };
        let place = Path::new(folder).join(path);
        tree.add(&place.to_string_lossy(), 0o644, bytes)?;
    }
    let document = |name: &str, bytes: &[u8]| tree.add(&format!("{DOCUMENTS}/{name}"), 0o644, bytes);
    document("copyright", &read("copyright")?)?;
    document("changelog.gz", &gzip(changelog(release)?.as_bytes())?)?;
    document("README.md.gz", &gzip(contents.file("README.md")?)?)?;
    document("ARCHITECTURE.md.gz", &gzip(contents.file("ARCHITECTURE.md")?)?)?;
    document("METRICS.md.gz", &gzip(contents.file("METRICS.md")?)?)?;
    for (path, bytes) in contents.below("docs") {
        if path.extension().is_some_and(|it| it == "md") {
            document(&format!("docs/{}.gz", path.display()), &gzip(bytes)?)?;
        }
    }
    document("licenses-third-party.gz", &gzip(contents.licences.as_bytes())?)?;
    document("examples/web.yml", contents.file("deploy/package/web.yml")?)?;
    document("examples/prometheus.yml", contents.file("deploy/prometheus.yml")?)?;
    tree.add("usr/share/lintian/overrides/netmon", 0o644, &read("lintian-overrides")?)?;
    let sizes = tree.files()?;
    Ok(sizes.iter().map(|(_, size)| size.div_ceil(1024)).sum())
}

/// Writes the files that dpkg reads.
fn describe(release: &Release, size: u64, tree: &Tree) -> anyhow::Result<()> {
    let files = tree.files()?;
    let control = String::from_utf8(read("control")?)?
        .replace("@VERSION@", VERSION)
        .replace("@ARCHITECTURE@", release.architecture)
        .replace("@SIZE@", &size.to_string());
    let mut sums = Command::new("md5sum");
    sums.current_dir(&tree.0).args(files.iter().map(|(path, _)| path));
    let sums = sh::ask(&mut sums).context("md5sum fails")?;
    tree.add("DEBIAN/control", 0o644, control.as_bytes())?;
    tree.add("DEBIAN/conffiles", 0o644, format!("/{SETTINGS}\n").as_bytes())?;
    tree.add("DEBIAN/md5sums", 0o644, format!("{sums}\n").as_bytes())?;
    for name in SCRIPTS {
        tree.add(&format!("DEBIAN/{name}"), 0o755, &read(name)?)?;
    }
    Ok(())
}

/// Debian's changelog. It only names the commit: the changes are in the repository's history.
fn changelog(release: &Release) -> anyhow::Result<String> {
    Ok(format!(
        "netmon ({VERSION}) unstable; urgency=medium\n\n  * Release {VERSION}, from commit {}.\n\n -- The netmon authors \
         <netmon-rs@users.noreply.github.com>  {}\n",
        release.revision,
        release.date("%a, %d %b %Y %H:%M:%S +0000")?
    ))
}

/// Compresses without a name and a time in the header.
fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = GzBuilder::new().write(Vec::new(), Compression::best());
    stream.write_all(bytes)?;
    Ok(stream.finish()?)
}

fn read(name: &str) -> anyhow::Result<Vec<u8>> {
    let path = sh::workspace().join(FOLDER).join(name);
    fs::read(&path).with_context(|| format!("{}", path.display()))
}

/// The package's folder before it is packed.
struct Tree(PathBuf);

impl Tree {
    /// Writes a file. Everybody may read its folders, whatever the umask is.
    fn add(&self, place: &str, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.0.join(place);
        let folder = path.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        for folder in folder.ancestors().take_while(|it| it.starts_with(&self.0)) {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
        fs::write(&path, bytes).with_context(|| format!("{}", path.display()))?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
    }

    /// Every file by its path in the package, with its size, sorted.
    fn files(&self) -> anyhow::Result<Vec<(PathBuf, u64)>> {
        let mut found = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push((
                        entry.path().strip_prefix(&self.0)?.to_path_buf(),
                        entry.metadata()?.len(),
                    ));
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::VERSION;

    const UNIT: &str = include_str!("../../../deploy/package/netmon.service");
    const STACK: &str = include_str!("../../../deploy/stack.yml");

    #[test]
    fn the_unit_and_the_stack_give_the_same_capabilities() {
        let unit: BTreeSet<String> = UNIT
            .lines()
            .filter_map(|line| line.strip_prefix("CapabilityBoundingSet="))
            .flat_map(|list| list.split(' '))
            .map(|name| name.trim_start_matches("CAP_").to_owned())
            .collect();
        let (_, list) = STACK.split_once("cap_add:\n").expect("the list");
        let (list, _) = list.split_once("read_only:").expect("what comes after it");
        let stack = list.lines().filter_map(|line| line.trim().strip_prefix("- "));
        assert_eq!(unit, stack.map(str::to_owned).collect());
        assert_eq!(unit.len(), 4, "{unit:?}");
    }

    #[test]
    fn the_documents_name_the_files_of_this_release() {
        let install = include_str!("../../../docs/install.md");
        for file in [
            format!("netmon_{VERSION}_amd64.deb"),
            format!("netmon-{VERSION}-linux-amd64.tar.gz"),
            format!("netmon-{VERSION}-image-amd64.tar"),
            format!("netmon-{VERSION}-amd64.cdx.json"),
        ] {
            assert!(install.contains(&file), "docs/install.md does not name {file}");
        }
    }

    #[test]
    fn every_setting_of_the_service_is_one_of_netmons() {
        let settings = include_str!("../../../deploy/package/netmon.default");
        // A test of netmon's compares this document with its flags.
        let document = include_str!("../../../docs/settings.md").replace("[no-]", "");
        let flags = document
            .split("`--")
            .skip(1)
            .filter_map(|rest| rest.split(['`', '=', ' ']).next());
        let variables: BTreeSet<String> = flags
            .map(|flag| flag.replace(['.', '-'], "_").to_ascii_uppercase())
            .collect();
        let named: Vec<&str> = settings
            .lines()
            .filter_map(|line| line.strip_prefix("#NETMON_")?.split_once('='))
            .map(|(name, _)| name)
            .collect();
        assert!(named.len() > 3, "{named:?}");
        for name in named {
            assert!(variables.contains(name), "NETMON_{name} is not among {variables:?}");
        }
    }
}
