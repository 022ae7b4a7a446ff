//! Loads the kernel programs that the configuration asks for.

use tracing::{info, warn};

use crate::{
    collectors,
    config::{Attach, Config},
    datapath::{
        Datapath, DatapathError, SharedTracepoints, Tracepoints,
        host::{Host, Mode},
        overlay::{SharedOverlay, programs::OverlayPrograms},
        protocols::ProtocolsProgram,
    },
    model::collector::{Collectors, Need},
    netns::listeners,
    observe::read::protocols::ProtocolsReader,
};

/// What was loaded. What is not there is not wanted, or this kernel does not support it.
pub(super) struct Loaded {
    /// The programs on interfaces.
    pub(super) datapath: Option<Datapath>,
    /// Those on tracepoints.
    pub(super) tracepoints: SharedTracepoints,
    /// What those on the way to other nodes count.
    pub(super) overlay: SharedOverlay,
    /// Those themselves.
    pub(super) on_devices: Option<OverlayPrograms>,
    /// What reads the counters of protocols.
    pub(super) protocols: ProtocolsReader,
}

/// Loads all programs.
///
/// # Errors
/// netmon lacks a permission, or the kernel has no programs of the kind that is demanded.
pub(super) fn load(config: &Config, wanted: &Collectors) -> Result<Loaded, DatapathError> {
    let datapath = datapath(config)?;
    let tracepoints = match &datapath {
        Some(datapath) => Tracepoints::load(
            wanted.has(collectors::drops::NAME),
            wanted.has(collectors::tcp::NAME),
            datapath.host().cpus,
        )?,
        None => Tracepoints::default(),
    };
    let (overlay, on_devices) = match &datapath {
        Some(datapath) if wanted.has(collectors::overlay::NAME) => datapath.load_overlay()?.unzip(),
        Some(_) | None => (None, None),
    };
    Ok(Loaded {
        protocols: protocols(config, datapath.as_ref(), wanted),
        datapath,
        tracepoints: SharedTracepoints::new(tracepoints),
        overlay: SharedOverlay::new(overlay),
        on_devices,
    })
}

/// Loads the kernel programs, unless they are switched off or this kernel cannot run them.
fn datapath(config: &Config) -> Result<Option<Datapath>, DatapathError> {
    let load = |choose: fn(&Host) -> Mode| {
        let host = Host::detect()?;
        let mode = choose(&host);
        Datapath::load(host, mode, config.interfaces, listeners::others(&config.node_netns))
    };
    let loaded = match config.attach {
        Attach::Off => return Ok(None),
        Attach::Tcx => load(|_| Mode::Tcx).map(Some),
        Attach::Clsact => load(|_| Mode::Clsact).map(Some),
        Attach::Auto => match load(Host::mode) {
            Err(error) if !error.is_permission() => {
                warn!(%error, "no kernel programs: packets and bytes come from the interfaces' own counters, segments are unknown");
                Ok(None)
            }
            result => result.map(Some),
        },
    };
    if let Ok(Some(datapath)) = &loaded {
        info!(
            mode = datapath.mode().as_str(),
            cpus = datapath.host().cpus,
            "kernel programs loaded"
        );
    }
    loaded
}

/// Loads the program that reads the counters of protocols, if a collector wants them.
fn protocols(config: &Config, datapath: Option<&Datapath>, wanted: &Collectors) -> ProtocolsReader {
    match datapath {
        Some(datapath) if collectors::needs(wanted).contains_key(&Need::Protocols) => {
            ProtocolsReader::new(ProtocolsProgram::load(datapath.host()), &config.node_netns)
        }
        Some(_) | None => ProtocolsReader::default(),
    }
}
