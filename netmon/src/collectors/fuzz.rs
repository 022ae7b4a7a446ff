//! The fuzz target for writing pages; see [`crate::fuzzing`].
//!
//! Names come from outside, so the input is names. [`read`] parses the page. It knows the format, and not how the
//! page is written.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use super::{
    docker::facts::{ContainerRow, ContainerState, Facts},
    drops::facts::{DropRow, DropRows, UnattributedRow},
    members::facts::{MemberRow, MemberRows},
    overlay::facts::{OverlayRows, PeerRow},
    page as write,
    service::facts::{EventsRow, ServiceRow},
    traffic::facts::InterfaceRow,
    vxlan::facts::VxlanRow,
};
use crate::{
    model::{
        collector::Collectors,
        counters::Directions,
        events::EventSums,
        format::Format,
        health::Health,
        interface::{Device, DeviceKind},
        inventory::{Container, Identity, Network, Node, Sandbox},
        place::Cause,
    },
    page::{
        limits::{Caps, Limits},
        rows::Rows,
    },
};

/// Separates the names in the input.
const BETWEEN: char = '\t';
/// Label values are cut to this length. Longer ones end in a hash of this many characters.
const LONGEST: usize = 1024;
const HASH: usize = 17;
/// The family whose labels are compared with the input.
const FAMILY: &str = "netmon_container_network_receive_bytes_total";

/// Checks a page with these names, which are separated by tabs.
pub(crate) fn page(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let names: Vec<&str> = text.split(BETWEEN).collect();
    let facts = found(&names);
    let caps = Caps {
        series: data.len() % 3 * 200,
        container_series: 0,
    };
    let mut rows = facts.rows();
    let limits = Limits::new(caps).apply(&mut rows, &HashMap::new(), false, Instant::now());
    let health = Health {
        limits,
        ..Health::default()
    };
    let written = write(rows, &health, &Collectors::default());
    let (page, older) = (&written.text(Format::OpenMetrics), written.text(Format::Text));
    let samples = read(page, true);
    assert!(
        samples == read(&older, false),
        "the older format says something else:\n{older}"
    );

    let distinct: BTreeSet<_> = samples.iter().map(|sample| (&sample.name, &sample.labels)).collect();
    assert_eq!(distinct.len(), samples.len(), "something is said twice:\n{page}");
    let said: f64 = samples
        .iter()
        .filter(|sample| sample.name == "netmon_exposed_series")
        .map(|sample| sample.value)
        .sum();
    assert!(
        (said - samples.len() as f64).abs() < 0.5,
        "{said} series are said to be on\n{page}"
    );
    if caps.series > 0 {
        return;
    }
    let found: BTreeSet<_> = samples
        .into_iter()
        .filter(|sample| sample.name == FAMILY)
        .map(|sample| sample.labels.into_iter().map(|(_, value)| value).collect::<Vec<_>>())
        .collect();
    let expected: BTreeSet<_> = facts
        .interfaces
        .iter()
        .map(|row| {
            let Identity {
                container,
                service,
                stack,
            } = &*row.identity;
            [container, service, stack, &*row.network, &row.device.name]
                .map(|name| name.replace('\0', "\u{fffd}"))
                .to_vec()
        })
        .collect();
    if names.iter().all(|name| name.len() <= LONGEST) {
        assert_eq!(found, expected, "not what went in");
    } else {
        assert_eq!(found.len(), expected.len(), "two became one");
        let short = |value: &String| value.chars().map(char::len_utf8).sum::<usize>() <= 3 * LONGEST + HASH;
        assert!(found.iter().flatten().all(short), "a value is too long");
    }
}

/// What collectors found.
#[derive(Default)]
struct Found {
    docker: Facts,
    interfaces: Vec<InterfaceRow>,
    services: Vec<ServiceRow>,
    events: Vec<EventsRow>,
    vxlans: Vec<VxlanRow>,
    drops: DropRows,
    overlay: OverlayRows,
    members: MemberRows,
}

