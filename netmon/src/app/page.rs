//! The pages that are served: a scrape, and what the process says of itself. Wiring, like its parent.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    api, collectors, docker,
    http::{self, Access, Pages, Rendered},
    metrics,
    model::format::Format,
    process,
    reader::Reader,
    scrape::{Scraped, Sources},
    single_flight::SingleFlight,
    workers::{Clocks, Worker},
};

/// When a page is dropped that is too old for everybody: this long after that.
const KEPT_LONGER: Duration = Duration::from_millis(10);

/// The pages that are served.
pub(super) struct Page {
    pub(super) flight: Arc<SingleFlight<Result<Arc<Rendered>, String>>>,
    pub(super) sources: Arc<Sources>,
    pub(super) reader: Reader,
    pub(super) engine: docker::Watch,
    pub(super) access: Arc<Access>,
    pub(super) shows_exporter: bool,
    pub(super) monitor: http::Monitor,
    pub(super) clocks: Clocks,
    pub(super) was_ready: AtomicBool,
}

impl Page {
    /// Makes a page from a scrape.
    fn make(&self) -> Result<Arc<Rendered>, String> {
        let Scraped { rows, mut health } = self
            .reader
            .scrape(self.engine.health())
            .map_err(|error| error.to_string())?;
        // A worker that was never started has no last turn.
        let checks = self.sources.wanted.has(collectors::findings::NAME);
        let ages = self.clocks.ages(Instant::now());
        let ages = ages.filter(|(worker, _)| checks || *worker != Worker::Checks);
        health.workers = ages.map(|(worker, age)| (worker.as_str(), age)).collect();
        health.web_config = self.access.is_current();
        health.http = self.monitor.health();
        health.shows_exporter = self.shows_exporter;
        if self.shows_exporter {
            health.process = process::read().ok();
        }
        let page = collectors::page(rows, &health, &self.sources.wanted);
        Ok(Arc::new(Rendered::new(Text(page))))
    }
}

impl Pages for Page {
    fn scrape(&self) -> Result<Arc<Rendered>, String> {
        let page = self.flight.get(|| {
            let page = self.make();
            let flight = Arc::clone(&self.flight);
            tokio::spawn(async move {
                tokio::time::sleep(flight.age() + KEPT_LONGER).await;
                // A page has tens of thousands of rows.
                let dropped = tokio::task::spawn_blocking(move || flight.expire());
                let _done = dropped.await;
            });
            page
        });
        Result::clone(&page)
    }

    fn healthy(&self) -> Result<(), String> {
        match self.clocks.hung(Instant::now()) {
            None => self.engine.hopeless().map_or(Ok(()), Err),
            Some((worker, time)) => Err(format!(
                "worker `{worker}` has been in one turn for {} s",
                time.as_secs()
            )),
        }
    }

    /// A node that was ready once stays ready: a new container does not make it unready.
    fn ready(&self) -> Result<(), String> {
        if self.was_ready.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !self.engine.synced() {
            let silent = || "the engine has not reported yet what runs on this node".to_owned();
            return Err(self.engine.trouble().unwrap_or_else(silent));
        }
        if let Some(reason) = self.sources.unready() {
            return Err(reason);
        }
        match self.sources.waiting() {
            0 => {
                self.was_ready.store(true, Ordering::Relaxed);
                Ok(())
            }
            waiting => Err(format!("{waiting} interfaces wait for their kernel programs")),
        }
    }

    fn findings(&self) -> String {
        api::findings(&self.sources.tools.findings.report())
    }

    fn sentences(&self) -> Vec<String> {
        api::sentences(&self.sources.tools.findings.report())
    }
}

/// A page's text, in the formats that clients ask for.
struct Text(metrics::Page);

impl http::Text for Text {
    fn write(&self, format: Format, take: &mut dyn FnMut(&mut String) -> io::Result<()>) -> io::Result<()> {
        self.0.write(format, take)
    }
}
