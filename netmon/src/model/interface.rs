//! Network namespaces and their devices, as the kernel describes them.

use std::{fmt, net::IpAddr, str::FromStr};

/// A network namespace, identified by the kernel's cookie (`SO_NETNS_COOKIE`, 5.14).
///
/// Inode numbers are reused within seconds. A cookie is never reused while the machine runs. So the counters of a
/// deleted namespace cannot be taken for those of a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsId(pub u64);

/// An interface. Names change, and every namespace counts its ifindexes from 1, so neither identifies an interface
/// alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId {
    /// The namespace that the device is in.
    pub netns: NetnsId,
    /// Its ifindex in that namespace.
    pub ifindex: u32,
}

/// The ifindex of loopback in every namespace.
pub const LOOPBACK: u32 = 1;

impl fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interface {} of namespace {}", self.ifindex, self.netns.0)
    }
}

/// A device, as a dump of its namespace describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its ifindex.
    pub ifindex: u32,
    /// Its name at the time of the dump. The kernel allows all bytes except `/` and white space. Bytes that are not
    /// printable ASCII are written as `\xNN`, so different names remain different.
    pub name: String,
    /// What kind of device it is.
    pub kind: DeviceKind,
    /// Its hardware address, if it has one of six bytes.
    pub mac: Option<MacAddress>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its maximum transmission unit, in bytes.
    pub mtu: u32,
    /// The VNI of a vxlan device.
    pub vni: Option<u32>,
    /// The UDP port of a vxlan device.
    pub vxlan_port: Option<u16>,
    /// The ifindex of the bridge (or other device) that it is a port of.
    pub master: Option<u32>,
    /// The ifindex of the other end of a veth, in whatever namespace that is.
    pub peer: Option<u32>,
    /// Whether it is administratively up.
    pub up: bool,
}

impl Device {
    /// A device that is down, with no other details.
    #[must_use]
    pub const fn new(ifindex: u32, name: String, kind: DeviceKind) -> Self {
        Self {
            ifindex,
            name,
            kind,
            mac: None,
            addresses: Vec::new(),
            mtu: 0,
            vni: None,
            vxlan_port: None,
            master: None,
            peer: None,
            up: false,
        }
    }
}

/// The devices of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceList {
    /// Those that were listed.
    pub devices: Vec<Device>,
    /// It has every device. Otherwise the namespace changed too fast, and what is not listed may still be there.
    pub is_whole: bool,
}

impl From<Vec<Device>> for DeviceList {
    fn from(devices: Vec<Device>) -> Self {
        Self {
            devices,
            is_whole: true,
        }
    }
}

/// The driver of a device (`IFLA_INFO_KIND`), as far as netmon distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// The namespace's own loopback.
    Loopback,
    /// One end of a veth pair.
    Veth,
    /// A vxlan device: it connects an overlay network to the other nodes.
    Vxlan,
    /// A child of another interface, with its own hardware address.
    Macvlan,
    /// A child of another interface that shares its hardware address.
    Ipvlan,
    /// A software switch.
    Bridge,
    /// Anything else: hardware, or tunnels and dummies created inside a container.
    Other,
}

/// A hardware address of six bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(it) = self;
        write!(
            f,
            "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
            it[0], it[1], it[2], it[3], it[4], it[5]
        )
    }
}

/// The text is not a hardware address of six bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hardware address is six pairs of hexadecimal digits with colons between them")]
pub struct ParseMacError;

impl FromStr for MacAddress {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let hexadecimal = |part: &&str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            let part = parts.next().filter(hexadecimal).ok_or(ParseMacError)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| ParseMacError)?;
        }
        if parts.next().is_some() {
            Err(ParseMacError)
        } else {
            Ok(Self(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MacAddress;

    #[test]
    fn a_hardware_address_survives_the_way_to_text_and_back() {
        let mac = MacAddress([0x02, 0x42, 0x0a, 0x00, 0x01, 0xff]);
        assert_eq!(mac.to_string(), "02:42:0a:00:01:ff");
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }

    #[test]
    fn what_is_no_hardware_address_is_refused() {
        for text in [
            "",
            "02:42:0a:00:01",
            "02:42:0a:00:01:ff:00",
            "2:42:0a:00:01:ff",
            "02:42:0a:00:01:fg",
            "+2:42:0a:00:01:ff",
        ] {
            assert!(text.parse::<MacAddress>().is_err(), "{text:?} was taken for an address");
        }
    }
}
