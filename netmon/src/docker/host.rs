//! The engine's address: which one to use, and whether it is valid.

use std::{fmt, path::Path};

use super::DockerError;

/// Where the engine listens by default.
const USUAL: &str = "unix:///var/run/docker.sock";

/// The default port of `tcp://`, as in Docker's own tools.
const TCP_PORT: u16 = 2375;

/// An address that bollard accepts: `unix:///path`, `tcp://host:port` or `http://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EngineAddress(String);

impl EngineAddress {
    /// The address to use: the option, else `DOCKER_HOST`, else the default socket.
    pub(super) fn configured(option: Option<&str>) -> Result<Self, DockerError> {
        Self::choose(option, std::env::var("DOCKER_HOST").ok().as_deref())
    }

    /// The address to use: the option, else `DOCKER_HOST` from the environment, else the default socket.
    pub(super) fn choose(option: Option<&str>, environment: Option<&str>) -> Result<Self, DockerError> {
        let given = option.or(environment.filter(|host| !host.is_empty()));
        Self::parse(given.unwrap_or(USUAL))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The file of a Unix socket.
    pub(super) fn socket(&self) -> Option<&Path> {
        self.0.strip_prefix("unix://").map(Path::new)
    }

    fn parse(host: &str) -> Result<Self, DockerError> {
        let refuse = |reason| DockerError::Host {
            host: host.to_owned(),
            reason,
        };
        if host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(refuse("it has white space or control characters in it"));
        }
        match host.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self(host.to_owned())),
            Some(("unix", _)) => Err(refuse(
                "the socket's path must be absolute, as in unix:///var/run/docker.sock",
            )),
            Some((scheme @ ("tcp" | "http"), rest)) => {
                let authority = rest.trim_end_matches('/');
                let has_port = has_port(authority).map_err(refuse)?;
                Ok(Self(if scheme == "tcp" && !has_port {
                    format!("tcp://{authority}:{TCP_PORT}")
                } else {
                    format!("{scheme}://{authority}")
                }))
            }
            Some(("https" | "ssh", _)) => Err(refuse(
                "netmon speaks neither TLS nor SSH to the engine, which it expects on its own node",
            )),
            Some(_) | None => Err(refuse("it has no scheme that netmon knows")),
        }
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `host`, `host:port`, `[v6]` or `[v6]:port` has a port.
fn has_port(authority: &str) -> Result<bool, &'static str> {
    if authority.contains(['/', '?', '#', '@']) {
        return Err("behind the scheme only a host and a port are expected");
    }
    let (name, port) = match authority.rsplit_once(':') {
        // The last colon of a bare [::1] does not start a port.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        Some(_) | None => (authority, None),
    };
    if name.is_empty() {
        return Err("it names no host");
    }
    if name.contains(':') && !(name.starts_with('[') && name.ends_with(']')) {
        return Err("an IPv6 address needs brackets");
    }
    match port.map(str::parse::<u16>) {
        None => Ok(false),
        Some(Ok(1..)) => Ok(true),
        Some(Ok(0) | Err(_)) => Err("its port is not a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::EngineAddress;

    fn chosen(option: Option<&str>, environment: Option<&str>) -> String {
        EngineAddress::choose(option, environment).expect("an address").0
    }

    #[test]
    fn the_option_comes_before_the_environment_and_the_usual_socket_last() {
        assert_eq!(chosen(Some("unix:///a"), Some("unix:///b")), "unix:///a");
        assert_eq!(chosen(None, Some("unix:///b")), "unix:///b");
        assert_eq!(chosen(None, None), "unix:///var/run/docker.sock");
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        assert_eq!(chosen(None, Some("")), "unix:///var/run/docker.sock");
    }

    #[test]
    fn tcp_without_a_port_means_the_engines_usual_port() {
        assert_eq!(chosen(Some("tcp://proxy"), None), "tcp://proxy:2375");
        assert_eq!(chosen(Some("tcp://[::1]"), None), "tcp://[::1]:2375");
        assert_eq!(chosen(Some("tcp://proxy:99/"), None), "tcp://proxy:99");
        assert_eq!(chosen(Some("http://proxy"), None), "http://proxy");
        assert_eq!(chosen(Some("tcp://[fd00::1]:99"), None), "tcp://[fd00::1]:99");
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_with_the_reason() {
        for host in [
            "",
            "/var/run/docker.sock",
            "unix://docker.sock",
            "unix://",
            "https://proxy:2376",
            "ssh://node",
            "npipe:////./pipe/docker_engine",
            "tcp://",
            "tcp://:2375",
            "tcp://proxy:0",
            "tcp://proxy:65536",
            "tcp://proxy:x",
            "tcp://fd00::1:2375",
            "tcp://proxy:2375/prefix",
            "tcp://user@proxy:2375",
            "unix:///var/run/docker.sock\n",
        ] {
            let error = EngineAddress::choose(Some(host), None).expect_err(host).to_string();
            assert!(error.contains("DOCKER_HOST"), "{error} does not say what to do");
        }
    }
}
