//! Findings that need a kernel with IPVS or ESP. Where there is none, that is the finding.

use std::{collections::BTreeSet, env, time::Duration};

use anyhow::{Context as _, ensure};
use netmon_tests::{netmon::Netmon, netns::Netns, patience::within, traffic};

use crate::{
    edges::virtual_address::{Balanced, TASKS, balanced},
    overlay::{
        self, PEER,
        encrypted::{ADDRESSES, KEY},
    },
    world::modes,
};

/// Within this time a fault has to be a finding, and a fault that was mended has to be none.
const SOON: Duration = Duration::from_mins(1);
/// The number of what the engine sets up.
const NUMBER: u32 = 0x00d0_c4e3;
/// The state that the policy asks for.
const SPI: &str = "0x101";

/// Waits until the findings of a check are exactly these: service or peer, and subject.
fn agree(netmon: &Netmon, check: &str, wanted: &[(&str, &str)]) -> anyhow::Result<()> {
    let wanted: BTreeSet<(String, String)> = wanted
        .iter()
        .map(|(whose, subject)| ((*whose).to_owned(), (*subject).to_owned()))
        .collect();
    let looked = within(SOON, &format!("the findings of {check}"), || {
        let page = netmon.page()?;
        let could_look = page.count("netmon_check_success", &[("check", check)])?;
        ensure!(could_look == 1, "it could not look");
        let found: BTreeSet<(String, String)> = page
            .all("netmon_finding", &[("check", check)])
            .iter()
            .map(|it| {
                let label = |name: &str| it.labels.get(name).cloned().unwrap_or_default();
                (label("service") + &label("peer"), label("subject"))
            })
            .collect();
        ensure!(found == wanted, "{found:?}, not {wanted:?}");
        Ok(())
    });
    looked.with_context(|| format!("netmon's log:\n{}", netmon.log()))
}

#[test]
fn a_load_balancer_that_disagrees_with_its_service_is_named() -> anyhow::Result<()> {
    let Balanced {
        mut world,
        a: _a,
        b: _b,
        c: _c,
        balancer,
    } = balanced()?;
    world.times.push_str(",check-round=1s");
    let netmon = world.netmon(&[])?;
    let check = "load_balancer";
    if env::var_os("NETMON_TEST_IPVS").is_none() {
        return agree(&netmon, check, &[("", "ip_vs")]);
    }
    agree(&netmon, check, &[])?;
    let [far, near] = TASKS;
    balancer.run(&format!("ipvsadm -d -f 256 -r {far}"))?;
    agree(&netmon, check, &[("shop_db", "missing")])?;
    balancer.run(&format!("ipvsadm -a -f 256 -r {far} -m -w 0"))?;
    balancer.run("ipvsadm -a -f 256 -r 10.77.0.9 -m")?;
    agree(&netmon, check, &[("shop_db", "stale"), ("shop_db", "weight 0")])?;
    balancer.run(&format!("ipvsadm -e -f 256 -r {far} -m -w 1"))?;
    balancer.run("ipvsadm -d -f 256 -r 10.77.0.9")?;
    balancer.run("ipvsadm -A -f 257 -s rr")?;
    balancer.run("ipvsadm -a -f 257 -r 10.77.0.9 -m")?;
    agree(&netmon, check, &[("", "mark 0x101")])?;
    balancer.run("ipvsadm -D -f 257")?;
    agree(&netmon, check, &[])?;
    for task in [far, near] {
        balancer.run(&format!("ipvsadm -d -f 256 -r {task}"))?;
    }
    agree(&netmon, check, &[("shop_db", "virtual address")])
}

#[test]
fn a_network_that_cannot_encrypt_towards_a_node_is_named() -> anyhow::Result<()> {
    let (world, a, b, netmon) = overlay::node_with(true, modes()?[0], ",check-round=1s")?;
    let check = "encryption";
    agree(&netmon, check, &[(PEER, "policy")])?;
    // Nothing keeps packets from leaving in the clear yet.
    traffic::udp(&a.netns, &b.netns, b.address, 20, 100)?;
    agree(&netmon, "cleartext", &[(PEER, "transmit")])?;
    agree(&netmon, "cleartext", &[])?;
    let node = world.node()?;
    let [own, other] = ADDRESSES;
    node.run(&format!(
        "ip xfrm policy add src {own}/32 dst {other}/32 proto udp dport 4789 dir out mark 0xd0c4e3 \
         tmpl src {own} dst {other} proto esp spi {SPI} reqid {NUMBER} mode transport"
    ))?;
    agree(&netmon, check, &[(PEER, "state")])?;
    let can = state(node, [own, other]);
    if can.is_err() && env::var_os("NETMON_TEST_ESP").is_none() {
        return Ok(());
    }
    can?;
    agree(&netmon, check, &[])?;
    node.run(&format!(
        "ip xfrm state delete src {own} dst {other} proto esp spi {SPI}"
    ))?;
    agree(&netmon, check, &[(PEER, "state")])
}

fn state(netns: &Netns, [from, to]: [&str; 2]) -> anyhow::Result<()> {
    let line = format!(
        "ip xfrm state add src {from} dst {to} proto esp spi {SPI} reqid {NUMBER} mode transport aead rfc4106(gcm(aes)) {KEY} 64"
    );
    netns.run(&line).map(drop)
}
