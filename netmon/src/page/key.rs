//! What a row is about.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::{Arc, LazyLock},
};

use crate::model::{
    inventory::Identity,
    text::{is_same, order},
};

/// What a row is about. Rows of one schema with the same key are one series of each family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The container; or, for sums of a service, the service and its stack. Empty if neither.
    pub identity: Arc<Identity>,
    /// The network; empty if there is none.
    pub network: Arc<str>,
    /// What there are several of: the interface, the reason, the peer, the state.
    pub what: Word,
    /// What there are several of for each of those: the kind of a queue, the direction.
    pub detail: Word,
}

/// A part of a key: netmon's own word, or one that it was told. Equal words are the same, whosever they are.
#[derive(Clone)]
pub enum Word {
    /// A word of netmon's own. Most keys have one, so that it must not be copied for each.
    Own(&'static str),
    /// Any other.
    Told(Arc<str>),
}

/// No container and no service. Shared, because most keys of the node have it.
static NOBODY: LazyLock<Arc<Identity>> = LazyLock::new(Arc::default);

impl Default for Key {
    fn default() -> Self {
        Self::of(&NOBODY)
    }
}

impl Key {
    /// A container.
    #[must_use]
    pub fn of(identity: &Arc<Identity>) -> Self {
        Self {
            identity: Arc::clone(identity),
            network: Arc::default(),
            what: Word::default(),
            detail: Word::default(),
        }
    }

    /// The same, on this network.
    #[must_use]
    pub fn on(self, network: &Arc<str>) -> Self {
        Self {
            network: Arc::clone(network),
            ..self
        }
    }

    /// The same, for this interface, reason, peer or state.
    #[must_use]
    pub fn what(self, what: impl Into<Word>) -> Self {
        Self {
            what: what.into(),
            ..self
        }
    }

    /// The same, for this detail.
    #[must_use]
    pub fn detail(self, detail: impl Into<Word>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }
}

// === impl Word ===

impl Word {
    /// A word that netmon was told.
    #[must_use]
    pub fn told(word: &str) -> Self {
        Self::Told(Arc::from(word))
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Own(word) => word,
            Self::Told(word) => word,
        }
    }
}

impl Default for Word {
    fn default() -> Self {
        Self::Own("")
    }
}

impl From<&'static str> for Word {
    fn from(word: &'static str) -> Self {
        Self::Own(word)
    }
}

impl From<String> for Word {
    fn from(word: String) -> Self {
        Self::Told(word.into())
    }
}

impl From<Arc<str>> for Word {
    fn from(word: Arc<str>) -> Self {
        Self::Told(word)
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        is_same(self, other)
    }
}

impl Eq for Word {}

impl PartialOrd for Word {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Word {
    fn cmp(&self, other: &Self) -> Ordering {
        order(self, other)
    }
}

impl Hash for Word {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use super::{Key, Word};

    #[test]
    fn a_word_is_the_same_whosever_it_is() {
        let keys = [
            Word::from("eth0"),
            Word::told("eth0"),
            Word::from(Arc::from("eth0")),
            "eth0".to_owned().into(),
        ];
        let keys: HashSet<Key> = keys.into_iter().map(|word| Key::default().what(word)).collect();
        assert_eq!(keys.len(), 1);
        assert!(Word::from("eth0") < Word::told("eth1") && Word::told("eth0") < Word::from("eth1"));
    }
}
