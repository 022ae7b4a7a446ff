//! Fuzz targets for the code that reads rules, client certificates and credentials. See [`crate::fuzzing`].

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Instant,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, HeaderValue},
};

use super::{
    basic_auth::{BasicAuth, credentials},
    file,
    rate::Rate,
    tls::{self, Tls},
};

/// The most requests that are tried at once.
const MOST_REQUESTS: u32 = 64;

/// The file of rules.
pub(crate) fn web_config(data: &[u8]) {
    let path = Path::new("web.yml");
    let Ok(file) = file::parse(path, data) else { return };
    for (name, _) in file.headers(path).into_iter().flatten() {
        assert!(!matches!(name.as_str(), "content-type" | "content-length" | "server"));
    }
    // If the file names users, a password is required.
    if let Ok(users) = BasicAuth::new(&file.basic_auth_users, path) {
        assert_eq!(users.is_some(), !file.basic_auth_users.is_empty());
    }
    if let Ok(Some(rate)) = Rate::new(&file.rate_limit, path) {
        let burst = file.rate_limit.burst.unwrap_or(1);
        let now = Instant::now();
        let admitted = (0..=burst.min(MOST_REQUESTS))
            .filter(|_| rate.admits(IpAddr::V4(Ipv4Addr::LOCALHOST), now))
            .count();
        let expected = usize::try_from(burst.min(MOST_REQUESTS + 1)).unwrap_or(usize::MAX);
        assert_eq!(admitted, expected, "of {:?}", file.rate_limit);
    }
    // Only for settings without files: a fuzz target reads no other file.
    if let Some(settings) = file
        .tls_server_config
        .filter(|settings| settings.files().next().is_none())
    {
        let _: Result<Tls, _> = Tls::new(&settings, path, Path::new(""));
    }
}

/// A client's certificate.
pub(crate) fn certificate(data: &[u8]) {
    for name in tls::names(data) {
        assert!(
            name.len() <= data.len().max(64),
            "{name:?} is more than the certificate has"
        );
    }
}

/// The header with user and password.
pub(in crate::http) fn authorization(line: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(line) else {
        return;
    };
    let read = |value| credentials(&HeaderMap::from_iter([(AUTHORIZATION, value)]));
    let Some((user, password)) = read(value) else { return };
    assert!(!user.contains(':'));
    let again = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    let again = HeaderValue::from_str(&again).expect("a header");
    assert_eq!(read(again), Some((user, password)));
}
