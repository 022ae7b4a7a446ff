//! Every network driver of the engine, and containers without a network of their own.

use anyhow::{Context as _, ensure};
use netmon_tests::{
    lab::{Engine, IMAGE},
    patience::within,
    scratch::Scratch,
};

use crate::{
    ground::{CONTAINER, Ground},
    nodes::TASKS,
};

#[test]
fn bridges_are_counted_as_the_kernel_counts_them() -> anyhow::Result<()> {
    bridges(&Ground::new(Engine::Installed)?)
}

#[test]
fn overlays_are_counted_as_the_kernel_counts_them() -> anyhow::Result<()> {
    overlays(&Ground::new(Engine::Installed)?)
}

#[test]
fn macvlan_and_ipvlan_are_counted_as_the_kernel_counts_them() -> anyhow::Result<()> {
    children_of_a_device(&Ground::new(Engine::Installed)?)
}

#[test]
fn a_stack_with_a_published_port_is_counted_on_each_of_its_networks() -> anyhow::Result<()> {
    published_stack(&Ground::new(Engine::Installed)?)
}

#[test]
fn containers_without_a_network_of_their_own_are_listed() -> anyhow::Result<()> {
    without_a_network(&Ground::new(Engine::Installed)?)
}

#[test]
fn all_drivers_of_a_newer_engine_are_counted_as_the_kernel_counts_them() -> anyhow::Result<()> {
    let ground = Ground::new(Engine::New)?;
    let version = ground.node().docker("version -f {{.Server.Version}}")?;
    ensure!(!version.starts_with("20."), "the newer engine is {version}");
    bridges(&ground)?;
    overlays(&ground)?;
    children_of_a_device(&ground)?;
    published_stack(&ground)?;
    without_a_network(&ground)
}

fn bridges(ground: &Ground) -> anyhow::Result<()> {
    let node = ground.node();
    node.docker("network create own")?;
    node.docker("network create --ipv6 --subnet fd00:94::/64 six")?;
    for network in ["bridge", "own", "six"] {
        let (one, two) = (format!("{network}-one"), format!("{network}-two"));
        node.start_container(&one, &format!("--network {network} {COMPOSE}"))?;
        node.start_container(&two, &format!("--network {network}"))?;
        ground.carries(&one, &two, network)?;
        labelled(ground, &one, network, "api", "shop")?;
        labelled(ground, &two, network, "", "")?;
    }
    let described = node.inspect("six-two")?;
    let address = described
        .pointer("/NetworkSettings/Networks/six/GlobalIPv6Address")
        .and_then(serde_json::Value::as_str)
        .context("the container has no IPv6 address")?;
    ground.carries_to("six-one", &["six-one", "six-two"], address.parse()?, "six")?;
    let page = ground.netmon.page()?;
    let info = page.one(
        "netmon_container_interface_info",
        &[("container", "six-two"), ("network", "six"), ("kind", "veth")],
    )?;
    let addresses = info.labels.get("ipv6_address").context("no IPv6 address")?;
    ensure!(
        addresses.split(',').any(|it| it == address),
        "six-two has {address}: {info:?}"
    );
    Ok(())
}

/// Labels of a container that is started by Compose.
const COMPOSE: &str = "--label com.docker.compose.service=api --label com.docker.compose.project=shop";

fn overlays(ground: &Ground) -> anyhow::Result<()> {
    let node = ground.node();
    for (network, flags) in [("inner", "--internal"), ("outer", ""), ("other", "")] {
        node.docker(&format!("network create -d overlay --attachable {flags} {network}"))?;
    }
    // On several networks at once. The order of the devices is not that of the networks.
    for container in ["on-all-one", "on-all-two"] {
        node.start_container(container, &format!("--network outer {COMPOSE}"))?;
        node.docker(&format!("network connect inner {container}"))?;
        node.docker(&format!("network connect other {container}"))?;
    }
    for network in ["inner", "outer", "other"] {
        ground.carries("on-all-one", "on-all-two", network)?;
        labelled(ground, "on-all-one", network, "api", "shop")?;
    }
    let gateway = "172.18.0.1".parse()?;
    ground.carries_to("on-all-one", &["on-all-one"], gateway, "docker_gwbridge")?;
    labelled(ground, "on-all-one", "docker_gwbridge", "api", "shop")?;

    // A container that is only on an internal network has no device for other traffic.
    node.start_container("inside", "--network inner")?;
    ground.carries("inside", "on-all-one", "inner")?;
    let page = ground.netmon.page()?;
    let interfaces = page.all("netmon_container_interface_info", &[("container", "inside")]);
    ensure!(interfaces.len() == 1, "inside has one interface: {interfaces:?}");
    Ok(())
}

