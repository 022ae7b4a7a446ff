//! Pictures of the dashboards. Runs the demo and a Prometheus that scrapes it, then draws with Grafana's own
//! libraries in a headless browser.
//!
//! `dashboards/preview` does the drawing. Must not know what the dashboards show.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};

use crate::{build, demo, needs, needs::Purpose, setup, sh};

/// Long enough to fill query windows of some minutes.
const TIME: Duration = Duration::from_mins(6);

/// Runs the demo for [`TIME`], and draws what Prometheus scraped of it.
pub(crate) fn run() -> anyhow::Result<()> {
    setup::run(Purpose::Preview)?;
    let netmon = build::run(true)?;
    let folder = sh::workspace().join("target/preview");
    let data = folder.join("data");
    if data.exists() {
        fs::remove_dir_all(&data).with_context(|| format!("{} cannot be removed", data.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let page = free_address()?;
    let prometheus = Prometheus::start(&folder, &page)?;

    let begin = now()?;
    demo::run(&netmon, Some(TIME), &[format!("--web.listen-address={page}")])?;
    let end = now()?;
    ensure!(
        end.saturating_sub(begin) >= TIME.as_secs(),
        "the demo was ended before there was enough to draw"
    );

    let preview = sh::workspace().join("dashboards/preview");
    if !preview.join("node_modules").exists() {
        sh::run(
            "fetch Grafana's libraries",
            Command::new("npm")
                // Two of the libraries request versions of others that they do not need. No library has to run
                // install scripts.
                .args([
                    "ci",
                    "--legacy-peer-deps",
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                ])
                .current_dir(&preview),
        )?;
    }
    sh::run(
        "bundle the renderer",
        Command::new("node").arg("build.mjs").current_dir(&preview),
    )?;
    // The end of the pictures lies before the demo was stopped: five seconds are one scrape interval.
    let end = end - 5;
    sh::run(
        "draw the dashboards",
        Command::new("node")
            .arg("render.mjs")
            .args([
                format!("http://{}", prometheus.address),
                begin.to_string(),
                end.to_string(),
            ])
            .current_dir(&preview),
    )
}

fn now() -> anyhow::Result<u64> {
    Ok(SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?
        .as_secs())
}

/// An address with a free port.
fn free_address() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr().context("it has no address")?.to_string())
}

/// A Prometheus server. It is ended when this is dropped.
#[derive(Debug)]
struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    fn start(folder: &Path, target: &str) -> anyhow::Result<Self> {
        let address = free_address()?;
        let configuration = folder.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 5s, scrape_timeout: 4s}}\nscrape_configs:\n  - job_name: netmon\n    \
             static_configs: [{{targets: [\"{target}\"], labels: {{instance: \"node1:10095\"}}}}]\n"
        );
        fs::write(&configuration, text).with_context(|| format!("{} cannot be written", configuration.display()))?;
        let log = folder.join("prometheus.log");
        let log = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        let child = Command::new(needs::prometheus().join("usr/bin/prometheus"))
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("its log cannot be shared")?)
            .stderr(log)
            .spawn()
            .context("prometheus cannot be run")?;
        Ok(Self { child, address })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
