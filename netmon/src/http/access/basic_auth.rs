//! Users and their passwords. The only module that names bcrypt.
//!
//! Checking a password takes a tenth of a second of processor time, by design. So it runs on a thread that may block,
//! one check at a time. Correct passwords are remembered by a digest. So a scrape costs only a digest, and a client
//! that guesses passwords waits behind others that do.

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

/// How many correct answers are remembered. Usually there is one for each user.
const REMEMBERED: usize = 100;
/// Each step doubles the time: cost 17 takes ten seconds.
const HIGHEST_COST: u32 = 16;

#[derive(Debug)]
pub(super) struct BasicAuth {
    /// Password hashes by user.
    users: BTreeMap<String, Arc<str>>,
    /// The hash to check for an unknown user, so that the time of an answer does not reveal which users exist.
    anybody: Arc<str>,
    /// Digests of correct users and passwords.
    right: Mutex<BTreeSet<[u8; 32]>>,
    one_at_a_time: Semaphore,
}

impl BasicAuth {
    /// `None` if there are no users: then everybody has access.
    pub(super) fn new(users: &BTreeMap<String, String>, path: &Path) -> Result<Option<Self>, AccessError> {
        for (user, hash) in users {
            let key = || format!("basic_auth_users.{user}");
            let parts = HashParts::from_str(hash).map_err(|_| {
                setting(
                    path,
                    key(),
                    "this is not a bcrypt hash; make one with `htpasswd -nBC 10 \"\"`",
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

    /// Whether the request has the credentials of a known user.
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
        // The semaphore is never closed.
        let Ok(_turn) = self.one_at_a_time.acquire().await else {
            return false;
        };
        // Another request may have checked the same password meanwhile.
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

/// User and password from the header, as in RFC 7617.
pub(super) fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    /// bcrypt uses no more bytes of a password.
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

/// A digest of several parts. Their lengths are included, so that shifting bytes between parts changes it.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}
