//! Users and their passwords: the only place that names bcrypt.
//!
//! Checking a password costs a tenth of a second of a processor, on purpose. So it is done on a thread that may block, one
//! at a time, and what was right once is remembered, by a digest: a scrape costs a digest, and a guesser waits in line
//! with other guessers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    str::FromStr as _,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bcrypt::HashParts;
use hyper::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::{AccessError, setting};

/// Right answers that are remembered: one for each user, as a rule.
const REMEMBERED: usize = 100;
/// The cost is a power of two: 17 takes ten seconds.
const HIGHEST_COST: u32 = 16;

#[derive(Debug)]
pub(super) struct BasicAuth {
    /// Password hashes by user.
    users: BTreeMap<String, Arc<str>>,
    /// Checked in place of an unknown user's, so that the time an answer takes does not tell which users there are.
    anybody: Arc<str>,
    /// Digests of what was right.
    right: Mutex<BTreeSet<[u8; 32]>>,
    one_at_a_time: Semaphore,
}

impl BasicAuth {
    /// Nothing, where there are no users: then everybody is welcome.
    pub(super) fn new(users: &BTreeMap<String, String>, path: &Path) -> Result<Option<Self>, AccessError> {
        for (user, hash) in users {
            let key = || format!("basic_auth_users.{user}");
            let parts = HashParts::from_str(hash).map_err(|_| {
                setting(
                    path,
                    key(),
                    "this is no bcrypt hash; make one with `htpasswd -nBC 10 \"\"`",
                )
            })?;
            if parts.get_cost() > HIGHEST_COST {
                return Err(setting(
                    path,
                    key(),
                    format!(
                        "a hash of cost {} takes many seconds to check; use 10 to 12",
                        parts.get_cost()
                    ),
                ));
            }
        }
        let users: BTreeMap<String, Arc<str>> = users
            .iter()
            .map(|(user, hash)| (user.clone(), Arc::from(hash.as_str())))
            .collect();
        Ok(users.values().next().cloned().map(|anybody| Self {
            users,
            anybody,
            right: Mutex::default(),
            one_at_a_time: Semaphore::new(1),
        }))
    }

    /// Whether the request comes from somebody who is known.
    pub(super) async fn know(&self, headers: &HeaderMap) -> bool {
        let Some((user, password)) = credentials(headers) else {
            return false;
        };
        let known = self.users.get(&user);
        let hash = known.unwrap_or(&self.anybody);
        let digest = digest(&[user.as_bytes(), password.as_bytes(), hash.as_bytes()]);
        if self.is_remembered(&digest) {
            return known.is_some();
        }
        // Never closed.
        let Ok(_turn) = self.one_at_a_time.acquire().await else {
            return false;
        };
        // Somebody else may have asked the same meanwhile.
        if self.is_remembered(&digest) {
            return known.is_some();
        }
        let hash = Arc::clone(hash);
        let check = move || bcrypt::verify(&password, &hash).unwrap_or(false);
        let is_right = tokio::task::spawn_blocking(check).await.unwrap_or(false) && known.is_some();
        if is_right {
            let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
            if right.len() >= REMEMBERED {
                right.clear();
            }
            right.insert(digest);
        }
        is_right
    }

    fn is_remembered(&self, digest: &[u8; 32]) -> bool {
        self.right
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(digest)
    }
}

/// User and password, as RFC 7617 has them in a header.
pub(super) fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    /// bcrypt takes no more of a password.
    const LONGEST: usize = 72;

    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    (password.len() <= LONGEST && !password.contains('\0')).then(|| (user.to_owned(), password.to_owned()))
}

/// A digest of parts, of which none can pass for a piece of another.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}
