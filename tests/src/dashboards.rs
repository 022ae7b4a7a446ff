//! The committed dashboards and rules: the queries of each panel.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// The queries of a panel, with its variables filled in.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The dashboard and the panel's title.
    pub name: String,
    /// The queries.
    pub queries: Vec<Query>,
}

/// A query to Prometheus.
#[derive(Clone, Debug)]
pub struct Query {
    /// In `PromQL`.
    pub text: String,
    /// True for an instant query at the end of the shown time range, as of figures and tables. False for a range
    /// query.
    pub is_instant: bool,
}

/// The panels with queries of all dashboards, as Grafana sends them if every variable is set to "all". Rates are over
/// `rate`, and `range` stands for the whole shown time range.
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
        // The panels of a collapsed row are inside the row.
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

/// The folder of the dashboards.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

/// The files with that extension in a subfolder of the dashboards' folder.
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
