//! Parses `--web.listen-address`, for the server that listens there and for the health check that connects there.
//! Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listen<'a> {
    /// `:PORT`: all addresses of the host.
    Everywhere(u16),
    /// `ADDRESS:PORT`, or a name that has to be resolved.
    At(&'a str),
}

impl<'a> Listen<'a> {
    /// Parses the text. `None` if it is not valid.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        match text.strip_prefix(':') {
            Some(port) => Some(Self::Everywhere(port.parse().ok()?)),
            None => Some(Self::At(text)),
        }
    }
}

/// The addresses at which to reach a server on this host that listens on that address, the likeliest first. An
/// unspecified address cannot be connected to, so loopback takes its place.
pub(super) fn reachable(listening: SocketAddr) -> Vec<SocketAddr> {
    let port = listening.port();
    let on = |address: IpAddr| SocketAddr::new(address, port);
    match listening.ip() {
        IpAddr::V4(address) if address.is_unspecified() => vec![on(Ipv4Addr::LOCALHOST.into())],
        // This address accepts IPv4 as well. Some hosts have no IPv6 on loopback.
        IpAddr::V6(address) if address.is_unspecified() => {
            vec![on(Ipv6Addr::LOCALHOST.into()), on(Ipv4Addr::LOCALHOST.into())]
        }
        IpAddr::V4(_) | IpAddr::V6(_) => vec![listening],
    }
}

#[cfg(test)]
mod tests {
    use super::{Listen, reachable};

    #[test]
    fn a_port_alone_is_every_address() {
        assert_eq!(Listen::parse(":10095"), Some(Listen::Everywhere(10095)));
        assert_eq!(Listen::parse("[::1]:80"), Some(Listen::At("[::1]:80")));
        assert_eq!(Listen::parse(":http"), None);
        assert_eq!(Listen::parse(":70000"), None);
    }

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        for (listening, asked) in [
            ("0.0.0.0:1", &["127.0.0.1:1"][..]),
            ("[::]:1", &["[::1]:1", "127.0.0.1:1"]),
            ("10.94.0.11:1", &["10.94.0.11:1"]),
        ] {
            let reached: Vec<String> = reachable(listening.parse().expect("an address"))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(reached, asked);
        }
    }
}