impl Found {
    fn rows(&self) -> Vec<Rows> {
        [
            super::docker::families::rows(&self.docker),
            super::traffic::families::rows(&self.interfaces, &Directions::default()),
            super::service::families::rows(&self.services, &self.events),
            super::vxlan::families::rows(&self.vxlans),
            super::drops::families::rows(&self.drops),
            super::overlay::families::rows(&self.overlay),
            super::members::families::rows(&self.members),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A node that uses these names for everything.
fn found(names: &[&str]) -> Found {
    let mut names = names.iter().copied().cycle();
    let mut name = || names.next().unwrap_or_default();
    let mut found = Found::default();
    found.docker.node = Some(Arc::new(Node {
        hostname: name().to_owned(),
        engine_version: name().to_owned(),
        ..Node::default()
    }));
    for id in ["a", "b", "c"] {
        let identity = Arc::new(Identity {
            container: name().to_owned(),
            service: name().to_owned(),
            stack: name().to_owned(),
        });
        let network: Arc<str> = name().into();
        add_container(&mut found, id, &identity, &network, &mut name);
        add_network(&mut found, id, &identity, &network, &mut name);
    }
    found
}

/// Adds a container on a network, with an interface there.
fn add_container<'a>(
    found: &mut Found,
    id: &str,
    identity: &Arc<Identity>,
    network: &Arc<str>,
    name: &mut impl FnMut() -> &'a str,
) {
    found.docker.containers.push(ContainerRow {
        container: Arc::new(Container {
            id: id.into(),
            identity: Arc::clone(identity),
            image: name().to_owned(),
            task_id: String::new(),
            task_slot: String::new(),
            network_mode: name().to_owned(),
            sandbox: Sandbox::Absent,
            endpoints: Vec::new(),
            started: None,
            running: true,
        }),
        state: ContainerState::Observed,
        shares_with: Some(name().to_owned()),
    });
    found.interfaces.push(InterfaceRow {
        identity: Arc::clone(identity),
        network: Arc::clone(network),
        device: device(name()),
        totals: Directions::default(),
    });
    let service = Arc::new(Identity {
        container: String::new(),
        ..Identity::clone(identity)
    });
    found.services.push(ServiceRow {
        identity: Arc::clone(&service),
        network: Arc::clone(network),
        counts: Directions::default(),
    });
    found.events.push(EventsRow {
        identity: service,
        network: Arc::clone(network),
        counts: EventSums {
            drops: [(name().into(), 1)].into(),
            ..EventSums::default()
        },
    });
    let drops = DropRow {
        network: Arc::clone(network),
        reason: name().into(),
        packets: 1,
    };
    found.drops.containers.push((Arc::clone(identity), drops));
}

/// Adds a network, and other rows that belong to it.
fn add_network<'a>(
    found: &mut Found,
    id: &str,
    identity: &Arc<Identity>,
    network: &Arc<str>,
    name: &mut impl FnMut() -> &'a str,
) {
    found.docker.networks.push(Arc::new(Network {
        id: id.into(),
        name: network.to_string(),
        driver: name().to_owned(),
        ..Network::default()
    }));
    found.vxlans.push(VxlanRow {
        network: Arc::clone(network),
        device: device(name()),
        totals: Directions::default(),
    });
    let reason: Arc<str> = name().into();
    found.drops.overlays.push(DropRow {
        network: Arc::clone(network),
        reason: Arc::clone(&reason),
        packets: 1,
    });
    found.drops.unattributed.push(UnattributedRow {
        reason,
        cause: Cause::NoNamespace,
        packets: 1,
    });
    found.overlay.peers.push(PeerRow {
        peer: name().into(),
        address: [192, 0, 2, 1].into(),
        hostname: name().into(),
        node_id: name().into(),
    });
    found.members.endpoints.push(MemberRow {
        network: Arc::clone(network),
        address: [10, 0, 0, 1].into(),
        container: name().to_owned(),
        service: identity.service.clone(),
        peer: name().into(),
    });
}

fn device(name: &str) -> Arc<Device> {
    Arc::new(Device::new(1, name.to_owned(), DeviceKind::Veth))
}

/// A line with a value.
#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// Parses a page strictly by the format's definition.
fn read(page: &str, is_open_metrics: bool) -> Vec<Sample> {
    let mut samples = Vec::new();
    let (mut families, mut family) = (BTreeSet::new(), "");
    let body = if is_open_metrics {
        page.strip_suffix("# EOF\n")
            .unwrap_or_else(|| panic!("there is no end to\n{page}"))
    } else {
        page
    };
    assert!(body.is_empty() || body.ends_with('\n'), "the last line is cut off");
    // `lines` also ends a line at a carriage return.
    for line in body.split_terminator('\n') {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (keyword, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            assert!(matches!(keyword, "HELP" | "TYPE" | "UNIT"), "{line:?}");
            if name != family {
                assert!(families.insert(name), "{name} is on the page twice");
                family = name;
            }
            continue;
        }
        let sample = sample(line).unwrap_or_else(|| panic!("{line:?} is not a sample"));
        let suffix = sample.name.strip_prefix(family);
        let suffix = suffix.unwrap_or_else(|| panic!("{} is not of {family}", sample.name));
        assert!(
            matches!(
                suffix,
                "" | "_total" | "_info" | "_bucket" | "_sum" | "_count" | "_created"
            ),
            "{} is not of {family}",
            sample.name
        );
        samples.push(sample);
    }
    samples
}

fn sample(line: &str) -> Option<Sample> {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        let plain = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        bytes.next().is_some_and(plain) && bytes.all(|byte| plain(byte) || byte.is_ascii_digit())
    };
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            if let Some(behind) = rest.strip_prefix('}') {
                rest = behind;
                break;
            }
            let (label, behind) = rest.split_once("=\"")?;
            let (value, behind) = quoted(behind)?;
            if !is_name(label) {
                return None;
            }
            labels.push((label.to_owned(), value));
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    is_name(name).then(|| Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// A value up to its closing quote, and the text after the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(match letters.next()? {
                (_, 'n') => '\n',
                (_, letter @ ('\\' | '"')) => letter,
                _ => return None,
            }),
            // A NUL ends Prometheus' parser.
            '\0' => return None,
            letter => value.push(letter),
        }
    }
    None
}
