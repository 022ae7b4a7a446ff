//! The rules of the files that are deployed on a Swarm (`deploy/`): what fills a disk, a node's memory or a network with
//! strangers is bounded, and an update notices that what it started is unwell. Must not know what the services do.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

/// What is wrong with a stack, in sentences. Nothing, if the file is no stack.
pub(super) fn breaches(name: &str, text: &str) -> anyhow::Result<Vec<String>> {
    let file: Value = serde_saphyr::from_str(&defaults(text)).with_context(|| name.to_owned())?;
    let mut breaches = Vec::new();
    let each = |section: &str| file.get(section).and_then(Value::as_object).into_iter().flatten();
    // What has no image is added to a service of another file, which has the limits.
    for (service, it) in each("services").filter(|(_, it)| it.get("image").is_some()) {
        breaches.extend(
            of_service(it)
                .into_iter()
                .map(|what| format!("{name}: {service}: {what}")),
        );
    }
    // An example has networks to try things on.
    if !name.contains("/examples/") {
        for (network, it) in each("networks") {
            if it.get("attachable") == Some(&Value::Bool(true)) {
                breaches.push(format!(
                    "{name}: any container of the Swarm can join the network {network}"
                ));
            }
        }
    }
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if let Some((_, rest)) = line.split_once("PASSWORD:")
            && rest.contains("${")
            && !rest.contains("_PASSWORD:?")
        {
            breaches.push(format!("{name}: a password that need not be set: {}", line.trim()));
        }
    }
    Ok(breaches)
}

fn of_service(service: &Value) -> Vec<&'static str> {
    let text = |path: &str| service.pointer(path).and_then(Value::as_str);
    let mut breaches = Vec::new();
    // Other drivers refuse these options, so the driver has to be named.
    if text("/logging/driver") != Some("json-file")
        || text("/logging/options/max-size").is_none()
        || text("/logging/options/max-file").is_none()
    {
        breaches.push("its log has no limit");
    }
    let amount = |path: &str| text(path).and_then(bytes);
    let reserved = amount("/deploy/resources/reservations/memory");
    match amount("/deploy/resources/limits/memory") {
        None => breaches.push("its memory has no limit"),
        Some(limit) if reserved.is_none_or(|it| it > limit) => {
            breaches.push("it reserves no memory, or more than it may have");
        }
        Some(_) => {}
    }
    if service.get("healthcheck").is_some() {
        let time = |path: &str| text(path).and_then(duration);
        let retries = service.pointer("/healthcheck/retries").and_then(Value::as_u64);
        let unwell = time("/healthcheck/interval")
            .zip(retries)
            .and_then(|(interval, retries)| interval.checked_mul(u32::try_from(retries).ok()?));
        if time("/deploy/update_config/monitor") <= unwell || unwell.is_none() {
            breaches.push("an update is over before a task that is unwell is noticed");
        }
        if text("/deploy/update_config/failure_action") != Some("rollback") {
            breaches.push("an update that fails is not rolled back");
        }
    }
    breaches
}

/// The text with every variable's default in its place, as where nobody sets one.
fn defaults(text: &str) -> String {
    let mut parts = text.split("${");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').unwrap_or((part, ""));
        let value = variable.split_once(":-").map_or("set", |(_, default)| default);
        whole.push_str(value);
        whole.push_str(rest);
    }
    whole
}

/// An amount of memory, as Compose writes it.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let shift = ["", "K", "M", "G"].iter().position(|it| *it == unit)?;
    Some(number.parse::<u64>().ok()? << (10 * shift))
}

/// A time in seconds, as all files here write it.
fn duration(text: &str) -> Option<Duration> {
    text.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::{breaches, bytes};

    const RIGHT: &str = "
services:
  one:
    image: ${IMAGE:-one}
    environment: {IT_PASSWORD: \"${A_PASSWORD:?set it}\"}
    logging: {driver: json-file, options: {max-size: 10m, max-file: \"3\"}}
    healthcheck: {interval: 10s, retries: 3}
    deploy:
      update_config: {monitor: 45s, failure_action: rollback}
      resources: {limits: {memory: \"${MEMORY:-256M}\"}, reservations: {memory: 64M}}
networks:
  inner: {driver: overlay}
";

    fn of(text: &str) -> Vec<String> {
        breaches("deploy/one.yml", text).expect("YAML")
    }

    #[test]
    fn a_stack_that_keeps_the_rules_passes_and_so_does_what_is_no_stack() {
        assert_eq!(of(RIGHT), Vec::<String>::new());
        assert_eq!(of("scrape_configs: []\n"), Vec::<String>::new());
        assert_eq!(of("services: {one: {secrets: [key]}}\n"), Vec::<String>::new());
    }

    #[test]
    fn each_breach_is_found() {
        for (right, wrong, found) in [
            ("json-file", "local", "its log has no limit"),
            ("max-size: 10m, ", "", "its log has no limit"),
            ("{memory: \"${MEMORY:-256M}\"}", "{}", "its memory has no limit"),
            ("64M", "512M", "more than it may have"),
            ("45s", "15s", "an update is over"),
            ("interval: 10s, ", "", "an update is over"),
            ("failure_action: rollback", "failure_action: pause", "not rolled back"),
            (
                "{driver: overlay}",
                "{driver: overlay, attachable: true}",
                "can join the network inner",
            ),
            (
                "${A_PASSWORD:?set it}",
                "${A_PASSWORD:-admin}",
                "a password that need not be set",
            ),
        ] {
            let text = RIGHT.replace(right, wrong);
            assert_ne!(text, RIGHT, "{right} is not in it");
            let all = of(&text);
            assert!(all.len() == 1 && all[0].contains(found), "{wrong}: {all:?}");
        }
    }

    #[test]
    fn amounts_are_read() {
        assert_eq!(bytes("1G"), bytes("1024M"));
        assert_eq!(bytes("64K"), Some(65_536));
        assert_eq!(bytes("much"), None);
    }
}
