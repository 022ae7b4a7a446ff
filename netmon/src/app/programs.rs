//! Loads all kernel programs, and decides what becomes of a build that the kernel refuses.
//!
//! A kernel that cannot run the programs must not keep netmon from counting what it can: then netmon runs without
//! them. But an update to a build that the kernel refuses must not go through a whole fleet. What tells the two apart
//! is how the netmon before ended on this node: [`Refused::STATUS`] is the exit status of one that ran without its
//! programs, or ended for want of them. So a node where programs were never accepted is never restarted for them, and
//! every other node once.

use tracing::{info, warn};

use crate::{
    collectors,
    config::{Attach, Config},
    datapath::{
        Datapath, DatapathError, SharedTracepoints, Tracepoints, WantedTracepoints,
        host::{Host, Mode},
        overlay::{OverlayMap, SharedOverlay, programs::OverlayPrograms},
        protocols::ProtocolsProgram,
    },
    docker,
    model::collector::{Collector, Collectors, Need},
    netns::listeners,
    observe::read::protocols::ProtocolsReader,
};

/// The exit status of a netmon that had all programs that this kernel has a place for.
const WHOLE: i64 = 0;

/// The kernel refused programs that netmon wanted, though it lacks nothing that they need.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the kernel refuses this netmon's programs for {}, and the netmon before had its programs on this node; netmon ends, \
     so that Swarm can roll an update back; started again, it counts without them",
    .0.join(", ")
)]
pub struct Refused(Vec<&'static str>);

impl Refused {
    /// The exit status that says so to the netmon after this one.
    pub const STATUS: u8 = 3;

    /// Whether the netmon before ended as one does that had its programs.
    fn is_new(predecessor: Option<i64>) -> bool {
        predecessor == Some(WHOLE)
    }
}

/// How netmon ended that was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It had all programs that the kernel has a place for, or nobody asks.
    Whole,
    /// It ran without programs, because the kernel refused them. The netmon after it is to know.
    WithoutPrograms,
}

/// The programs that were loaded.
pub(super) struct Programs {
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
    /// What was refused, if netmon is to tell the netmon after it.
    refused: Option<Refused>,
}

impl Programs {
    /// Loads all that are wanted.
    ///
    /// # Errors
    /// netmon lacks a permission, or programs are required and cannot be loaded.
    pub(super) fn load(config: &Config, wanted: &Collectors) -> Result<Self, DatapathError> {
        let datapath = datapath(config, wanted.has(collectors::dns::NAME))?;
        let (mut tracepoints, overlay) = others(datapath.as_ref(), wanted)?;
        if let Some(edges) = &mut tracepoints.edges {
            edges.set_second(config.times.idle_second)?;
        }
        let (overlay, on_devices) = overlay.unzip();
        let lacking = tracepoints.lacking;
        let has = |name| wanted.has(name);
        // Without the first of them, the others are not even tried.
        let refused = match (&datapath, config.attach) {
            (_, Attach::Off) => Vec::new(),
            (None, _) => vec![collectors::traffic::NAME],
            (Some(datapath), _) => [
                (collectors::dns::NAME, !datapath.counts_dns()),
                (collectors::drops::NAME, tracepoints.drops.is_none() && !lacking.drops),
                (collectors::tcp::NAME, tracepoints.tcp.is_none() && !lacking.tcp),
                (collectors::edges::NAME, tracepoints.edges.is_none() && !lacking.edges),
                (collectors::overlay::NAME, overlay.is_none()),
            ]
            .into_iter()
            .filter_map(|(name, is_refused)| (is_refused && has(name)).then_some(name))
            .collect(),
        };
        let names: Vec<_> = refused.into_iter().map(Collector::as_str).collect();
        Ok(Self {
            protocols: protocols(config, datapath.as_ref(), wanted),
            on_devices,
            datapath,
            tracepoints: SharedTracepoints::new(tracepoints),
            overlay: SharedOverlay::new(overlay),
            refused: (config.docker_service.is_some() && !names.is_empty()).then_some(Refused(names)),
        })
    }

