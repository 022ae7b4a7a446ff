//! Reads `deploy/Dockerfile`, so that the image is described in one place only. Knows the part of the language that
//! this file uses, and refuses the rest.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value, json};

/// The `PATH` that an engine sets if an image sets none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The content of a Dockerfile.
#[derive(Debug, PartialEq)]
pub(super) struct Image {
    /// The image's `config`, in the engine's format.
    pub(super) config: Value,
    /// The files to copy: path in the context, and path in the image.
    pub(super) copies: Vec<(String, String)>,
}

/// Reads a Dockerfile. `arguments` override the defaults of its build arguments.
pub(super) fn read(text: &str, arguments: &[(&str, &str)]) -> anyhow::Result<Image> {
    let mut config = Map::from_iter([("Env".to_owned(), json!([PATH]))]);
    let mut known = BTreeMap::new();
    let mut copies = Vec::new();
    for line in instructions(text) {
        let (instruction, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let rest = rest.trim();
        match instruction {
            "FROM" => ensure!(rest == "scratch", "the image is made from nothing, not from {rest}"),
            "ARG" => {
                let (name, default) = rest.split_once('=').with_context(|| format!("{line}: no default"))?;
                let given = arguments.iter().find(|(it, _)| *it == name).map(|(_, value)| *value);
                known.insert(name.to_owned(), given.unwrap_or(default).to_owned());
            }
            "LABEL" => {
                let labels = labels(rest, &known)?;
                config.insert("Labels".to_owned(), Value::Object(labels));
            }
            "COPY" => {
                let (from, to) = rest
                    .split_once(' ')
                    .with_context(|| format!("{line}: from or to is missing"))?;
                copies.push((from.to_owned(), to.to_owned()));
            }
            "EXPOSE" => {
                config.insert("ExposedPorts".to_owned(), json!({format!("{rest}/tcp"): {}}));
            }
            "HEALTHCHECK" => {
                config.insert("Healthcheck".to_owned(), healthcheck(rest)?);
            }
            "ENTRYPOINT" => {
                config.insert("Entrypoint".to_owned(), words(rest)?);
            }
            _ => bail!("`cargo xtask image` does not know the instruction {instruction}: teach it"),
        }
    }
    Ok(Image {
        config: Value::Object(config),
        copies,
    })
}

/// The instructions, without comments, and with continued lines joined.
fn instructions(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = String::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(part) = line.strip_suffix('\\') {
            open.push_str(part);
        } else {
            all.push(std::mem::take(&mut open) + line);
        }
    }
    all
}

/// `name="value" name="value"`, with `${ARGUMENT}` for a whole value.
fn labels(mut rest: &str, known: &BTreeMap<String, String>) -> anyhow::Result<Map<String, Value>> {
    let mut labels = Map::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").with_context(|| format!("no label: {rest}"))?;
        let (value, after) = after.split_once('"').with_context(|| format!("no end: {after}"))?;
        let value = match value.strip_prefix("${").and_then(|it| it.strip_suffix('}')) {
            Some(argument) => known.get(argument).with_context(|| format!("no argument {argument}"))?,
            None => value,
        };
        labels.insert(name.to_owned(), value.into());
        rest = after.trim_start();
    }
    Ok(labels)
}

/// `--option=value ... CMD [...]`. Engines store times in nanoseconds.
fn healthcheck(rest: &str) -> anyhow::Result<Value> {
    let (options, command) = rest.split_once("CMD ").context("a health check without CMD")?;
    let mut test = vec![json!("CMD")];
    if let Value::Array(words) = words(command)? {
        test.extend(words);
    }
    let mut check = Map::from_iter([("Test".to_owned(), Value::Array(test))]);
    for option in options.split_whitespace() {
        let (name, value) = option.split_once('=').with_context(|| format!("{option}: no value"))?;
        let seconds = || -> anyhow::Result<u64> {
            let number = value
                .strip_suffix('s')
                .with_context(|| format!("{option}: no seconds"))?;
            Ok(number.parse::<u64>()? * 1_000_000_000)
        };
        let (name, value) = match name {
            "--interval" => ("Interval", seconds()?),
            "--timeout" => ("Timeout", seconds()?),
            "--start-period" => ("StartPeriod", seconds()?),
            "--retries" => ("Retries", value.parse()?),
            _ => bail!("`cargo xtask image` does not know the option {name} of HEALTHCHECK: teach it"),
        };
        check.insert(name.to_owned(), value.into());
    }
    Ok(Value::Object(check))
}

fn words(text: &str) -> anyhow::Result<Value> {
    let words: Vec<String> = serde_json::from_str(text).with_context(|| format!("no list of words: {text}"))?;
    Ok(words.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::read;

    #[test]
    fn the_projects_own_file_is_understood() {
        let text = include_str!("../../../deploy/Dockerfile");
        let image = read(text, &[("VERSION", "1.2.3")]).expect("an image");
        assert_eq!(image.copies, [("netmon".to_owned(), "/netmon".to_owned())]);
        let at = |pointer| image.config.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at("/Entrypoint"), json!(["/netmon"]));
        assert_eq!(at("/Healthcheck/Test"), json!(["CMD", "/netmon", "healthcheck"]));
        assert_eq!(at("/Healthcheck/Interval"), json!(10_000_000_000_u64));
        assert_eq!(at("/ExposedPorts"), json!({"10095/tcp": {}}));
        assert_eq!(at("/Labels/org.opencontainers.image.version"), json!("1.2.3"));
        assert_eq!(at("/Labels/org.opencontainers.image.revision"), json!("unknown"));
    }

    #[test]
    fn what_is_not_understood_is_no_image() {
        for text in [
            "FROM debian",
            "RUN true",
            "LABEL a=b",
            "LABEL a=\"${NONE}\"",
            "ENTRYPOINT /netmon",
            "HEALTHCHECK NONE",
            "HEALTHCHECK --interval=1m CMD [\"/netmon\"]",
            "COPY netmon",
        ] {
            assert!(read(text, &[]).is_err(), "{text}");
        }
    }
}
