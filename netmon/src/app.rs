//! The only wiring: creates the parts, gives each what it needs, and ends them in order.

mod page;
mod programs;

use std::{
    io,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64},
        mpsc::SyncSender,
    },
    time::Instant,
};

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

pub use self::programs::{End, Refused};
use self::{page::Page, programs::Programs};
use crate::{
    checker::Checker,
    collectors::{
        self, Running,
        visit::{Counting, Tools as CollectorTools},
    },
    config::{Attach, Compression, Config},
    datapath::DatapathError,
    docker,
    http::{self, Access, AccessError, HttpError, Server},
    model::collector::Collectors,
    netns::{
        enter::{EnterError, inside},
        rtnetlink::{Client, NetlinkError},
        watch::{Waker, Watch, WatchError},
    },
    observe::{
        Shared,
        control::{Control, Places, Signal, Tools},
        facts::movement::Movement,
        findings::Findings,
        inventories::Inventories,
        state::{Scope, State},
    },
    page::limits::{Caps, Limits},
    privilege::{self, ThreadRole},
    process,
    reader::Reader,
    scrape::Sources,
    single_flight::SingleFlight,
    systemd, version,
    workers::{Clocks, Ended, Worker, Workers},
};

/// Why netmon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The pages cannot be served.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The access rules of the pages cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The kernel programs are required, and cannot be loaded.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The kernel refuses this build's programs, and accepted those of the one before.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The node's namespace cannot be entered.
    #[error(transparent)]
    Enter(#[from] EnterError),
    /// The kernel does not report devices.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The kernel does not report changes.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The engine's address is invalid.
    #[error(transparent)]
    Docker(#[from] docker::DockerError),
    /// A worker has ended.
    #[error(transparent)]
    Worker(#[from] Ended),
    /// The process cannot do something that every process can.
    #[error("cannot {what}: {source}")]
    Process {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// Runs until the process is asked to end.
///
/// # Errors
/// Every failure that makes netmon useless. Other failures only degrade it, with a warning.
pub async fn run(config: Config) -> Result<End, AppError> {
    // As process 1 of its container netmon would ignore the signals until it handles them, and be killed 10 s later.
    let stop = stop_signal()?;
    // Then the steps that fail most often: a wrong web configuration, a port that is in use.
    let access = Arc::new(Access::read(config.web_config.clone())?);
    let server = Server::bind(serving(&config, &access)).await?;
    let home = inside(&config.node_netns, Client::open)??;
    home.netns()?;
    let wanted = config.collectors();
    let programs = Programs::load(&config, &wanted)?.or_roll_back(&config).await?;
    let as_asked = programs.end();
    let Programs {
        datapath,
        tracepoints,
        overlay,
        on_devices,
        protocols,
        ..
    } = programs;
    let counting = datapath.as_ref().map(|datapath| Counting {
        maps: datapath.maps(),
        programs: datapath.programs(),
    });
    let shared = Shared::new(State::new(scope(&wanted), config.linger).with_times(config.times));
    let (waker, published) = (Waker::new()?, Inventories::default());
    let mut workers = Workers::new(config.times.worker_patience, config.fault);
    let tools = Tools {
        shared: shared.clone(),
        inventories: published.clone(),
        places: Places {
            directory: config.netns_dir.clone(),
            node: config.node_netns.clone(),
        },
        home,
        datapath,
        tracepoints: tracepoints.clone(),
        overlay: on_devices,
        waker: waker.clone(),
    };
    let control = Control::start(tools, workers.shift(Worker::Control)).map_err(no_thread)?;
    let signals = control.signals();
    let watch = Watch::start(&config.node_netns, waker, workers.shift(Worker::Watch), move |change| {
        // Fails only when the loop has ended. Then no change is needed any more.
        let _sent = signals.send(Signal::Change(change));
    })?;
    let signals = control.signals();
    if !watch.receives_all() {
        let _sent = signals.send(Signal::NoMessages);
    }
    let engine = watch_engine(&config, &workers, signals, published.clone())?;

    let movement = Movement::new(tracepoints.clone(), overlay.clone());
    let (checker, findings) = start_checks(&wanted, &shared, &engine, movement, &workers).map_err(no_thread)?;
    let sources = Arc::new(Sources {
        shared,
        tools: CollectorTools {
            counting,
            counting_wanted: config.attach != Attach::Off,
            tracepoints,
            overlay,
            most_edges: config.most_edges,
            findings,
        },
        protocols: Mutex::new(protocols),
        settings: Mutex::default(),
        running: Mutex::new(Running::start(&wanted)),
        wanted,
        limits: Mutex::new(limits(&config)),
        scrapes: AtomicU64::new(0),
        no_reading: Mutex::default(),
        published,
        first_whole: OnceLock::new(),
    });
    let page = Arc::new(Page {
        flight: Arc::new(SingleFlight::new(config.times.page_age)),
        reader: Reader::start(Arc::clone(&sources), workers.shift(Worker::Reader)).map_err(no_thread)?,
        sources,
        clocks: workers.clocks(),
        engine,
        access,
        shows_exporter: !config.disable_exporter_metrics,
        monitor: server.monitor(),
        was_ready: AtomicBool::new(false),
    });
    process::trim_memory();
    drop_capabilities();
    announce(&server, &config.telemetry_path, workers.clocks());
    let mut outcome = Ok(as_asked);
    let end = async {
        tokio::select! {
            () = stop => {}
            ended = workers.ended() => outcome = Err(ended.into()),
        }
    };
    let was_served = server.serve(Arc::clone(&page), end).await;
    info!("ending");
    systemd::ending();
    drop(checker);
    drop(watch);
    drop(control);
    was_served?;
    outcome
}

/// Starts to look for what is wrong, if that is wanted.
fn start_checks(
    wanted: &Collectors,
    shared: &Shared,
    engine: &docker::Watch,
    movement: Movement,
    workers: &Workers,
) -> io::Result<(Option<Checker>, Findings)> {
    let findings = Findings::default();
    let start = || {
        Checker::start(
            shared.clone(),
            engine.handle(),
            movement,
            findings.clone(),
            workers.shift(Worker::Checks),
        )
    };
    let checker = wanted.has(collectors::findings::NAME).then(start).transpose()?;
    Ok((checker, findings))
}

/// Everything that needs more capabilities is done, or belongs to another thread.
fn drop_capabilities() {
    privilege::keep_or_warn(ThreadRole::Serve);
    if let Ok(health) = process::read() {
        info!(
            capabilities = health.capabilities.join(","),
            "capabilities dropped; these remain"
        );
    }
}

/// Watches the engine, and tells the loop of its inventories.
fn watch_engine(
    config: &Config,
    workers: &Workers,
    signals: SyncSender<Signal>,
    published: Inventories,
) -> Result<docker::Watch, docker::DockerError> {
    let options = docker::Options {
        host: config.docker_host.clone(),
        linger: config.linger,
        // Both ends of an edge have names by their addresses, and checks compare them with the kernel's tables.
        members: [
            collectors::members::NAME,
            collectors::edges::NAME,
            collectors::findings::NAME,
        ]
        .into_iter()
        .any(|name| config.collectors().has(name)),
        times: config.times,
    };
    docker::spawn(options, workers.shift(Worker::Engine), move |inventory| {
        if published.publish(inventory) {
            // If there is no room, the loop has enough to do, and finds the inventory afterwards.
            let _sent = signals.try_send(Signal::Inventory);
        }
    })
}

/// Notifies systemd that netmon has started, and then, if systemd asks for it, regularly that netmon is healthy.
fn announce(server: &Server, path: &str, clocks: Clocks) {
    if let Some(period) = systemd::watchdog() {
        tokio::spawn(async move {
            loop {
                if clocks.hung(Instant::now()).is_none() {
                    systemd::healthy();
                }
                tokio::time::sleep(period / 3).await;
            }
        });
    }
    for address in server.addresses() {
        info!(%address, path, version = version::VERSION, "listening");
    }
    systemd::started();
}

fn serving(config: &Config, access: &Arc<Access>) -> http::Options {
    http::Options {
        listen: config.listen.clone(),
        telemetry_path: config.telemetry_path.clone(),
        max_requests: config.max_requests,
        compresses: config.compression != Compression::None,
        version: version::VERSION,
        access: Arc::clone(access),
    }
}

fn scope(wanted: &Collectors) -> Scope {
    Scope {
        containers: wanted.has(collectors::traffic::NAME),
        vxlan: wanted.has(collectors::vxlan::NAME),
    }
}

fn limits(config: &Config) -> Limits {
    Limits::new(Caps {
        series: config.series,
        container_series: config.container_series,
    })
    .with_times(config.times)
}

fn no_thread(source: io::Error) -> AppError {
    AppError::Process {
        what: "start a thread",
        source,
    }
}

fn stop_signal() -> Result<impl Future<Output = ()>, AppError> {
    let listen = |kind| {
        signal(kind).map_err(|source| AppError::Process {
            what: "listen for signals",
            source,
        })
    };
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
