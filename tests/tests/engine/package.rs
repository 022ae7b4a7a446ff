//! netmon from its Debian package, as a systemd service, on a machine with an engine. The unit allows enough, it
//! forbids the rest, and everything that is installed can be removed.

use std::path::Path;

use anyhow::{Context as _, ensure};
use netmon_tests::{
    machine::{IMAGE, Machine, package},
    patience::until,
};

/// A machine on which the package has just been installed.
fn installed() -> anyhow::Result<Machine> {
    let machine = Machine::boot()?;
    let file = machine.copy(&package()?)?;
    dpkg(&machine, "--install", &file)?;
    Ok(machine)
}

fn dpkg(machine: &Machine, what: &str, operand: &Path) -> anyhow::Result<String> {
    machine.run(&format!("dpkg {what} {}", operand.display()))
}

/// Runs a container, and checks that its packets are on the page.
fn count(machine: &Machine, name: &str) -> anyhow::Result<()> {
    machine.run(&format!("docker run --detach --name {name} {IMAGE} sleep 600"))?;
    machine.run(&format!("docker exec {name} ping -q -c 5 -i 0.2 172.17.0.1"))?;
    machine.page_until("the container's packets", |page| {
        let counted = page.interface(name, "bridge")?;
        ensure!(counted.receive_packets >= 5, "{counted:?}");
        Ok(())
    })
}

/// Checks that every collector is complete.
fn whole(machine: &Machine) -> anyhow::Result<()> {
    machine.page_until("all collectors", |page| {
        let all = page.all("netmon_scrape_collector_success", &[]);
        ensure!(all.len() > 5, "{all:?}");
        for sample in all {
            ensure!(sample.value >= 1.0, "{sample:?}");
        }
        Ok(())
    })
}

#[test]
fn the_service_starts_without_an_engine_and_counts_containers_that_come_later() -> anyhow::Result<()> {
    let machine = installed()?;
    // systemd waited for netmon's `READY=1`: the unit has `Type=notify`.
    ensure!(machine.service("ActiveState")? == "active", "{}", machine.log());
    ensure!(machine.get("/-/healthy")?.status == 200);
    ensure!(machine.get("/-/ready")?.status == 503, "it is ready without an engine");

    machine.engine()?;
    count(&machine, "later")?;
    whole(&machine)?;
    until("netmon to be ready", || {
        let answer = machine.get("/-/ready")?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    })?;
    let log = machine.log();
    let warnings: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("WARN") && !line.contains("no Docker engine answers"))
        .collect();
    ensure!(warnings.is_empty(), "{warnings:#?}");

    // If netmon's own mount namespace kept a container's mount, the container's namespace would stay.
    let pid = machine.service("MainPID")?;
    let mounts = format!("grep -c /docker/netns/ /proc/{pid}/mounts || true");
    ensure!(
        machine.script(&mounts)? != "0",
        "netmon does not see the container's namespace"
    );
    machine.run("docker rm --force later")?;
    until("the namespace to be gone", || {
        let left = machine.script(&mounts)?;
        ensure!(left == "0", "{left} are still mounted for netmon");
        Ok(())
    })
}

#[test]
fn netmon_does_nothing_that_the_unit_forbids() -> anyhow::Result<()> {
    let machine = installed()?;
    machine.engine()?;
    // Without this, a forbidden system call would fail, and netmon might go on. Now it kills netmon.
    machine.script(
        "mkdir -p /etc/systemd/system/netmon.service.d
         printf '[Service]\\nSystemCallErrorNumber=\\nRestart=no\\n' >/etc/systemd/system/netmon.service.d/kill.conf
         systemctl daemon-reload
         systemctl restart netmon",
    )?;
    count(&machine, "busy")?;
    whole(&machine)?;
    machine.run("docker rm --force busy")?;
    machine.run("systemctl stop netmon")?;
    let result = machine.service("Result")?;
    ensure!(result == "success", "{result}: {}", machine.log());
    Ok(())
}

#[test]
fn a_netmon_of_which_a_worker_hangs_is_started_anew() -> anyhow::Result<()> {
    let machine = installed()?;
    machine.script(
        "mkdir -p /etc/systemd/system/netmon.service.d
         printf '[Service]\\nWatchdogSec=3s\\nRestartSec=100ms\\nExecStart=\\nExecStart=/usr/bin/netmon --debug.times=worker-patience=1s \
         --debug.fault=control=hang\\n' >/etc/systemd/system/netmon.service.d/hang.conf
         systemctl daemon-reload && systemctl restart netmon",
    )?;
    until("systemd to start it anew", || {
        let restarts: u32 = machine.service("NRestarts")?.parse()?;
        ensure!(restarts > 0, "it was not: {}", machine.log());
        Ok(())
    })?;
    // The journal stores lines with a delay.
    until("the log to say why", || {
        let log = machine.log();
        for line in [
            "netmon.service: Watchdog timeout",
            "a worker hangs; netmon ends without it",
        ] {
            ensure!(log.contains(line), "it does not say {line:?}: {log}");
        }
        Ok(())
    })
}

