//! The stack with TLS and a password: who has both reads the pages, and Prometheus is one of them.

use std::{fs, net::IpAddr, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    fleet::{Fleet, PATIENCE, STACK, deploy, image},
    lab::{Engine, Lab, Node},
    page::Page,
    patience::within,
    scratch::Scratch,
    sh,
};

use crate::monitoring::{finds_every_node, lab, prometheus_of, variables};

#[test]
fn on_the_nodes_network_who_has_certificate_and_password_reads_the_pages_and_prometheus_does() -> anyhow::Result<()> {
    is_for_who_has_both(Engine::Installed, "stack.yml", "prometheus")
}

#[test]
fn on_an_overlay_network_who_has_certificate_and_password_reads_the_pages_and_prometheus_does() -> anyhow::Result<()> {
    is_for_who_has_both(Engine::New, "stack-overlay.yml", "prometheus-overlay")
}

fn is_for_who_has_both(engine: Engine, stack: &str, discovery: &str) -> anyhow::Result<()> {
    let lab = lab(engine)?;
    let scratch = Scratch::new()?;
    let password = secrets(&lab, scratch.path())?;
    lab.load(&image()?)?;
    // As `deploy/monitoring-tls.yml` says.
    let files = [stack, "stack-tls.yml", "monitoring.yml", "monitoring-tls.yml"];
    lab.deploy(STACK, &files.map(deploy), &variables(discovery))?;

    let certificate = scratch.path().join("netmon.crt");
    let at = |number: u8| -> anyhow::Result<IpAddr> {
        let node = lab.node(number);
        match stack {
            "stack.yml" => Ok(node.address().parse()?),
            _ => node.address_of(&Fleet::of(&lab).container(node)?, "docker_gwbridge"),
        }
    };
    let curl = |number: u8, scheme: &str, flags: &str| curl(lab.node(number), at(number)?, scheme, flags);
    let own = format!("--cacert {}", certificate.display());
    let known = format!("{own} --user prometheus:{password}");
    for number in lab.nodes() {
        let looked = within(PATIENCE, "a page for who has certificate and password", || {
            let (status, text) = curl(number, "https", &known)?;
            ensure!(status == 200, "status {status}: {text}");
            let page = Page::parse(&text)?;
            // Once the engine has said its name.
            page.one("netmon_node_info", &[("hostname", &format!("n{number}"))])
                .map(drop)
        });
        looked.with_context(|| log(&lab, number))?;
        for stranger in [own.clone(), format!("{own} --user prometheus:{password}x")] {
            let (status, _) = curl(number, "https", &stranger)?;
            ensure!(status == 401, "status {status} for {stranger}");
        }
        // Who does not know the certificate, and who does not encrypt, gets nothing at all.
        for (scheme, flags) in [("https", ""), ("http", known.as_str())] {
            let answer = curl(number, scheme, flags);
            ensure!(answer.is_err(), "{scheme} {flags}: {answer:?}");
        }
    }
    finds_every_node(&lab, &prometheus_of(&lab)?)?;
    // Swarm's probes have no password.
    for number in lab.nodes() {
        let node = lab.node(number);
        let netmon = Fleet::of(&lab).container(node)?;
        within(PATIENCE, "netmon to be healthy", || {
            let described = node.inspect(&netmon)?;
            let health = described.pointer("/State/Health/Status");
            ensure!(health == Some(&"healthy".into()), "{health:?}");
            Ok(())
        })?;
    }
    // The password is in no file that others than root read, and its hash in none of Swarm's configs.
    let config = lab.node(1).docker("config inspect netmon_web_tls")?;
    ensure!(!config.contains(&password) && !config.contains("$2"), "{config}");
    Ok(())
}

/// Makes a certificate, a password and its hash, and gives them to Swarm as `deploy/stack-tls.yml` says. Returns the
/// password.
fn secrets(lab: &Lab, folder: &Path) -> anyhow::Result<String> {
    let at = |name: &str| folder.join(name);
    let mut make = sh::command(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=netmon -addext \
         subjectAltName=DNS:netmon",
    );
    make.arg("-keyout")
        .arg(at("netmon.key"))
        .arg("-out")
        .arg(at("netmon.crt"));
    sh::output(&mut make)?;
    let password = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned();
    fs::write(at("password"), &password)?;
    fs::write(at("hash"), bcrypt::hash(&password, 5)?)?;
    for (secret, file) in [
        ("netmon_tls_key", "netmon.key"),
        ("netmon_tls_certificate", "netmon.crt"),
        ("netmon_password_hash", "hash"),
        ("netmon_password", "password"),
    ] {
        lab.node(1)
            .docker(&format!("secret create {secret} {}", at(file).display()))?;
    }
    Ok(password)
}

/// Fetches a page at that address from within the node, by the name in the certificate. Returns the status and the body.
fn curl(node: Node<'_>, address: IpAddr, scheme: &str, flags: &str) -> anyhow::Result<(u16, String)> {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", node.netns().display()))
        .args(["curl", "--silent", "--show-error", "--max-time", "10"])
        .arg("--resolve")
        .arg(format!("netmon:10095:{address}"))
        .args(["--write-out", "\n%{http_code}"])
        .args(flags.split_whitespace())
        .arg(format!("{scheme}://netmon:10095/metrics"));
    let text = sh::output(&mut command)?;
    let (body, status) = text.rsplit_once('\n').context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

fn log(lab: &Lab, number: u8) -> String {
    format!("netmon's log on node {number}:\n{}", Fleet::of(lab).log(number))
}
