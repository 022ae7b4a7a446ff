//! Users and their passwords. The only module that names bcrypt.
//!
//! Checking a password takes a tenth of a second of processor time, by design. So it runs on a thread that may block,
//! one check at a time. Correct passwords are remembered by a digest, as long as the user's hash stays. So a scrape
//! costs only a digest, and waits for no client that guesses passwords.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::Path,
    str::FromStr as _,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bcrypt::HashParts;
use hyper::{HeaderMap, header};
use sha2::{Digest as _, Sha256};

use super::{AccessError, setting, turns::Turns};

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
    /// Digests of correct users and passwords, with the users.
    right: Mutex<BTreeMap<[u8; 32], String>>,
    turns: Turns,
}

/// Who a client says to be.
#[derive(Debug)]
pub(super) struct Claim {
    user: String,
    password: String,
    /// The hash to compare with.
    hash: Arc<str>,
    is_user: bool,
    digest: [u8; 32],
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
            turns: Turns::new(),
        }))
    }

    /// Takes over what was found to be right, of users whose hashes are still the same.
    pub(super) fn remember(&self, before: &Self) {
        let unchanged = |user: &String| self.users.contains_key(user) && self.users.get(user) == before.users.get(user);
        let mut right = before.right.lock().unwrap_or_else(PoisonError::into_inner).clone();
        right.retain(|_, user| unchanged(user));
        *self.right.lock().unwrap_or_else(PoisonError::into_inner) = right;
    }

    /// Who the request says to come from. `None` if it does not say so.
    pub(super) fn claim(&self, headers: &HeaderMap) -> Option<Claim> {
        let (user, password) = credentials(headers)?;
        let known = self.users.get(&user);
        let hash = Arc::clone(known.unwrap_or(&self.anybody));
        let digest = digest(&[user.as_bytes(), password.as_bytes(), hash.as_bytes()]);
        Some(Claim {
            user,
            password,
            hash,
            is_user: known.is_some(),
            digest,
        })
    }

    /// Whether the claim was found to be right before. Costs next to nothing.
    pub(super) fn remembers(&self, claim: &Claim) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        claim.is_user && right.contains_key(&claim.digest)
    }

    /// Whether a client at that address is who it claims to be.
    pub(super) async fn is_right(&self, claim: Claim, address: IpAddr) -> bool {
        let Some(turn) = self.turns.of(address).await else {
            return false;
        };
        // Another request may have had the same password checked meanwhile.
        if self.remembers(&claim) {
            return true;
        }
        let Claim {
            user,
            password,
            hash,
            is_user,
            digest,
        } = claim;
        let check = move || {
            // The turn ends with the check. A client that leaves ends only the waiting for it.
            let _turn = turn;
            bcrypt::verify(&password, &hash).unwrap_or(false)
        };
        let is_right = tokio::task::spawn_blocking(check).await.unwrap_or(false) && is_user;
        if is_right {
            let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
            if right.len() >= REMEMBERED {
                right.clear();
            }
            right.insert(digest, user);
        }
        is_right
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

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, path::Path};

    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use futures_util::poll;
    use hyper::{
        HeaderMap,
        header::{AUTHORIZATION, HeaderValue},
    };

    use super::BasicAuth;

    #[tokio::test]
    async fn a_check_whose_client_has_left_still_runs_alone() {
        let hash = bcrypt::hash("one", 10).expect("a hash");
        let users = BasicAuth::new(&[("alice".to_owned(), hash)].into(), Path::new("web.yml"));
        let users = users.expect("valid users").expect("a user");
        let header = format!("Basic {}", BASE64_STANDARD.encode("alice:guess"));
        let headers: HeaderMap = [(AUTHORIZATION, HeaderValue::from_str(&header).expect("a header"))]
            .into_iter()
            .collect();
        let claim = users.claim(&headers).expect("a claim");
        let [guesser, other] = ["10.0.0.1", "10.0.0.2"].map(|it| it.parse::<IpAddr>().expect("an address"));
        let mut check = Box::pin(users.is_right(claim, guesser));
        assert!(poll!(check.as_mut()).is_pending(), "it is being checked");
        drop(check);
        let mut next = Box::pin(users.turns.of(other));
        assert!(poll!(next.as_mut()).is_pending(), "two checks would run at once");
        assert!(next.await.is_some());
    }
}