    /// How netmon is to end when it is asked to.
    pub(super) const fn end(&self) -> End {
        match self.refused {
            None => End::Whole,
            Some(_) => End::WithoutPrograms,
        }
    }

    /// Asks the engine how the netmon before ended, if something was refused.
    ///
    /// # Errors
    /// That one had its programs.
    pub(super) async fn or_roll_back(self, config: &Config) -> Result<Self, Refused> {
        let (Some(refused), Some(service)) = (&self.refused, &config.docker_service) else {
            return Ok(self);
        };
        let (host, service) = (config.docker_host.clone(), service.clone());
        // In a thread that may do nothing else: the first one still has all capabilities.
        let asked = tokio::spawn(async move { docker::predecessor(host, &service).await });
        match asked.await {
            Ok(Ok(predecessor)) if Refused::is_new(predecessor) => return Err(refused.clone()),
            Ok(Ok(predecessor)) => info!(
                predecessor = ?predecessor,
                "the netmon before had no programs either, or nobody knows: netmon counts without them"
            ),
            Ok(Err(error)) => info!(%error, "how the netmon before ended is not known: netmon counts without programs"),
            Err(error) => warn!(%error, "the question how the netmon before ended panicked"),
        }
        Ok(self)
    }
}

/// Loads the kernel programs, unless they are switched off or this kernel cannot run them.
fn datapath(config: &Config, with_dns: bool) -> Result<Option<Datapath>, DatapathError> {
    let load_with = |choose: fn(&Host) -> Mode, with_dns| {
        let host = Host::detect()?;
        let mode = choose(&host);
        let others = listeners::others(&config.node_netns);
        Datapath::load(host, mode, config.interfaces, with_dns, others)
    };
    let load = |choose: fn(&Host) -> Mode| match load_with(choose, with_dns) {
        Err(error) if with_dns && !error.is_permission() => {
            let without = load_with(choose, false)?;
            warn!(%error, "DNS queries are not counted on this host");
            Ok(without)
        }
        result => result,
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

/// Loads the programs that are not attached to containers' interfaces.
fn others(
    datapath: Option<&Datapath>,
    wanted: &Collectors,
) -> Result<(Tracepoints, Option<(OverlayMap, OverlayPrograms)>), DatapathError> {
    let tracepoints = match datapath {
        Some(datapath) => {
            let tracepoints = WantedTracepoints {
                drops: wanted.has(collectors::drops::NAME),
                tcp: wanted.has(collectors::tcp::NAME),
                edges: wanted.has(collectors::edges::NAME),
            };
            Tracepoints::load(tracepoints, datapath.host().cpus)?
        }
        None => Tracepoints::default(),
    };
    let overlay = match datapath {
        Some(datapath) if wanted.has(collectors::overlay::NAME) => datapath.load_overlay()?,
        Some(_) | None => None,
    };
    Ok((tracepoints, overlay))
}

/// Loads the program that reads the counters of protocols, if a collector wants them. Without it nothing is missing.
fn protocols(config: &Config, datapath: Option<&Datapath>, wanted: &Collectors) -> ProtocolsReader {
    match datapath {
        Some(datapath) if collectors::needs(wanted).contains_key(&Need::Protocols) => {
            ProtocolsReader::new(ProtocolsProgram::load(datapath.host()), &config.node_netns)
        }
        Some(_) | None => ProtocolsReader::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::Refused;

    #[test]
    fn only_a_netmon_that_had_its_programs_is_returned_to() {
        assert!(Refused::is_new(Some(0)));
        // Without its programs; killed; a wrong setting; none before.
        for other in [Some(i64::from(Refused::STATUS)), Some(137), Some(1), None] {
            assert!(!Refused::is_new(other), "{other:?}");
        }
    }
}
