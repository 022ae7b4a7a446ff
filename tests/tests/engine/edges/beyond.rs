//! Ends that are no containers of the network: load balancers, nodes, and whoever is outside.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    lab::{Lab, Node, UNDERLAY},
    netmon::Netmon,
    netns::{self, Netns},
    patience::within,
};

use crate::nodes::TASKS;

/// The port of servers that are in no container.
const PORT: u16 = 9000;

/// An edge: client, server, network, port, and the end that sees it.
type Edge<'a> = (&'a str, &'a str, &'a str, u16, &'a str);

/// Checks the names of such ends. `api` is a container of `shop_api` on the first node; `shop_db` and `shop_web` are on the
/// second.
pub(super) fn names(lab: &Lab, netmons: &[Netmon; 2], api: &str) -> anyhow::Result<()> {
    let [manager, worker] = [lab.node(1), lab.node(2)];
    let outside = lab.underlay();
    let api = manager.namespace(&manager.sandbox(api)?)?;
    let here = manager.namespace(&manager.sandbox("here")?)?;

    let published = |node: Node<'_>, port: u16| -> anyhow::Result<SocketAddr> {
        Ok(SocketAddr::new(node.address().parse()?, port))
    };
    let virtual_address = virtual_address(manager)?;
    // Works for the tasks that run by now.
    within(TASKS, "the database to run", || {
        let state = manager.docker("service ps shop_db --format {{.CurrentState}}")?;
        ensure!(state.starts_with("Running"), "it is {state}");
        Ok(())
    })?;
    lab.publish()?;
    connect(&api, SocketAddr::new(virtual_address.parse()?, 80), 6)?;
    connect(&outside, published(worker, 8080)?, 5)?;
    connect(&outside, published(worker, 8081)?, 4)?;
    let from_manager = Netns::of_others(&manager.netns());
    connect(&from_manager, published(worker, 8081)?, 3)?;

    let mut listeners = Vec::new();
    for (netns, address, connections) in [
        (manager.netns(), manager.address(), 2),
        (worker.netns(), worker.address(), 7),
        (outside.path().to_path_buf(), UNDERLAY.to_owned(), 8),
    ] {
        let address = SocketAddr::new(address.parse()?, PORT);
        listeners.push(netns::within(&netns, || Ok(TcpListener::bind(address)?))?);
        connect(&here, address, connections)?;
    }

    let [of_manager, of_worker]: [&[(Edge<'_>, u64)]; 2] = [
        &[
            (("shop_api", "shop_db", "wide", 80, "client"), 6),
            (("here", "(node)", "docker_gwbridge", PORT, "client"), 2 + 7),
            (("here", "(outside)", "docker_gwbridge", PORT, "client"), 8),
            (("here", "(node)", "docker_gwbridge", PORT, "server"), 2),
        ],
        &[
            (("(load balancer)", "shop_db", "wide", 80, "server"), 6),
            (("(ingress)", "shop_db", "ingress", 80, "server"), 5),
            (("(outside)", "shop_web", "docker_gwbridge", 80, "server"), 4),
            (("(node)", "shop_web", "docker_gwbridge", 80, "server"), 3),
        ],
    ];
    for (netmon, wanted) in netmons.iter().zip([of_manager, of_worker]) {
        netmon.page_until("these ends to be named", |page| {
            let mut shown = BTreeMap::new();
            for ((client, server, network, port, side), _) in wanted {
                let port = port.to_string();
                let labels = [
                    ("client", *client),
                    ("server", *server),
                    ("network", *network),
                    ("port", port.as_str()),
                    ("side", *side),
                ];
                let count = page.sum("netmon_edge_connections_total", &labels);
                shown.insert((*client, *server, *side), count);
            }
            let wanted: BTreeMap<_, _> = wanted
                .iter()
                .map(|((client, server, _, _, side), count)| ((*client, *server, *side), *count))
                .collect();
            ensure!(shown == wanted, "{shown:?}, not {wanted:?}");
            let unknown = page.sum("netmon_edge_connections_total", &[("client", "(unknown)")]);
            ensure!(unknown == 0, "{unknown} connections are of somebody unknown");
            Ok(())
        })?;
    }
    Ok(())
}

/// The database's address on the network.
fn virtual_address(manager: Node<'_>) -> anyhow::Result<String> {
    let network = manager.docker("network inspect wide --format {{.Id}}")?;
    let all = manager
        .docker("service inspect shop_db --format {{range.Endpoint.VirtualIPs}}{{.NetworkID}}={{.Addr}},{{end}}")?;
    let its = all.split(',').find_map(|one| one.trim().strip_prefix(network.trim()));
    let address = its.and_then(|its| its.strip_prefix('=')?.split('/').next());
    Ok(address.with_context(|| format!("it has {all}"))?.to_owned())
}

/// Makes so many connections. Before the first of them, attempts may fail: networks and ports open a moment late.
fn connect(netns: &Netns, to: SocketAddr, connections: usize) -> anyhow::Result<()> {
    let one = || {
        let connect = || TcpStream::connect_timeout(&to, Duration::from_secs(3)).context(to);
        netns.within(connect).map(drop)
    };
    within(TASKS, "a connection", one)?;
    (1..connections).try_for_each(|_| one())
}
