//! Load balancing in the kernel (IPVS), as procfs shows it to the calling thread's namespace.

use std::{
    fs::File,
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr},
};

use crate::model::facts::{Backend, Balanced};

/// Missing if the kernel has no IPVS, or has not loaded it.
const SERVICES: &str = "/proc/thread-self/net/ip_vs";
/// More is not read. A line has about 60 bytes, so that is tens of thousands of back ends.
const LARGEST: u64 = 4 << 20;

/// The services that are marked by the firewall, with their back ends. `None` if there is no IPVS.
///
/// # Errors
/// The file exists, but cannot be read, or is too large.
pub fn balanced() -> io::Result<Option<Vec<Balanced>>> {
    let file = match File::open(SERVICES) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    if file.take(LARGEST).read_to_string(&mut text)? as u64 == LARGEST {
        return Err(io::Error::other(format!("{SERVICES} has more than {LARGEST} bytes")));
    }
    Ok(Some(parse(&text)))
}

/// A line for each service, and below it a line for each back end, with numbers in hexadecimal (`ip_vs_info_seq_show`).
/// Services of another kind than the engine's have no mark, and are left out.
pub(super) fn parse(text: &str) -> Vec<Balanced> {
    let mut services: Vec<Balanced> = Vec::new();
    let mut is_marked = false;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("FWM") => {
                let mark = words.next().and_then(|mark| u32::from_str_radix(mark, 16).ok());
                is_marked = mark.is_some();
                services.extend(mark.map(|mark| Balanced {
                    mark,
                    backends: Vec::new(),
                }));
            }
            Some("->") if is_marked => {
                if let (Some(service), Some(backend)) = (services.last_mut(), backend(words)) {
                    service.backends.push(backend);
                }
            }
            Some("->") => {}
            _ => is_marked = false,
        }
    }
    services
}

/// Address and port, how packets get there, the weight.
fn backend<'t>(mut words: impl Iterator<Item = &'t str>) -> Option<Backend> {
    let (address, _port) = words.next()?.rsplit_once(':')?;
    let address = match address.strip_prefix('[') {
        Some(rest) => IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?),
        None => IpAddr::V4(Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?)),
    };
    let _forwarding = words.next()?;
    Some(Backend {
        address,
        weight: words.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::model::facts::Backend;

    const TEXT: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A000001:0050 rr
  -> 0A0000FE:0050      Masq    1      0          0
FWM  00000105 rr
  -> 0A000107:0000      Masq    1      0          12
  -> 0A000106:0000      Masq    0      3          0
FWM  00000106 IPv6 rr
  -> [2001:0db8:0000:0000:0000:0000:0000:0005]:0000      Masq    1      0          0
";

    #[test]
    fn marked_services_are_read_with_their_back_ends() {
        let services = parse(TEXT);
        let marks: Vec<u32> = services.iter().map(|service| service.mark).collect();
        assert_eq!(marks, [0x105, 0x106]);
        let backend = |address: &str, weight| Backend {
            address: address.parse().expect("an address"),
            weight,
        };
        assert_eq!(services[0].backends, [backend("10.0.1.7", 1), backend("10.0.1.6", 0)]);
        assert_eq!(services[1].backends, [backend("2001:db8::5", 1)]);
    }

    #[test]
    fn nonsense_is_left_out() {
        assert!(parse("").is_empty());
        assert!(parse("FWM\n  -> 0A000107:0000 Masq 1").is_empty());
        let services =
            parse("FWM 1 rr\n  ->\n  -> x:0 Masq 1\n  -> 0A000107:0000 Masq\n  -> 0A000107:0000 Masq many\n");
        assert!(services[0].backends.is_empty());
    }
}
