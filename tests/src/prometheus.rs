//! A real Prometheus server, and `promtool`.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{
    netmon::{free_port, get_in},
    patience::until,
    program, sh,
};

/// The ids of the user `nobody` and of its group.
const NOBODY: u32 = 65534;

fn tool(name: &str) -> anyhow::Result<PathBuf> {
    let folder =
        env::var_os("NETMON_TEST_PROMETHEUS").context("NETMON_TEST_PROMETHEUS is not set: run `cargo xtask test`")?;
    Ok(PathBuf::from(folder).join(name))
}

/// Checks that `promtool check metrics` has no complaint about the page.
///
/// # Errors
/// The output of `promtool`.
pub fn check_metrics(page: &[u8]) -> anyhow::Result<()> {
    let mut child = Command::new(tool("promtool")?)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool cannot be run")?;
    child.stdin.take().context("promtool has no input")?.write_all(page)?;
    let output = child.wait_with_output()?;
    let words = [output.stdout, output.stderr].concat();
    ensure!(
        output.status.success() && words.is_empty(),
        "promtool ({}): {}",
        output.status,
        String::from_utf8_lossy(&words)
    );
    Ok(())
}

/// Checks that `promtool check config` accepts the file.
///
/// # Errors
/// The output of `promtool`.
pub fn check_config(file: &Path) -> anyhow::Result<()> {
    sh::output(Command::new(tool("promtool")?).args(["check", "config"]).arg(file)).map(drop)
}

/// The settings of an image of Prometheus, as arguments of `docker import`. They are the same as in the image of
/// Prometheus' own project.
pub const CHANGES: [&str; 3] = [
    "ENTRYPOINT [\"/usr/bin/prometheus\"]",
    "WORKDIR /prometheus",
    "VOLUME /prometheus",
];

/// Fills a folder with the files of an image of Prometheus. As in the image of Prometheus' own project, `/prometheus`
/// belongs to the user `nobody`. So does a volume that is created there.
///
/// # Errors
/// Something is missing, or the test is not root.
pub fn root(folder: &Path) -> anyhow::Result<()> {
    program::root(&tool("prometheus")?, folder)?;
    let data = folder.join("prometheus");
    fs::create_dir(&data)?;
    Ok(chown(&data, Some(NOBODY), Some(NOBODY))?)
}

/// What relabelling makes of each target, by `promtool check service-discovery`. A target is the labels that discovery
/// gives it. `configuration` is a file of Prometheus' with one job, of which the relabelling is used. A target that is
/// dropped has no labels.
///
/// # Errors
/// The output of `promtool`; or the file has no relabelling.
pub fn relabel(folder: &Path, configuration: &Path, targets: &Value) -> anyhow::Result<Vec<Value>> {
    let text = fs::read_to_string(configuration).with_context(|| format!("{}", configuration.display()))?;
    let (_, rules) = text.split_once("    relabel_configs:\n").context("no relabelling")?;
    let targets = targets.as_array().into_iter().flatten();
    let targets: Vec<Value> = targets
        .map(|labels| json!({"targets": [labels["__address__"]], "labels": labels}))
        .collect();
    let targets = serde_json::to_string(&targets)?;
    fs::write(
        folder.join("relabel.yml"),
        format!("scrape_configs:\n  - job_name: netmon\n    static_configs: {targets}\n    relabel_configs:\n{rules}"),
    )?;
    let words = ["check", "service-discovery", "--timeout=1s"];
    let found: Vec<Value> = serde_json::from_str(&promtool(folder, &words, ["relabel.yml", "netmon"])?)?;
    Ok(found.into_iter().map(|mut it| it["labels"].take()).collect())
}

/// Runs promtool on files, in a folder.
///
/// # Errors
/// The output of `promtool`.
pub fn promtool<I: AsRef<std::ffi::OsStr>>(
    folder: &Path,
    words: &[&str],
    files: impl IntoIterator<Item = I>,
) -> anyhow::Result<String> {
    let output = Command::new(tool("promtool")?)
        .args(words)
        .args(files)
        .current_dir(folder)
        .output()
        .context("promtool cannot be run")?;
    let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "promtool ({}): {words}", output.status);
    Ok(words)
}

/// A running Prometheus server.
#[derive(Debug)]
pub struct Prometheus {
    child: Option<Child>,
    netns: Option<PathBuf>,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts a server that scrapes these targets every second.
    ///
    /// # Errors
    /// It does not run.
    pub fn start(folder: &Path, targets: &[SocketAddr]) -> anyhow::Result<Self> {
        Self::start_in(None, folder, targets, &[])
    }

