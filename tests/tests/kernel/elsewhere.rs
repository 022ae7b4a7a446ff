//! netmon in a namespace of its own, as on an overlay network. It still counts what is on the node.

use std::{fs, process::Command};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    figures::Figures,
    netmon::{Netmon, binary},
    netns::Netns,
    patience::until,
    sh, traffic,
};

use crate::world::{Cable, World, agree, quiet, ready};

#[test]
fn from_another_namespace_the_node_and_its_containers_are_counted_and_news_is_heard() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Vxlan)?;
    quiet(&[&a, &b])?;
    let is_node = |it: &&Netns| it.path().ends_with("node1");
    let node = world.others.iter().find(is_node).context("there is no node")?;
    node.run("sysctl -qw net.core.somaxconn=1234")?;
    let own = Netns::new(world.scratch.path(), "own")?;
    let mut command = own.command(&binary()?.display().to_string());
    command.args(world.flags(&[&format!("--path.node-netns={}", node.path().display())]));
    let netmon = Netmon::spawn_in(Some(own.path().to_path_buf()), command, "127.0.0.1:10095".parse()?)?;
    ready(&netmon, 3)?;
    until("the programs to be on the node's device", || {
        let log = netmon.log();
        ensure!(log.contains("counting traffic between nodes on this device"), "{log}");
        Ok(())
    })?;

    let outer = || -> anyhow::Result<Figures> {
        netmon
            .page()?
            .figures("netmon_overlay", &[("network", "net"), ("peer", "node2")])
    };
    // The other node is shown as soon as it has a name.
    let before = until("the other node to be shown", outer)?;
    traffic::ping(&a.netns, b.address, 30)?;
    agree(&netmon, &a, "net")?;
    ensure!(
        outer()?.since(before).transmit_packets == 30,
        "{before:?}, then {:?}",
        outer()?
    );
    let limit = [("name", "net.core.somaxconn")];
    let limit = netmon.page()?.count("netmon_node_sysctl", &limit)?;
    ensure!(limit == 1234, "the node's limit is 1234, and the page has {limit}");
    let sockets = node.within(|| Ok(fs::read_to_string("/proc/thread-self/net/netlink")?))?;
    // Protocol 0 is rtnetlink, and group 1 is for messages about devices.
    let hears = sockets.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"0") && words.get(3) == Some(&"00000001")
    });
    ensure!(hears, "nobody listens to news of devices on the node: {sockets}");
    ensure!(!netmon.log().contains("WARN"), "{}", netmon.log());
    Ok(())
}

#[test]
fn a_file_that_is_no_namespace_is_refused_with_a_sentence() -> anyhow::Result<()> {
    let world = World::new()?;
    let other = world.scratch.path().join("a file");
    fs::write(&other, "")?;
    let other = other.display().to_string();
    for (file, words) in [
        ("/no/such/file", "cannot open the namespace file /no/such/file"),
        (&other, &format!("{other} is not a mounted namespace")),
    ] {
        let mut command = Command::new(binary()?);
        command.args(world.flags(&[&format!("--path.node-netns={file}"), "--web.listen-address=127.0.0.1:0"]));
        let error = sh::output(&mut command).expect_err("it runs");
        ensure!(format!("{error:#}").contains(words), "{error:#}");
    }
    Ok(())
}