fn children_of_a_device(ground: &Ground) -> anyhow::Result<()> {
    let node = ground.node();
    node.docker("network create -d macvlan -o parent=eth0 --subnet 10.98.0.0/24 children")?;
    node.start_container("child-one", "--network children")?;
    node.start_container("child-two", "--network children")?;
    ground.carries("child-one", "child-two", "children")?;
    let page = ground.netmon.page()?;
    page.one(
        "netmon_container_interface_info",
        &[("container", "child-one"), ("network", "children"), ("kind", "macvlan")],
    )?;

    node.docker("network create -d ipvlan -o parent=eth0 --subnet 10.97.0.0/24 twins")?;
    match node.start_container("twin-one", "--network twins") {
        Ok(()) => {
            node.start_container("twin-two", "--network twins")?;
            ground.carries("twin-one", "twin-two", "twins")
        }
        // The kernel may have ipvlan all the same: one device cannot have children of both kinds.
        Err(error) => {
            let words = format!("{error:#}");
            ensure!(
                words.contains("failed to create the ipvlan port") || words.contains("device or resource busy"),
                "the engine refuses for another reason than a kernel without ipvlan: {words}"
            );
            Ok(())
        }
    }
}

fn published_stack(ground: &Ground) -> anyhow::Result<()> {
    let node = ground.node();
    let scratch = Scratch::new()?;
    let file = scratch.path().join("stack.yml");
    std::fs::write(
        &file,
        format!(
            "version: '3.8'\nservices:\n  web:\n    image: {IMAGE}\n    command: httpd -f -p 80 -h /www\n    \
             stop_grace_period: 0s\n    networks: [front]\n    ports: ['8080:80']\nnetworks:\n  front: {{driver: \
             overlay}}\n"
        ),
    )?;
    node.docker(&format!(
        "stack deploy --resolve-image never -c {} site",
        file.display()
    ))?;
    let task = within(TASKS, "the task to run", || {
        // The manager directs no connection to a task that it does not yet know to run, even if the engine lists it.
        let states = node.docker("service ps site_web --format {{.CurrentState}}")?;
        ensure!(states.starts_with("Running"), "it is {states}");
        let name = node.docker("ps --filter label=com.docker.swarm.service.name=site_web --format {{.Names}}")?;
        ensure!(!name.is_empty(), "there is none");
        Ok(name)
    })?;
    let before = ground.agrees(&task, "ingress")?;
    ground.lab.publish()?;
    // Each request is a connection of its own: at least three packets in each direction.
    for _ in 0..10 {
        let text = node.exec(&format!(
            "curl -sS --max-time 5 http://{}:8080/index.html",
            node.address()
        ))?;
        ensure!(text == "ok", "the published port answers {text:?}");
    }
    let more = ground.agrees(&task, "ingress")?.since(before);
    ensure!(
        more.receive_packets >= 30 && more.transmit_packets >= 30,
        "the task's leg on ingress carried ten connections, and is charged with {more:?}"
    );
    let gateway = "172.18.0.1".parse()?;
    ground.carries_to(&task, &[&task], gateway, "docker_gwbridge")?;
    // The task is alone on this network: the network's load balancer answers.
    ground.agrees(&task, "site_front")?;
    for network in ["ingress", "site_front", "docker_gwbridge"] {
        labelled(ground, &task, network, "site_web", "site")?;
    }
    let page = ground.netmon.page()?;
    page.one(
        "netmon_container_info",
        &[
            ("container", &task),
            ("service", "site_web"),
            ("stack", "site"),
            ("task_slot", "1"),
            ("state", "observed"),
        ],
    )?;
    page.one("netmon_network_info", &[("network", "ingress"), ("ingress", "true")])?;
    page.one(
        "netmon_network_info",
        &[("network", "site_front"), ("stack", "site"), ("driver", "overlay")],
    )?;
    // An image that is committed from the task has the task's labels, and so have its containers.
    node.docker(&format!("commit {task} copy"))?;
    node.docker("run -d --name copied copy sleep 1000000")?;
    let described = node.inspect("copied")?;
    let label = described.pointer("/Config/Labels/com.docker.swarm.service.name");
    ensure!(
        label.and_then(serde_json::Value::as_str) == Some("site_web"),
        "the copy has the label {label:?}"
    );
    ground.carries_to("copied", &["copied"], "172.17.0.1".parse()?, "bridge")?;
    labelled(ground, "copied", "bridge", "", "")?;
    let page = ground.netmon.page()?;
    page.one(
        "netmon_container_info",
        &[("container", "copied"), ("task_id", ""), ("task_slot", "")],
    )?;
    let of_it = page.samples.iter().filter(|it| it.has(&[("container", "copied")]));
    let others: Vec<_> = of_it.filter(|it| !it.has(&[("service", ""), ("stack", "")])).collect();
    ensure!(others.is_empty(), "it is in a service: {others:?}");
    Ok(())
}