#[test]
fn the_service_may_no_more_than_the_unit_says() -> anyhow::Result<()> {
    let machine = installed()?;
    let pid = machine.service("MainPID")?;
    let status = machine.run(&format!("cat /proc/{pid}/status"))?;
    // SYS_ADMIN, NET_ADMIN, NET_BROADCAST and SYSLOG.
    for line in ["CapBnd:\t0000000400201800", "Seccomp:\t2", "NoNewPrivs:\t1"] {
        ensure!(status.contains(line), "no {line:?} in {status}");
    }
    let inside = |command: &str| machine.run(&format!("nsenter --target {pid} --mount {command}"));
    let refused = inside("/bin/true").err().context("a program can be run there")?;
    ensure!(format!("{refused:#}").contains("Permission denied"), "{refused:#}");
    ensure!(inside("/usr/bin/netmon --version")?.contains(env!("CARGO_PKG_VERSION")));
    let mounts = machine.run(&format!("cat /proc/{pid}/mounts"))?;
    for place in ["/", "/proc", "/sys", "/usr"] {
        let last = mounts.lines().rev().find(|line| line.split(' ').nth(1) == Some(place));
        let Some(last) = last else { continue };
        let options = last.split(' ').nth(3).unwrap_or_default();
        ensure!(options.split(',').any(|it| it == "ro"), "{last}");
    }

    // The exposure that systemd computes, in tenths: 100 is a service that may do everything.
    machine.run("systemd-analyze security --no-pager --threshold=35 netmon.service")?;
    let complaints = machine.script("systemd-analyze verify netmon.service 2>&1")?;
    ensure!(complaints.is_empty(), "{complaints}");

    // systemd does not restart netmon after wrong usage.
    machine.script("echo NETMON_LIMIT_SERIES=many >>/etc/default/netmon")?;
    let refused = machine.run("systemctl restart netmon").err();
    refused.context("a netmon with wrong settings starts")?;
    until("the service to have failed", || {
        let state = machine.service("ActiveState")?;
        ensure!(state == "failed", "{state}");
        Ok(())
    })?;
    ensure!(machine.service("NRestarts")? == "0");
    Ok(())
}

#[test]
fn the_package_can_be_upgraded_removed_and_purged_and_leaves_nothing() -> anyhow::Result<()> {
    let machine = installed()?;
    let version = machine.run("netmon --version")?;
    ensure!(
        version.starts_with(concat!("netmon ", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
    ensure!(machine.run("systemctl is-enabled netmon")? == "enabled");
    for file in [
        "/usr/share/man/man1/netmon.1.gz",
        "/usr/share/bash-completion/completions/netmon",
        "/usr/share/netmon/dashboards/netmon-overview.json",
        "/usr/share/netmon/rules/alerts.yml",
    ] {
        machine.run(&format!("test -s {file}"))?;
    }
    machine.script(
        "man --where netmon && bash -c '. /usr/share/bash-completion/completions/netmon && complete -p netmon'",
    )?;

    // An upgrade restarts netmon, and keeps what a person has changed.
    machine.script("echo NETMON_LOG_LEVEL=debug >>/etc/default/netmon")?;
    let before = machine.service("MainPID")?;
    let file = machine.copy(&package()?)?;
    let newer = machine.script(&format!(
        "cd /root
         dpkg-deb --raw-extract {} newer
         sed -i 's/^Version: .*/&+1/' newer/DEBIAN/control
         echo '# A line that is new.' >>newer/etc/default/netmon
         dpkg-deb --root-owner-group -Znone --build newer newer.deb >/dev/null
         echo /root/newer.deb",
        file.display()
    ))?;
    machine.run(&format!("dpkg --force-confold --install {newer}"))?;
    let after = machine.service("MainPID")?;
    ensure!(before != after && after != "0", "process {before} became {after}");
    machine.page_until("the new one", |_| Ok(()))?;
    machine.run("grep --quiet --line-regexp NETMON_LOG_LEVEL=debug /etc/default/netmon")?;

    // After a person has disabled the service, an upgrade leaves it disabled.
    machine.run("systemctl disable --now netmon")?;
    machine.run(&format!("dpkg --install {newer}"))?;
    ensure!(
        machine.run("systemctl is-enabled netmon").is_err(),
        "it was switched on again"
    );

    machine.run("systemctl start netmon")?;
    machine.run("dpkg --remove netmon")?;
    ensure!(machine.service("ActiveState")? == "inactive", "it still runs");
    machine.run("test -f /etc/default/netmon")?;
    machine.run("dpkg --purge netmon")?;
    let left = machine.script(
        "rm -r /root/newer*
         find /changes/files -iname '*netmon*' -not -path '*/root/*' -not -path '*/var/log/*'",
    )?;
    ensure!(left.is_empty(), "{left}");
    ensure!(
        machine.service("LoadState")? == "not-found",
        "{}",
        machine.service("LoadState")?
    );
    Ok(())
}
