//! What is wrong with the host so that netmon cannot count what runs on it: namespaces that are not where it looks, and
//! a netmon that is not in the node's namespace. Joins the engine's inventory with the last listing of the directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{State, naming::file_name};
use crate::model::{
    health::MissingNamespace,
    inventory::{Inventory, Sandbox},
    netns::Listing,
    text::cut,
};

/// The longest path that a sentence quotes, in bytes. The engine says what the paths are.
const LONGEST_PATH: usize = 256;

/// Something that is wrong with the host. Its text is a sentence for the operator: the cause and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Running containers' namespaces are not where netmon looks.
    Missing {
        /// Why.
        reason: MissingNamespace,
        /// How many containers.
        containers: usize,
        /// The engine's directory of one of them, as the engine knows it.
        engines: PathBuf,
        /// The directory in which netmon looks; empty if it was never read.
        directory: PathBuf,
    },
    /// No namespace is the node's: the one that is taken for it belongs to a container.
    NoNode,
    /// The directory in which netmon looks was never read. Whoever reads it logs why.
    Unlisted,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reason, containers, engines, directory) = match self {
            Self::Missing {
                reason,
                containers,
                engines,
                directory,
            } => (reason, containers, engines, directory),
            Self::NoNode => {
                return f.write_str(
                    "the network namespace that netmon takes for the node's belongs to a container; run netmon in the \
                     host's network (--network host), or bind the node's /proc/1/ns/net to a file and name it with \
                     --path.node-netns",
                );
            }
            Self::Unlisted => {
                return f.write_str("the directory of --docker.netns-dir cannot be read; the log says why");
            }
        };
        let them = if *containers == 1 {
            "the network namespace of a running container".to_owned()
        } else {
            format!("the network namespaces of {containers} running containers")
        };
        let is_elsewhere = at_run(engines) != at_run(directory);
        let (engines, directory) = (shown(engines), shown(directory));
        match reason {
            MissingNamespace::NoDirectory if directory.is_empty() => write!(
                f,
                "the directory of --docker.netns-dir cannot be read, and {them} should be there (the engine uses \
                 {engines})"
            ),
            MissingNamespace::NoDirectory => write!(
                f,
                "there is no directory {directory}, and {them} should be there; set --docker.netns-dir to the \
                 engine's {engines}, and if netmon runs in a container, bind it there (ro,rslave)"
            ),
            MissingNamespace::NoFile if is_elsewhere => write!(
                f,
                "the engine has {them} in {engines}, but netmon looks in {directory}; set --docker.netns-dir to the \
                 engine's, and if netmon runs in a container, bind it there (ro,rslave)"
            ),
            MissingNamespace::NoFile => write!(
                f,
                "the engine has {them} in {engines}, but netmon does not see the host's directory of that name; bind \
                 it into netmon's container (ro,rslave)"
            ),
            MissingNamespace::NotMounted => write!(
                f,
                "netmon sees only a plain file in {directory} for {them}: mounts of the host do not reach netmon; \
                 bind {engines} with rslave propagation (ro,rslave)"
            ),
        }
    }
}

/// The path without the link that `/var/run` is.
fn at_run(path: &Path) -> &Path {
    path.strip_prefix("/var/run")
        .or_else(|_| path.strip_prefix("/run"))
        .unwrap_or(path)
}

fn shown(path: &Path) -> String {
    cut(&path.to_string_lossy(), LONGEST_PATH)
        .chars()
        .flat_map(char::escape_debug)
        .collect()
}

/// What is known of the directory, and what was said.
#[derive(Debug, Default)]
pub(super) struct Misfits {
    /// The last listing; `None` before the first.
    listed: Option<Listed>,
    /// Namespaces of containers that were in a listing. If one is missing later, its container has ended.
    seen: BTreeSet<String>,
    /// The others that are missing, and since when.
    missing: BTreeMap<String, (MissingNamespace, Instant)>,
    /// Inventory or listing have changed since the last check.
    is_stale: bool,
    /// What was said, and is not over.
    said: BTreeSet<Option<MissingNamespace>>,
}

#[derive(Debug)]
struct Listed {
    directory: PathBuf,
    is_missing: bool,
    present: BTreeSet<String>,
    strays: BTreeSet<String>,
}

/// A change of what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// This began.
    Begun(Misfit),
    /// All is well again.
    Over,
}

impl Misfits {
    /// Takes in a listing of the directory.
    pub(super) fn listed(&mut self, listing: &Listing) {
        let names = |paths: &mut dyn Iterator<Item = &PathBuf>| {
            paths.filter_map(|path| Some(file_name(path)?.to_owned())).collect()
        };
        self.listed = Some(Listed {
            directory: listing.directory.clone(),
            is_missing: listing.is_missing,
            present: names(&mut listing.files.iter().map(|file| &file.path)),
            strays: names(&mut listing.strays.iter()),
        });
        self.is_stale = true;
    }

    /// The inventory has changed.
    pub(super) const fn inventory_changed(&mut self) {
        self.is_stale = true;
    }

    /// Why this namespace is missing. `None` if it is where netmon looks, or was there.
    fn reason(&self, name: &str) -> Option<MissingNamespace> {
        if self.seen.contains(name) {
            return None;
        }
        match &self.listed {
            None => Some(MissingNamespace::NoDirectory),
            Some(listed) if listed.is_missing => Some(MissingNamespace::NoDirectory),
            Some(listed) if listed.present.contains(name) => None,
            Some(listed) if listed.strays.contains(name) => Some(MissingNamespace::NotMounted),
            Some(_) => Some(MissingNamespace::NoFile),
        }
    }