    /// Like [`Prometheus::start`], in the network namespace of that file if one is given, and with these files of
    /// rules.
    ///
    /// # Errors
    /// It does not run.
    pub fn start_in(
        netns: Option<PathBuf>,
        folder: &Path,
        targets: &[SocketAddr],
        rules: &[PathBuf],
    ) -> anyhow::Result<Self> {
        let targets: Vec<String> = targets.iter().map(|it| format!("\"{it}\"")).collect();
        let rules: Vec<String> = rules.iter().map(|it| format!("\"{}\"", it.display())).collect();
        let configuration = folder.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\n\
             scrape_configs:\n  - job_name: netmon\n    static_configs: [{{targets: [{}]}}]\n",
            rules.join(", "),
            targets.join(", ")
        );
        fs::write(&configuration, text)?;
        let address = free_port()?;
        let log = File::create(folder.join("prometheus.log"))?;
        let mut command = match &netns {
            Some(netns) => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--net={}", netns.display()))
                    .arg(tool("prometheus")?);
                command
            }
            None => Command::new(tool("prometheus")?),
        };
        let child = command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("prometheus cannot be run")?;
        let child = Some(child);
        let prometheus = Self { child, netns, address };
        until("Prometheus to be ready", || prometheus.get("/-/ready").map(drop))?;
        Ok(prometheus)
    }

    /// A server that already runs, at an address that can be reached from the namespace of that file.
    ///
    /// # Errors
    /// It is not ready.
    pub fn at(netns: PathBuf, address: SocketAddr) -> anyhow::Result<Self> {
        let prometheus = Self {
            child: None,
            netns: Some(netns),
            address,
        };
        prometheus.get("/-/ready")?;
        Ok(prometheus)
    }

    /// The value of a query with one result.
    ///
    /// # Errors
    /// The query has no result, or several.
    pub fn value(&self, query: &str) -> anyhow::Result<f64> {
        let results = self.series(query)?;
        ensure!(results.len() == 1, "`{query}` gives {} series", results.len());
        let value = results[0]
            .pointer("/value/1")
            .and_then(Value::as_str)
            .context("no value")?;
        Ok(value.parse()?)
    }

    /// The values of a label in a query's results.
    ///
    /// # Errors
    /// The query fails.
    pub fn labels(&self, query: &str, label: &str) -> anyhow::Result<BTreeSet<String>> {
        let pointer = format!("/metric/{label}");
        let values = self.series(query)?.into_iter();
        Ok(values
            .filter_map(|it| it.pointer(&pointer).and_then(Value::as_str).map(ToOwned::to_owned))
            .collect())
    }

    /// The series that a query returns now, as JSON.
    ///
    /// # Errors
    /// The query is invalid, its result is not a list of series, or Prometheus warns.
    pub fn series(&self, query: &str) -> anyhow::Result<Vec<Value>> {
        let mut json = self.json(&format!("/api/v1/query?query={}", encoded(query)))?;
        ensure!(json.get("warnings").is_none(), "`{query}`: {json}");
        match json.pointer_mut("/data/result").map(Value::take) {
            Some(Value::Array(series)) => Ok(series),
            _ => anyhow::bail!("`{query}` gives no series: {json}"),
        }
    }

    /// The result of a query over a window. `window` has the parameters `start`, `end` and `step` of Prometheus' API.
    ///
    /// # Errors
    /// The query fails.
    pub fn range(&self, query: &str, window: &str) -> anyhow::Result<Value> {
        self.json(&format!("/api/v1/query_range?query={}&{window}", encoded(query)))
    }

    /// The result of a query at a time, in seconds since the epoch.
    ///
    /// # Errors
    /// The query fails.
    pub fn moment(&self, query: &str, at: u64) -> anyhow::Result<Value> {
        self.json(&format!("/api/v1/query?query={}&time={at}", encoded(query)))
    }

    /// The answer to a request for a path, as text.
    ///
    /// # Errors
    /// The request fails.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        self.get(path)
    }

    /// The answer of Prometheus' API.
    ///
    /// # Errors
    /// The request fails.
    pub fn json(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.get(path)?)?)
    }

    /// The processor time that the server has used.
    ///
    /// # Errors
    /// It was not started here, or has ended.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        let child = self.child.as_ref().context("this Prometheus was not started here")?;
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", child.id()))? {
            let path = thread?.path().join("schedstat");
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let first = text.split(' ').next().context("no figures")?;
            nanoseconds += first.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    fn get(&self, path: &str) -> anyhow::Result<String> {
        let answer = get_in(
            self.netns.as_deref(),
            self.address,
            &format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"),
        )?;
        ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
        Ok(answer.text())
    }
}

/// A query, encoded for a URL.
fn encoded(query: &str) -> String {
    query
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
