//! Two containers with a wire between them that a relay can slow down. Must not know by how much.

use netmon_tests::fake_engine::Network;

use crate::world::{DEVICE, Member, World};

/// Two containers, connected by a relay with a delay.
pub(super) fn delayed(world: &mut World) -> anyhow::Result<(Member, Member)> {
    let (left, right) = (world.sandbox("aaaaaaaaaaaa")?, world.sandbox("bbbbbbbbbbbb")?);
    let wire = world.other("wire")?;
    for (end, netns) in [("left", &left), ("right", &right)] {
        wire.run(&format!(
            "ip link add {end} type veth peer name {DEVICE} netns {}",
            netns.path().display()
        ))?;
        // The relay's namespace has no addresses. IPv6 would send packets by itself, which would be relayed.
        wire.run(&format!("sysctl -qw net.ipv6.conf.{end}.disable_ipv6=1"))?;
        wire.run(&format!("ip link set {end} up"))?;
    }
    world.engine.network(Network {
        name: "net".to_owned(),
        driver: "bridge".to_owned(),
        subnet: "10.77.0.0/24".to_owned(),
        vni: None,
        encrypted: false,
    });
    let mut members = Vec::new();
    for (number, (name, netns)) in [("a", left), ("b", right)].into_iter().enumerate() {
        let number = number + 1;
        netns.run(&format!("ip addr add 10.77.0.{number}/24 dev {DEVICE}"))?;
        netns.run(&format!("ip addr add fd77::{number}/64 dev {DEVICE} nodad"))?;
        netns.run(&format!("ip link set {DEVICE} up"))?;
        // Complete frames of at most the MTU: the relay passes them on unchanged.
        netns.run(&format!("ethtool -K {DEVICE} tso off gso off gro off tx off"))?;
        let member = Member {
            name: name.to_owned(),
            netns,
            address: format!("10.77.0.{number}").parse()?,
            ipv6_address: format!("fd77::{number}").parse()?,
        };
        world.engine.start_container(member.container("net")?);
        members.push(member);
    }
    let [a, b] = <[Member; 2]>::try_from(members).map_err(|_| anyhow::anyhow!("not two"))?;
    Ok((a, b))
}