fn without_a_network(ground: &Ground) -> anyhow::Result<()> {
    let node = ground.node();
    let before = ground.netmon.page()?;
    node.start_container("counted", "")?;
    node.start_container("on-host", "--network host")?;
    node.start_container("alone", "--network none")?;
    node.start_container("guest", "--network container:counted")?;
    ground.netmon.page_until("all of them to be listed", |page| {
        for (container, state, mode, shares_with) in [
            ("counted", "observed", "default", ""),
            ("on-host", "host", "host", ""),
            ("alone", "isolated", "none", ""),
            ("guest", "shared", "container", "counted"),
        ] {
            let labels = [("container", container), ("state", state), ("shares_with", shares_with)];
            let info = page.one("netmon_container_info", &labels)?;
            let its_mode = info.labels.get("network_mode").context("no network mode")?;
            ensure!(
                its_mode.starts_with(mode) || container == "counted",
                "the network mode of {container} is {its_mode}"
            );
            let more = page.count("netmon_containers", &[("state", state)])?
                - before.count("netmon_containers", &[("state", state)])?;
            ensure!(more == 1, "one more container is {state}, not {more}");
        }
        Ok(())
    })?;
    // The guest's traffic counts for its host.
    let before = ground.agrees("counted", "bridge")?;
    crate::ground::ping(node, "guest", "172.17.0.1".parse()?, 20)?;
    let more = ground.agrees("counted", "bridge")?.since(before);
    ensure!(
        more.transmit_packets >= 20 && more.receive_packets >= 20,
        "the guest sent 20 pings through its host, which is charged with {more:?}"
    );
    let page = ground.netmon.page()?;
    for container in ["on-host", "alone", "guest"] {
        let series = page.all(
            &format!("{CONTAINER}_receive_packets_total"),
            &[("container", container)],
        );
        ensure!(series.is_empty(), "{container} has no interface of its own: {series:?}");
    }
    // Its host starts again, and has a new namespace. Then the guest does, and shares that one.
    for (container, state) in [("counted", "orphaned"), ("guest", "shared")] {
        node.docker(&format!("restart --time 0 {container}"))?;
        ground.netmon.page_until("the guest's state", |page| {
            let labels = [("container", "guest"), ("state", state), ("shares_with", "counted")];
            page.one("netmon_container_info", &labels).map(drop)
        })?;
    }
    Ok(())
}

/// Checks that the interface's series have these labels.
fn labelled(ground: &Ground, container: &str, network: &str, service: &str, stack: &str) -> anyhow::Result<()> {
    let page = ground.netmon.page()?;
    let name = format!("{CONTAINER}_receive_packets_total");
    let series = page.one(&name, &[("container", container), ("network", network)])?;
    ensure!(
        series.has(&[("service", service), ("stack", stack)]),
        "it is of service {service:?} and stack {stack:?}: {series:?}"
    );
    Ok(())
}
