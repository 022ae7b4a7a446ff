//! A service behind a virtual address, laid out as Swarm does it: the network's load balancer on the client's node has the
//! address. It chooses a task by IPVS, and connects to it from its own address.
//!
//! A kernel without IPVS has the filter choose the task. For the two ends that is the same.

use std::{env, net::TcpStream};

use anyhow::ensure;
use netmon_tests::{
    fake_engine::{Container, Endpoint, network_id, task_labels},
    netns::Netns,
    patience::until,
};

use super::{Counts, Edge, exchange};
use crate::{
    tcp::server::Server,
    world::{Cable, DEVICE, Member, World, ready},
};

const VIRTUAL: &str = "10.77.0.100";
const BALANCER: &str = "10.77.0.4";
/// The tasks: one beyond the network's tunnel, one on this node.
pub(crate) const TASKS: [&str; 2] = ["10.77.0.2", "10.77.0.3"];
const CONNECTIONS: usize = 20;

#[test]
fn a_service_behind_a_virtual_address_is_named_by_its_client_and_the_balancer_by_its_tasks() -> anyhow::Result<()> {
    let Balanced {
        world,
        a,
        b,
        c,
        balancer: _balancer,
    } = balanced()?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 4)?;

    let servers = [
        Server::start(&b.netns, TASKS[0].parse()?)?,
        Server::start(&c, TASKS[1].parse()?)?,
    ];
    let address = (VIRTUAL, servers[0].address.port());
    for _ in 0..CONNECTIONS {
        let mut stream = a.netns.within(|| Ok(TcpStream::connect(address)?))?;
        exchange(&mut stream, 100)?;
    }
    let [far, near] = until("the tasks to be done", || {
        let served = servers.each_ref().map(Server::served);
        ensure!(served.iter().sum::<usize>() == CONNECTIONS, "they took {served:?}");
        Ok(served)
    })?;
    ensure!(far == near, "one task took {far}, the other one {near}");
    let counts = |connections: usize| Counts {
        connections: connections as u64,
        active: 0,
        transmit: 100 * connections as u64,
        receive: 100 * connections as u64,
    };
    netmon.page_until("both ends to name each other", |page| {
        for (edge, wanted) in [
            (Edge::of("a", "shop_db", "client"), counts(CONNECTIONS)),
            (Edge::of("(load balancer)", "b", "server"), counts(far)),
            (Edge::of("(load balancer)", "shop_db", "server"), counts(near)),
        ] {
            let shown = edge.counts(page)?;
            ensure!(shown == wanted, "{} shows {shown:?}, not {wanted:?}", edge.side);
        }
        // The balancer's own namespace has no edges: it forwards.
        let all = page.all("netmon_edge_connections_total", &[]);
        ensure!(all.len() == 3, "{all:?}");
        Ok(())
    })
}

/// A network with a service of two tasks behind a virtual address, and its load balancer on the first node.
pub(crate) struct Balanced {
    pub(crate) world: World,
    pub(crate) a: Member,
    pub(crate) b: Member,
    pub(crate) c: Netns,
    pub(crate) balancer: Netns,
}

