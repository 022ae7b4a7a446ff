//! Who talks to whom in a Swarm: both nodes name both ends, by service or by container.

mod beyond;

use anyhow::ensure;
use netmon_tests::{
    lab::{Engine, IMAGE, Lab, Node},
    netmon::Netmon,
    page::Page,
    patience::within,
};

use crate::nodes::TASKS;

/// Flags of a container that Compose starts.
const COMPOSE: &str = "--label com.docker.compose.service=cart --label com.docker.compose.project=shop";
/// What the clients send: one request a connection.
const REQUEST: &str = "GET /busybox HTTP/1.0\\r\\n\\r\\n";
const REQUEST_BYTES: u64 = 25;

/// Services on two nodes, and containers of no service.
#[test]
fn both_nodes_name_both_ends_of_a_connection() -> anyhow::Result<()> {
    let lab = Lab::up(2, Engine::Installed)?;
    let [manager, worker] = [lab.node(1), lab.node(2)];
    manager.docker("network create -d overlay --attachable wide")?;
    for (name, node, flags, command) in [
        (
            "shop_web",
            "n2",
            "--endpoint-mode dnsrr --publish mode=host,published=8081,target=80",
            "httpd -f -p 80 -h /bin",
        ),
        ("shop_api", "n1", "--endpoint-mode dnsrr", "sleep 1000"),
        ("shop_db", "n2", "--publish 8080:80", "httpd -f -p 80 -h /bin"),
    ] {
        manager.docker(&format!(
            "service create -d --name {name} --network wide {flags} --constraint node.hostname=={node} \
             --stop-grace-period 1s --no-resolve-image {IMAGE} {command}"
        ))?;
    }
    manager.start_container("here", "--network wide")?;
    manager.start_container("composed", &format!("--network wide {COMPOSE}"))?;
    let task = |node: Node<'_>, service: &str| {
        within(TASKS, "the task to run", || {
            let name = node.docker(&format!("ps --format {{{{.Names}}}} --filter name={service}"))?;
            ensure!(!name.trim().is_empty(), "{service} has no container");
            Ok(name.trim().to_owned())
        })
    };
    let (api, web) = (task(manager, "shop_api")?, task(worker, "shop_web")?);
    // Other nodes' load balancers are never reported, so a name is waited for as long as that.
    let patience = "--debug.times=page-age=0ms,name-patience=3s";
    let netmons = [manager.netmon(&[patience])?, worker.netmon(&[patience])?];
    netmons.iter().try_for_each(Netmon::wait_ready)?;
    let address = worker.address_of(&web, "wide")?;
    let clients = [
        (api.as_str(), "shop_api", 10_u64),
        ("here", "here", 7),
        ("composed", "cart", 3),
    ];
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
            for (container, client, connections) in clients {
                // Compose's labels are known where the container runs.
                let client = match (client, side) {
                    ("cart", "server") => container,
                    _ => client,
                };
                agree(page, client, side, connections)?;
            }
            if side == "client" {
                let labels = [("client", "cart"), ("client_stack", "shop")];
                page.one("netmon_edge_connections_total", &labels)?;
            }
            let unknown = [("client", "(unknown)"), ("server", "(unknown)")].map(|label| {
                let labels = [label, ("network", "wide")];
                page.all("netmon_edge_connections_total", &labels).len()
            });
            ensure!(unknown == [0, 0], "somebody is unknown");
            Ok(())
        })?;
    }
    beyond::names(&lab, &netmons, &api)
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
