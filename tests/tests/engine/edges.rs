//! Who talks to whom in a Swarm: both nodes name both ends, by service or by container.

use anyhow::ensure;
use netmon_tests::{
    lab::{Engine, IMAGE, Lab, Node},
    page::Page,
    patience::within,
};

use crate::{ground::netmon_on, nodes::TASKS};

/// What the clients send: one request a connection.
const REQUEST: &str = "GET /busybox HTTP/1.0\\r\\n\\r\\n";
const REQUEST_BYTES: u64 = 25;

/// Services on two nodes, and a container of no service.
#[test]
fn both_nodes_name_both_ends_of_a_connection() -> anyhow::Result<()> {
    let lab = Lab::up(2, Engine::Installed)?;
    let [manager, worker] = [lab.node(1), lab.node(2)];
    manager.docker("network create -d overlay --attachable wide")?;
    for (name, node, command) in [
        ("shop_web", "n2", "httpd -f -p 80 -h /bin"),
        ("shop_api", "n1", "sleep 1000"),
    ] {
        manager.docker(&format!(
            "service create -d --name {name} --network wide --endpoint-mode dnsrr --constraint node.hostname=={node} \
             --stop-grace-period 1s --no-resolve-image {IMAGE} {command}"
        ))?;
    }
    manager.start_container("here", "--network wide")?;
    let task = |node: Node<'_>, service: &str| {
        within(TASKS, "the task to run", || {
            let name = node.docker(&format!("ps --format {{{{.Names}}}} --filter name={service}"))?;
            ensure!(!name.trim().is_empty(), "{service} has no container");
            Ok(name.trim().to_owned())
        })
    };
    let (api, web) = (task(manager, "shop_api")?, task(worker, "shop_web")?);
    let netmons = [netmon_on(manager)?, netmon_on(worker)?];
    let address = worker.address_of(&web, "wide")?;
    let clients = [(api.as_str(), "shop_api", 10_u64), ("here", "here", 7)];
    for (container, _, connections) in clients {
        let ask = format!("printf '{REQUEST}' | nc -w 5 {address} 80 | grep -c 'HTTP/1.[01] 200'");
        // The network reaches the other node a moment after the task runs.
        within(TASKS, "an answer", || {
            manager.docker_script(&format!("exec {container}"), &ask)
        })?;
        let rest = connections - 1;
        manager.docker_script(
            &format!("exec {container}"),
            &format!("i=0; while [ $i -lt {rest} ]; do {ask} || exit 1; i=$((i + 1)); done"),
        )?;
    }
    for (netmon, side) in netmons.iter().zip(["client", "server"]) {
        netmon.page_until("both ends to be named", |page| {
            for (_, client, connections) in clients {
                agree(page, client, side, connections)?;
            }
            let unknown = [("client", "(unknown)"), ("server", "(unknown)")].map(|label| {
                let labels = [label, ("network", "wide")];
                page.all("netmon_edge_connections_total", &labels).len()
            });
            ensure!(unknown == [0, 0], "somebody is unknown");
            Ok(())
        })?;
    }
    Ok(())
}

/// Checks one edge to the web service. Attempts that failed before the network was there are none of its connections.
fn agree(page: &Page, client: &str, side: &str, connections: u64) -> anyhow::Result<()> {
    let labels = [
        ("client", client),
        ("server", "shop_web"),
        ("network", "wide"),
        ("port", "80"),
        ("side", side),
    ];
    let count = |family: &str| page.count(&format!("netmon_edge_{family}"), &labels);
    let (made, open) = (count("connections_total")?, count("active_connections")?);
    ensure!(
        (made, open) == (connections, 0),
        "{client}: {made} connections, {open} open"
    );
    let (sent, received) = (count("transmit_bytes_total")?, count("receive_bytes_total")?);
    ensure!(sent == connections * REQUEST_BYTES, "{client} sent {sent} bytes");
    ensure!(received > connections * 100_000, "{client} received {received} bytes");
    Ok(())
}