pub(crate) fn balanced() -> anyhow::Result<Balanced> {
    let mut world = World::new()?;
    world.labels.clear();
    describe(&world);
    let (a, b) = world.pair(Cable::Vxlan)?;
    let c = world.sandbox("cccccccccccc")?;
    let balancer = Netns::new(&world.netns_dir(), &format!("lb_{}", &network_id("net")[..9]))?;
    for (number, netns, address) in [(8, &c, TASKS[1]), (9, &balancer, BALANCER)] {
        let (port, path) = (format!("veth{number}"), netns.path().display());
        world.overlay_netns()?.ip(&[
            format!("link add {port} type veth peer name {DEVICE} netns {path}"),
            format!("link set {port} master br0 up"),
        ])?;
        netns.ip(&[
            format!("addr add {address}/24 dev {DEVICE}"),
            format!("link set {DEVICE} mtu 1450 up"),
        ])?;
        netns.passes(DEVICE)?;
    }
    balance(&balancer)?;
    for (netns, others) in [
        (&a.netns, vec![(VIRTUAL, &balancer)]),
        (&b.netns, vec![(BALANCER, &balancer)]),
        (&c, vec![(BALANCER, &balancer)]),
        (
            &balancer,
            vec![("10.77.0.1", &a.netns), (TASKS[0], &b.netns), (TASKS[1], &c)],
        ),
    ] {
        knows(netns, &others)?;
    }
    world.engine.start_container(Container {
        name: "shop_db.2.y".to_owned(),
        sandbox: c.path().to_path_buf(),
        labels: task_labels("shop_db.2.y"),
        network_mode: "default".to_owned(),
        endpoints: vec![Endpoint {
            network: "net".to_owned(),
            mac: c.mac(DEVICE)?,
            address: TASKS[1].to_owned(),
            ..Endpoint::default()
        }],
    });
    Ok(Balanced {
        world,
        a,
        b,
        c,
        balancer,
    })
}

/// What the engine says of the network's members.
fn describe(world: &World) {
    let id = network_id("net");
    let [far, near] = TASKS;
    let verbose = format!(
        r#"{{"Id":"{id}",
            "Containers":{{"lb-net":{{"Name":"net-endpoint","IPv4Address":"{BALANCER}/24"}}}},
            "Services":{{"shop_db":{{"VIP":"{VIRTUAL}","Tasks":[
                {{"Name":"shop_db.1.x","EndpointIP":"{far}","Info":{{"Host IP":"10.88.0.2"}}}},
                {{"Name":"shop_db.2.y","EndpointIP":"{near}","Info":{{"Host IP":"10.88.0.1"}}}}]}}}}}}"#
    );
    world.engine.answer(&format!("/networks/{id}"), verbose.as_bytes());
}

/// Makes a namespace the balancer of the tasks.
fn balance(netns: &Netns) -> anyhow::Result<()> {
    let [far, near] = TASKS;
    netns.ip(&[format!("addr add {VIRTUAL}/32 dev {DEVICE}")])?;
    for setting in ["ip_forward=1", "conf.all.send_redirects=0"] {
        netns.run(&format!("sysctl -qw net.ipv4.{setting}"))?;
    }
    let mut lines = vec![
        "nft add table ip lb".to_owned(),
        "nft add chain ip lb post { type nat hook postrouting priority 100 ; }".to_owned(),
        format!("nft add rule ip lb post ip daddr 10.77.0.0/24 snat to {BALANCER}"),
    ];
    if env::var_os("NETMON_TEST_IPVS").is_some() {
        lines.extend([
            "nft add chain ip lb pre { type filter hook prerouting priority -150 ; }".to_owned(),
            format!("nft add rule ip lb pre ip daddr {VIRTUAL} meta mark set 256"),
            "sysctl -qw net.ipv4.vs.conntrack=1".to_owned(),
            "ipvsadm -A -f 256 -s rr".to_owned(),
            format!("ipvsadm -a -f 256 -r {far} -m"),
            format!("ipvsadm -a -f 256 -r {near} -m"),
        ]);
    } else {
        lines.extend([
            "nft add chain ip lb pre { type nat hook prerouting priority -100 ; }".to_owned(),
            format!(
                "nft add rule ip lb pre ip daddr {VIRTUAL} dnat to numgen inc mod 2 map {{ 0 : {far} , 1 : {near} }}"
            ),
        ]);
    }
    for line in lines {
        netns.run(&line)?;
    }
    Ok(())
}

/// Tells a namespace where others are, as the engine does.
fn knows(netns: &Netns, others: &[(&str, &Netns)]) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for (address, other) in others {
        let mac = other.mac(DEVICE)?;
        lines.push(format!(
            "neigh replace {address} lladdr {mac} dev {DEVICE} nud permanent"
        ));
    }
    netns.ip(&lines)
}
