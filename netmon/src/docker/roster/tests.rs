//! The roster, with events and answers in every possible order.
//!
//! Wall clock times are small numbers here. Only their order matters.

mod lists;
mod load;
mod peers;
mod random;
mod runs;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Question, Roster};
use crate::{
    docker::{
        convert::{Change, Described, Listed, Stage, Summary},
        question::{Answer, Networks},
    },
    model::inventory::{Container, ContainerId, Endpoint, Identity, Inventory, Network, Sandbox},
};

const LINGER: Duration = Duration::from_mins(1);
/// How long a network is not asked again.
const PACE: Duration = Duration::from_secs(5);

/// A roster, and a clock that the test advances.
struct World {
    /// What lists and descriptions say of containers.
    summaries: BTreeMap<ContainerId, Summary>,
    roster: Roster,
    now: Instant,
    inventory: Arc<Inventory>,
}

impl World {
    fn new() -> Self {
        Self {
            summaries: BTreeMap::new(),
            roster: Roster::new(LINGER, true, PACE),
            now: Instant::now(),
            inventory: Arc::default(),
        }
    }

    /// Passes the roster an event about a container, with this change.
    fn event(&mut self, change: fn(ContainerId) -> Change, container: &str, at: i64) {
        self.roster.event(change(container.into()), at, self.now);
    }

    /// Every question that may be asked now.
    fn questions(&mut self, asked: i64) -> Vec<Question> {
        std::iter::from_fn(|| self.roster.question(asked)).collect()
    }

    /// Asserts that the only question now is about this container.
    #[track_caller]
    fn asks_for(&mut self, container: &str, asked: i64) {
        assert_eq!(self.questions(asked), [Question::Container(container.into())]);
    }

    #[track_caller]
    fn asks_nothing(&mut self) {
        assert_eq!(self.questions(i64::MAX), []);
    }

    fn answer(&mut self, container: &Container, stage: Stage) {
        let container = container.clone();
        let id = Arc::clone(&container.id);
        let summary = self.summaries.get(&id).copied();
        let answer = Answer::Described(Box::new(Described {
            container,
            stage,
            summary,
        }));
        self.roster.container(&id, answer, self.now);
    }

    fn no_answer(&mut self, container: &str, answer: Answer) {
        self.roster.container(&container.into(), answer, self.now);
    }

    /// A container that started, was asked for at this moment, and runs.
    fn runs(&mut self, container: &Container, asked: i64) {
        self.event(Change::Started, &container.id, asked - 1);
        self.asks_for(&container.id, asked);
        self.answer(container, Stage::Running);
    }

    /// Passes the roster a list of running containers.
    fn list(&mut self, running: impl IntoIterator<Item = ContainerId>) {
        let listed = running.into_iter().map(|id| Listed {
            summary: self.summaries.get(&id).copied(),
            id,
        });
        self.roster.containers(listed.collect());
    }

    /// Passes the roster a list of networks.
    fn networks(&mut self, names: &[&str], complete: bool) {
        let networks = names.iter().map(|name| network(name)).collect();
        self.roster.networks(Some(Networks { networks, complete }));
    }

    /// A world after its first full sync, at this moment, which found these networks and no container.
    fn synced(networks: &[&str], asked: i64) -> Self {
        let mut world = Self::new();
        world.roster.sync();
        assert_eq!(world.questions(asked).len(), 3);
        world.roster.node(None);
        world.networks(networks, true);
        world.list([]);
        assert!(world.roster.synced());
        world.news();
        world
    }

    /// Whether there is a new inventory. It becomes the world's current one.
    fn news(&mut self) -> bool {
        let news = self.roster.take_news();
        let is_news = news.is_some();
        if let Some(inventory) = news {
            self.inventory = inventory;
        }
        is_news
    }

    /// The known description of a container.
    fn known(&mut self, container: &str) -> Option<Container> {
        self.news();
        self.inventory.containers.get(container).map(|known| (**known).clone())
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.roster.expire(self.now);
    }
}

fn network(id: &str) -> Network {
    Network {
        id: id.into(),
        name: format!("the {id}"),
        ..Network::default()
    }
}

/// An endpoint on the network `net` that can be located, with this last byte of its address.
pub(super) fn place(host: u8) -> Endpoint {
    Endpoint {
        network: "net".into(),
        network_name: "the net".to_owned(),
        mac: None,
        addresses: vec![[10, 0, 0, host].into()],
        ..Endpoint::default()
    }
}

/// An endpoint on the network `net` as engines describe it after the container's end.
fn no_place() -> Endpoint {
    Endpoint {
        addresses: Vec::new(),
        ..place(0)
    }
}

fn own(file: &str) -> Sandbox {
    Sandbox::Own(PathBuf::from(format!("/netns/{file}")))
}

/// A running container in this sandbox, with one endpoint.
fn container(id: &str, sandbox: &str, host: u8) -> Container {
    Container {
        id: id.into(),
        identity: Arc::new(Identity {
            container: format!("the {id}"),
            ..Identity::default()
        }),
        image: String::new(),
        task_id: String::new(),
        task_slot: String::new(),
        network_mode: "net".to_owned(),
        sandbox: own(sandbox),
        endpoints: vec![place(host)],
        started: None,
        running: true,
    }
}

/// The same container as a newer engine describes it after its end, without sandbox and addresses.
fn after_its_end(container: &Container) -> Container {
    Container {
        sandbox: Sandbox::Absent,
        endpoints: vec![no_place()],
        ..ended(container)
    }
}

fn ended(container: &Container) -> Container {
    Container {
        started: None,
        running: false,
        ..container.clone()
    }
}
