//! What the kernel's map has of each tunnel: from its keys to the model. Pure.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
};

use netmon_common::{
    overlay::{ESP, Key, Outer, VXLAN},
    traffic::RECEIVE,
};

use crate::{
    datapath::addresses::octets,
    model::overlay::{Tunnel, TunnelKind, Tunnels},
};

/// One reading of the counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunnelReading {
    /// The tunnels.
    pub tunnels: Tunnels,
    /// The number of keys in the map. A tunnel has one for each direction that was seen.
    pub entries: u64,
    /// How many of them are of unknown tunnels.
    pub(super) strangers: u32,
}

impl TunnelReading {
    /// Takes in one key, with the counts of all CPUs.
    pub(super) fn take_in(&mut self, key: Key, counts: &[Outer], known: &BTreeSet<Tunnel>) {
        self.entries += 1;
        let Some(tunnel) = tunnel(key) else { return };
        self.strangers += u32::from(!known.contains(&tunnel));
        let mut sum = Outer::ZERO;
        for its in counts {
            sum.accumulate(its);
        }
        let both = self.tunnels.entry(tunnel).or_default();
        if u32::from(key.direction) == RECEIVE {
            both.receive = sum.into();
        } else {
            both.transmit = sum.into();
        }
    }
}

/// The key of a tunnel, in one direction.
pub(super) fn key(tunnel: Tunnel, direction: u32) -> Key {
    let (kind, vni) = match tunnel.kind {
        TunnelKind::Vxlan { vni } => (VXLAN, vni),
        TunnelKind::Esp => (ESP, 0),
    };
    Key {
        remote: octets(tunnel.remote),
        vni,
        kind,
        // 0 or 1.
        direction: u16::try_from(direction).unwrap_or_default(),
    }
}

/// The tunnel of a key; `None` if no program of this build wrote it.
pub(super) fn tunnel(key: Key) -> Option<Tunnel> {
    let Key {
        remote,
        vni,
        kind,
        direction: _,
    } = key;
    let kind = match kind {
        VXLAN => TunnelKind::Vxlan { vni },
        ESP => TunnelKind::Esp,
        _ => return None,
    };
    let remote = IpAddr::V6(Ipv6Addr::from(remote)).to_canonical();
    Some(Tunnel { kind, remote })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use netmon_common::{
        overlay::Outer,
        traffic::{RECEIVE, TRANSMIT},
    };

    use super::{TunnelReading, key};
    use crate::model::overlay::{Tunnel, TunnelKind};

    #[test]
    fn a_tunnel_has_a_key_for_each_direction() {
        let tunnel = |last| Tunnel {
            kind: TunnelKind::Vxlan { vni: 4097 },
            remote: IpAddr::from([192, 0, 2, last]),
        };
        let (known, stranger) = (tunnel(1), tunnel(2));
        let mut reading = TunnelReading::default();
        for (tunnel, direction, packets) in [(known, RECEIVE, 1), (known, TRANSMIT, 2), (stranger, RECEIVE, 3)] {
            // On two CPUs.
            let counts = [Outer { packets, bytes: 100 }; 2];
            reading.take_in(key(tunnel, direction), &counts, &[known].into());
        }
        let packets = |tunnel| {
            let both = reading.tunnels.get(&tunnel)?;
            Some((both.receive.packets, both.transmit.packets))
        };
        assert_eq!((packets(known), packets(stranger)), (Some((2, 4)), Some((6, 0))));
        assert_eq!((reading.entries, reading.strangers), (3, 1));
    }
}
