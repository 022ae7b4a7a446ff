//! `cargo xtask doctor`: what is installed, what is missing, and how to install it. Changes nothing.

use std::{fs, path::Path};

use anyhow::bail;

use crate::{
    needs::{NEEDS, Purpose},
    run::engine,
    setup::describe,
    sh,
};

/// Lists everything. Fails if something that is needed to build is missing.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for purpose in [
        Purpose::Build,
        Purpose::Lint,
        Purpose::Demo,
        Purpose::Test,
        Purpose::Fuzz,
    ] {
        sh::say(format!("\nto {}:", purpose.as_str()));
        for need in NEEDS.iter().filter(|need| need.purpose == purpose) {
            match (need.find)() {
                Ok(place) => sh::say(format!("  ok       {:<42} {place}", need.what)),
                Err(why) => {
                    sh::say(format!("  missing  {:<42} {why}", need.what));
                    sh::say(format!("           {:<42} -> {}", "", describe(need.remedy)));
                    missing.push(purpose);
                }
            }
        }
    }
    sh::say("\nto run:");
    for (what, fact) in host() {
        match fact {
            Ok(fact) => sh::say(format!("  ok       {what:<42} {fact}")),
            Err(fact) => sh::say(format!("  without  {what:<42} {fact}")),
        }
    }
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let remedies: Vec<String> = missing
        .iter()
        .map(|it| format!("`cargo xtask setup {}`", it.as_str()))
        .collect();
    bail!("something is missing; what installs it: {}", remedies.join(", "))
}

/// What this kernel and this machine offer.
fn host() -> Vec<(&'static str, Result<String, String>)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let numbers: Vec<u32> = release
        .split(['.', '-'])
        .map_while(|it| it.trim().parse().ok())
        .collect();
    let tcx = numbers.first().zip(numbers.get(1)) >= Some((&6, &6));
    let root = sh::is_root();
    let kernel = release.trim().to_owned();
    vec![
        (
            "Linux 6.6 or newer (tcx)",
            if tcx {
                Ok(kernel)
            } else {
                Err(format!("{kernel}: clsact filters are used"))
            },
        ),
        (
            "BTF (types of the running kernel)",
            if Path::new("/sys/kernel/btf/vmlinux").exists() {
                Ok("/sys/kernel/btf/vmlinux".to_owned())
            } else {
                Err("no /sys/kernel/btf/vmlinux".to_owned())
            },
        ),
        (
            "root",
            if root {
                Ok("yes".to_owned())
            } else {
                Err("run it with sudo".to_owned())
            },
        ),
        (
            "a Docker engine that answers",
            engine().map_err(|why| format!("{why}: `cargo xtask run` brings up a demo")),
        ),
    ]
}