    /// The first of the reasons that is found among these containers' namespaces, as a sentence.
    fn misfit<'a>(&self, missing: impl Iterator<Item = (MissingNamespace, &'a Path)>) -> Option<Misfit> {
        let mut by_reason: BTreeMap<MissingNamespace, (usize, &Path)> = BTreeMap::new();
        for (reason, directory) in missing {
            by_reason.entry(reason).or_insert((0, directory)).0 += 1;
        }
        let (reason, (containers, engines)) = by_reason.into_iter().next()?;
        let directory = self.listed.as_ref().map(|listed| listed.directory.clone());
        Some(Misfit::Missing {
            reason,
            containers,
            engines: engines.to_owned(),
            directory: directory.unwrap_or_default(),
        })
    }
}

/// The names of the running containers' namespaces, and the engine's directory of each.
fn sandboxes(inventory: &Inventory) -> impl Iterator<Item = (&str, &Path)> {
    let running = inventory.containers.values().filter(|container| container.running);
    running.filter_map(|container| match &container.sandbox {
        Sandbox::Own(path) => Some((file_name(path)?, path.parent()?)),
        Sandbox::Shared(_) | Sandbox::Host | Sandbox::Isolated | Sandbox::Absent => None,
    })
}

impl State {
    /// What is wrong now. A container that is just ending may seem to be without its namespace for a moment.
    #[must_use]
    pub fn misfit(&self) -> Option<Misfit> {
        let missing =
            sandboxes(&self.inventory).filter_map(|(name, directory)| Some((self.misfits.reason(name)?, directory)));
        let missing = self.misfits.misfit(missing);
        let never_listed = self.has_begun && self.misfits.listed.is_none();
        missing
            .or_else(|| never_listed.then_some(Misfit::Unlisted))
            .or_else(|| self.has_no_node().then_some(Misfit::NoNode))
    }

    /// Whether a container's namespace was where netmon looks, and is no more.
    #[must_use]
    pub fn is_removed(&self, sandbox: &Path) -> bool {
        let Misfits { listed, seen, .. } = &self.misfits;
        let is_absent = |name: &str| listed.as_ref().is_some_and(|listed| !listed.present.contains(name));
        file_name(sandbox).is_some_and(|name| seen.contains(name) && is_absent(name))
    }

    /// Everything that existed at start-up has been read, and nothing of it is the node's namespace. While the directory
    /// cannot be read, nobody knows whose the namespace is that netmon runs in.
    fn has_no_node(&self) -> bool {
        self.has_begun && self.misfits.listed.is_some() && self.node().is_none()
    }

    /// Checks the host, and returns what has to be logged: what is wrong for some time and was not said yet.
    pub fn check_host(&mut self, now: Instant) -> Vec<News> {
        let Self { misfits, inventory, .. } = self;
        if std::mem::take(&mut misfits.is_stale) {
            let names: BTreeSet<&str> = sandboxes(inventory).map(|(name, _)| name).collect();
            misfits.seen.retain(|name| names.contains(name.as_str()));
            misfits.missing.retain(|name, _| names.contains(name.as_str()));
            for name in names {
                let is_present = |listed: &Listed| listed.present.contains(name);
                if misfits.listed.as_ref().is_some_and(is_present) {
                    misfits.seen.insert(name.to_owned());
                }
                match misfits.reason(name) {
                    Some(reason) => misfits.missing.entry(name.to_owned()).or_insert((reason, now)).0 = reason,
                    None => drop(misfits.missing.remove(name)),
                }
            }
        }
        let missing = self.missing_namespaces(now);
        let mut wrong: BTreeSet<Option<MissingNamespace>> = missing
            .into_iter()
            .filter_map(|(reason, count)| (count > 0).then_some(Some(reason)))
            .collect();
        wrong.extend(self.has_no_node().then_some(None));
        let begun = wrong.difference(&self.misfits.said).filter_map(|what| match what {
            None => Some(Misfit::NoNode),
            Some(reason) => {
                let of_it = |name: &str| self.has_long_missed(name, now) == Some(*reason);
                let them = sandboxes(&self.inventory).filter(|(name, _)| of_it(name));
                self.misfits.misfit(them.map(|(_, directory)| (*reason, directory)))
            }
        });
        let mut news: Vec<News> = begun.map(News::Begun).collect();
        if wrong.is_empty() && !self.misfits.said.is_empty() {
            news.push(News::Over);
        }
        self.misfits.said = wrong;
        news
    }

    /// How many running containers' namespaces are missing for some time, by reason.
    #[must_use]
    pub fn missing_namespaces(&self, now: Instant) -> BTreeMap<MissingNamespace, usize> {
        let mut counts: BTreeMap<_, _> = MissingNamespace::ALL.map(|reason| (reason, 0)).into();
        for name in self.misfits.missing.keys() {
            if let Some(reason) = self.has_long_missed(name, now) {
                *counts.entry(reason).or_default() += 1;
            }
        }
        counts
    }

    /// Why a namespace is missing, if it is for some time.
    fn has_long_missed(&self, name: &str, now: Instant) -> Option<MissingNamespace> {
        let (reason, since) = self.misfits.missing.get(name)?;
        (now.saturating_duration_since(*since) >= self.times.namespace_patience).then_some(*reason)
    }
}
