//! The project's dashboards and rules, as they are committed: what each panel asks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// What a panel asks, with its variables filled in.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The dashboard and the panel's title.
    pub name: String,
    /// The queries.
    pub queries: Vec<Query>,
}

/// A question to Prometheus.
#[derive(Clone, Debug)]
pub struct Query {
    /// In `PromQL`.
    pub text: String,
    /// Asked for the end of what is shown alone, as figures and tables do; else for every step on the way there.
    pub is_instant: bool,
}

/// The panels of all dashboards that ask anything, as Grafana asks where everything is chosen: with rates over `rate`, and
/// `range` where all that is shown is asked for.
///
/// # Errors
/// There are none, or they cannot be read.
pub fn panels(rate: &str, range: &str) -> anyhow::Result<Vec<Panel>> {
    let mut panels = Vec::new();
    for path in files("", "json")? {
        let board: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let uid = board
            .get("uid")
            .and_then(Value::as_str)
            .context("a dashboard without uid")?;
        let shown = || board.get("panels").and_then(Value::as_array).into_iter().flatten();
        // A row that is closed has its panels within.
        let within = shown().filter_map(|row| row.get("panels")?.as_array()).flatten();
        for panel in shown().chain(within) {
            let title = panel.get("title").and_then(Value::as_str).unwrap_or_default();
            let targets = panel.get("targets").and_then(Value::as_array).into_iter().flatten();
            let queries: Vec<_> = targets
                .filter_map(|target| {
                    Some(Query {
                        text: fill_in(target.get("expr")?.as_str()?, rate, range),
                        is_instant: target.get("instant")?.as_bool()?,
                    })
                })
                .collect();
            if !queries.is_empty() {
                panels.push(Panel {
                    name: format!("{uid}: {title}"),
                    queries,
                });
            }
        }
    }
    Ok(panels)
}

fn fill_in(query: &str, rate: &str, range: &str) -> String {
    let mut query = query.replace("$__rate_interval", rate).replace("$__range", range);
    for (variable, all) in [
        ("$job", ".+"),
        ("$instance", ".+"),
        ("$container", ".*"),
        ("$service", ".*"),
        ("$network", ".*"),
        ("$peer", ".*"),
    ] {
        query = query.replace(variable, all);
    }
    query
}

/// Where they are.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

/// The files of that kind below the dashboards' folder.
///
/// # Errors
/// There are none.
pub fn files(below: &str, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder().join(below).canonicalize()?;
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == extension) {
            files.push(path);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "there is no {extension} in {below}");
    Ok(files)
}
