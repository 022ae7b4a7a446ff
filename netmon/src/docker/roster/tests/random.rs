//! Arbitrary events and answers in arbitrary order, and the invariants that hold after each of them.

use std::time::Duration;

use proptest::{
    prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest},
    test_runner::TestCaseError,
};

use super::{LINGER, Networks, Stage, World, after_its_end, container, network, place};
use crate::{
    docker::{
        convert::Change,
        question::{Answer, MembersAnswer, Question},
        roster::{
            Inspect, Track,
            containers::{ROUTINE_AT_ONCE, URGENT_AT_ONCE},
            member_poll,
        },
    },
    model::{
        inventory::{Container, ContainerId, Network, Node},
        peers::Members,
    },
};

/// More than may be asked for at the same time.
const CONTAINERS: u8 = 50;

#[derive(Clone, Debug)]
enum Step {
    /// An event of this kind about this container, this long ago.
    Event {
        what: u8,
        who: u8,
        ago: i64,
    },
    /// Every container starts at the same time.
    Burst,
    /// All questions that may be asked now are asked.
    Ask,
    /// The open question at this index is answered, in this way.
    Answer {
        which: prop::sample::Index,
        how: u8,
    },
    Sync,
    HangUp,
    Wait {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..9_u8, 0..CONTAINERS, 0..6_i64).prop_map(|(what, who, ago)| Step::Event { what, who, ago }),
        // Only three containers, so that events meet more often.
        12 => (0..9_u8, 0..3_u8, 0..6_i64).prop_map(|(what, who, ago)| Step::Event { what, who, ago }),
        1 => any::<()>().prop_map(|()| Step::Burst),
        10 => any::<()>().prop_map(|()| Step::Ask),
        20 => (any::<prop::sample::Index>(), 0..8_u8).prop_map(|(which, how)| Step::Answer { which, how }),
        2 => any::<()>().prop_map(|()| Step::Sync),
        1 => any::<()>().prop_map(|()| Step::HangUp),
        3 => (0..90_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

fn id(who: u8) -> ContainerId {
    format!("c{who}").into()
}

/// The roster and its open questions, as the loop around it keeps them.
struct Run {
    world: World,
    open: Vec<Question>,
    clock: i64,
}

impl Run {
    fn take(&mut self, step: &Step) {
        self.clock += 1;
        match *step {
            Step::Event { what, who, ago } => {
                let id = id(who);
                let change = match what {
                    0 => Change::Nothing,
                    1 => Change::Started(id),
                    2 => Change::Died(id),
                    3 => Change::Removed(id),
                    4 => Change::Altered(id),
                    5 => Change::Connected(id),
                    6 => Change::Disconnected(id),
                    7 => Change::Networks,
                    _ => Change::Node,
                };
                self.world.roster.event(change, self.clock - ago, self.world.now);
            }
            Step::Burst => {
                for who in 0..CONTAINERS {
                    self.world.event(Change::Started, &id(who), self.clock);
                }
            }
            Step::Ask => {
                let questions = self.world.questions(self.clock);
                self.open.extend(questions);
                self.world.news();
                let world = &mut self.world;
                self.open
                    .extend(std::iter::from_fn(|| world.roster.survey_question(world.now)));
                self.open.extend(world.roster.lookup_question(world.now));
            }
            Step::Answer { ref which, how } => {
                if !self.open.is_empty() {
                    let question = self.open.swap_remove(which.index(self.open.len()));
                    self.answer(&question, how);
                }
            }
            Step::Sync => self.world.roster.sync(),
            Step::HangUp => {
                self.world.roster.hang_up();
                self.open.clear();
            }
            Step::Wait { seconds } => self.world.wait(Duration::from_secs(seconds)),
        }
    }

    fn answer(&mut self, question: &Question, how: u8) {
        let world = &mut self.world;
        match question {
            Question::Node if how < 4 => world.roster.node(None),
            Question::Node => {
                let node = Node {
                    role: if how < 6 { "manager" } else { "worker" }.to_owned(),
                    ..Node::default()
                };
                world.roster.node(Some(node));
            }
            Question::Nodes => world.roster.nodes((how < 4).then(Vec::new)),
            Question::Members(network) => {
                let answer = match how {
                    0..=3 => MembersAnswer::Members(Members {
                        is_cut: how == 0,
                        ..Members::default()
                    }),
                    4 => MembersAnswer::NotHere,
                    _ => MembersAnswer::Nothing,
                };
                world.roster.members(network, answer);
            }
            Question::Networks if how == 0 => world.roster.networks(None),
            Question::Networks => {
                let driver = if how < 6 { "overlay" } else { "bridge" };
                let overlay = |name: &&str| Network {
                    driver: driver.to_owned(),
                    ..network(name)
                };
                let networks = ["net", "other"][usize::from(how % 2)..].iter().map(overlay).collect();
                let complete = how < 4;
                world.roster.networks(Some(Networks { networks, complete }));
            }
            Question::Containers => world.list((0..CONTAINERS / (how + 1)).map(id)),
            Question::Endpoints(ids) => {
                let found = ids.iter().take(how.into()).map(|id| (id.clone(), vec![place(how)]));
                world.roster.endpoints(found.collect(), world.now);
            }
            Question::Container(id) => {
                let running = container(id, if how < 2 { "a" } else { "b" }, how);
                match how {
                    0..=3 => world.answer(&running, Stage::Running),
                    4 => world.answer(&after_its_end(&running), Stage::Ended),
                    5 => world.answer(&after_its_end(&running), Stage::Restarting),
                    6 => world.answer(&after_its_end(&running), Stage::NotStarted),
                    _ => world.no_answer(
                        id,
                        if self.clock % 2 == 0 {
                            Answer::NotFound
                        } else {
                            Answer::Nothing
                        },
                    ),
                }
            }
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let roster = &self.world.roster;
        prop_assert!(roster.urgent_open <= URGENT_AT_ONCE);
        prop_assert!(roster.routine_open <= ROUTINE_AT_ONCE);
        let is_open =
            |track: &Track, wanted: bool| matches!(track.inspect, Inspect::Open { routine, .. } if routine == wanted);
        let open = |wanted| roster.tracks.values().filter(|track| is_open(track, wanted)).count();
        prop_assert_eq!((open(false), open(true)), (roster.urgent_open, roster.routine_open));
        let lookups = self
            .open
            .iter()
            .filter(|it| matches!(it, Question::Endpoints(_)))
            .count();
        prop_assert!(lookups <= 1);
        prop_assert_eq!(
            self.open.len() - lookups,
            roster.urgent_open + roster.routine_open + roster.open.len() + roster.member_poll.open()
        );
        prop_assert!(roster.member_poll.open() <= member_poll::AT_ONCE);
        for (id, track) in &roster.tracks {
            let known = track.known.as_deref();
            prop_assert!(known.is_some() || track.is_asked(), "{id} is tracked for nothing");
            prop_assert_eq!(
                known.is_some_and(|known| !known.running),
                track.expires.is_some(),
                "{} is kept for ever, or forgotten while it runs",
                id
            );
            prop_assert!(track.expires.is_none_or(|expires| expires <= self.world.now + LINGER));
            if matches!(track.inspect, Inspect::Queued) {
                prop_assert!(
                    roster.urgent.contains(id) || roster.routine.contains(id),
                    "{id} waits in no queue"
                );
            }
        }
        let before = self.world.inventory.clone();
        let news = self.world.news();
        prop_assert_eq!(news, self.world.inventory != before);
        let inventory = &self.world.inventory;
        for network in inventory.members.keys() {
            let is_on = |container: &Container| {
                let mut endpoints = container.endpoints.iter();
                container.running && endpoints.any(|endpoint| endpoint.network == *network)
            };
            prop_assert!(
                inventory.containers.values().any(|it| is_on(it)),
                "nobody here is on it"
            );
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn nothing_is_kept_for_ever_and_nothing_is_asked_without_bounds(steps in prop::collection::vec(step(), 0..150)) {
        let mut run = Run { world: World::new(), open: Vec::new(), clock: 100 };
        for step in &steps {
            run.take(step);
            run.check()?;
        }
        // Once every question is answered, only running containers remain after the linger.
        for _ in 0..1000 {
            run.take(&Step::Ask);
            let Some(question) = run.open.pop() else { break };
            run.answer(&question, 3);
            run.check()?;
        }
        prop_assert!(run.open.is_empty(), "the questions do not end");
        run.take(&Step::Wait { seconds: LINGER.as_secs() });
        run.check()?;
        let mut left = run.world.inventory.containers.values();
        prop_assert!(left.all(|container| container.running));
    }
}
