//! The Swarm's nodes, and the members of its networks.

use std::{sync::Arc, time::Duration};

use super::{Stage, World, container, network};
use crate::{
    docker::{
        convert::{Change, SwarmNode},
        question::{Answer, MembersAnswer, Networks, Question},
        roster::{member_poll::AT_ONCE, tests::PACE},
    },
    model::{
        inventory::{Network, Node},
        peers::{Member, Members, PeerSource},
    },
};

fn node(role: &str) -> Node {
    Node {
        hostname: "n1".to_owned(),
        role: role.to_owned(),
        ..Node::default()
    }
}

fn other(hostname: &str) -> SwarmNode {
    SwarmNode {
        id: format!("id of {hostname}").into(),
        hostname: hostname.into(),
        address: Some([10, 94, 0, 12].into()),
        is_ready: true,
    }
}

/// One member of a network, with this last byte of its address.
fn members(host: u8) -> Members {
    let member = Member {
        container: format!("web.{host}"),
        service: "web".to_owned(),
        node: Some([10, 94, 0, 12].into()),
    };
    Members {
        endpoints: [([10, 0, 0, host].into(), member)].into(),
        ..Members::default()
    }
}

impl World {
    /// The networks whose members are asked for now. Empty if there are none.
    fn surveys(&mut self) -> Vec<Question> {
        self.news();
        std::iter::from_fn(|| self.roster.survey_question(self.now)).collect()
    }

    fn overlays(&mut self, names: &[&str]) {
        let overlay = |name: &&str| Network {
            driver: "overlay".to_owned(),
            ..network(name)
        };
        let networks = names.iter().map(overlay).collect();
        self.roster.networks(Some(Networks {
            networks,
            complete: true,
        }));
    }

    fn hostnames(&mut self) -> Vec<String> {
        self.news();
        let peers = self.inventory.peers.nodes.values();
        peers.map(|peer| peer.hostname.to_string()).collect()
    }
}

fn asked(networks: &[&str]) -> Vec<Question> {
    networks.iter().map(|name| Question::Members((*name).into())).collect()
}

/// A node on the overlay network `net`, whose members are being asked for.
fn on_an_overlay() -> World {
    let mut world = World::synced(&[], 1);
    world.overlays(&["net", "far"]);
    world.runs(&container("c1", "a", 1), 10);
    assert_eq!(world.surveys(), asked(&["net"]), "nobody here is on the other");
    world
}

#[test]
fn a_manager_is_asked_for_the_nodes_and_a_worker_is_not() {
    let mut world = World::synced(&[], 1);
    world.roster.event(Change::Node, 2, world.now);
    assert_eq!(world.questions(2), [Question::Node]);
    assert_eq!(world.inventory.peers.source, PeerSource::Unknown);
    world.roster.node(Some(node("worker")));
    world.asks_nothing();
    world.news();
    assert_eq!(world.inventory.peers.source, PeerSource::Worker);

    world.roster.event(Change::Node, 3, world.now);
    world.questions(3);
    world.roster.node(Some(node("manager")));
    assert_eq!(world.questions(4), [Question::Nodes]);
    assert_eq!(world.hostnames(), [""; 0]);
    assert_eq!(
        world.inventory.peers.source,
        PeerSource::Worker,
        "it has not reported yet"
    );
    world.roster.nodes(Some(vec![other("n2")]));
    assert_eq!(world.hostnames(), ["n2"]);
    assert_eq!(world.inventory.peers.source, PeerSource::Manager);
}

#[test]
fn names_stay_when_a_manager_does_not_answer_and_go_when_it_is_none_any_more() {
    let mut world = World::synced(&[], 1);
    world.roster.node(Some(node("manager")));
    world.questions(2);
    world.roster.nodes(Some(vec![other("n2")]));
    assert_eq!(world.hostnames(), ["n2"]);
    world.roster.node(Some(node("manager")));
    world.questions(3);
    world.roster.nodes(None);
    assert!(!world.news());
    world.roster.node(None);
    assert_eq!(world.hostnames(), ["n2"]);
    world.roster.node(Some(node("worker")));
    // An answer that arrives after the change of role is outdated.
    world.roster.nodes(Some(vec![other("n3")]));
    assert_eq!(world.hostnames(), [""; 0]);
}

#[test]
fn who_is_on_a_network_is_told_and_ends_with_this_nodes_part_in_it() {
    let mut world = on_an_overlay();
    world.news();
    assert_eq!(world.inventory.members["net"], None, "it has not answered yet");
    world.roster.members(&"net".into(), MembersAnswer::Members(members(7)));
    assert!(world.news());
    assert_eq!(world.inventory.members["net"].as_deref(), Some(&members(7)));
    // The same answer again changes nothing.
    world.roster.members(&"net".into(), MembersAnswer::Members(members(7)));
    assert!(!world.news());
    world.roster.members(&"net".into(), MembersAnswer::Nothing);
    assert!(!world.news());
    world.event(Change::Died, "c1", 20);
    assert!(world.news());
    assert!(world.inventory.members.is_empty());
    assert_eq!(world.surveys(), []);
}

#[test]
fn a_network_that_the_engine_has_no_part_in_is_forgotten() {
    let mut world = on_an_overlay();
    world.roster.members(&"net".into(), MembersAnswer::Members(members(7)));
    world.roster.members(&"net".into(), MembersAnswer::NotHere);
    world.news();
    assert_eq!(world.inventory.members["net"], None);
}

#[test]
fn a_busy_network_is_not_asked_for_all_the_time() {
    let mut world = on_an_overlay();
    world.roster.members(&"net".into(), MembersAnswer::Members(members(7)));
    assert_eq!(world.roster.next_survey(), None);
    world.runs(&container("c2", "b", 2), 20);
    assert_eq!(world.surveys(), [], "it was asked for just now");
    assert_eq!(world.roster.next_survey(), Some(world.now + PACE));
    world.runs(&container("c3", "c", 3), 30);
    world.wait(PACE);
    assert_eq!(world.surveys(), asked(&["net"]));
    // A change during an open question causes one more question.
    world.event(Change::Died, "c2", 40);
    world.wait(PACE);
    assert_eq!(world.surveys(), []);
    world.roster.members(&"net".into(), MembersAnswer::Members(members(8)));
    assert_eq!(world.surveys(), asked(&["net"]));
}

#[test]
fn every_network_is_asked_for_at_a_sync_a_few_at_a_time() {
    let names: Vec<String> = (0..10).map(|number| format!("net{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::synced(&[], 1);
    world.overlays(&names);
    for (host, name) in (1..).zip(&names) {
        let mut member = container(&format!("c{host}"), name, host);
        member.endpoints[0].network = (*name).into();
        world.runs(&member, 10);
    }
    for _ in 0..2 {
        let mut all = Vec::new();
        loop {
            let some = world.surveys();
            assert!(some.len() <= AT_ONCE);
            if some.is_empty() {
                break;
            }
            for question in some {
                let Question::Members(network) = &question else {
                    panic!("{question:?}")
                };
                world.roster.members(network, MembersAnswer::Nothing);
                all.push(question);
            }
        }
        assert_eq!(all, asked(&names));
        world.wait(Duration::from_mins(1));
        world.roster.sync();
    }
}

#[test]
fn hanging_up_forgets_that_a_network_was_asked_for() {
    let mut world = on_an_overlay();
    world.roster.members(&"net".into(), MembersAnswer::Members(members(7)));
    world.wait(PACE);
    world.roster.sync();
    assert_eq!(world.surveys(), asked(&["net"]));
    world.roster.hang_up();
    world.news();
    assert_eq!(world.inventory.members["net"].as_deref(), Some(&members(7)));
    world.wait(PACE);
    assert_eq!(world.surveys(), asked(&["net"]));
}

#[test]
fn a_node_id_that_a_task_gives_away_is_joined_with_the_nodes_name() {
    let mut world = on_an_overlay();
    world.roster.node(Some(node("manager")));
    world.questions(12);
    world.roster.nodes(Some(vec![other("n2")]));
    let gossip = Members {
        nodes: [([10, 95, 0, 12].into(), "id of n2".into())].into(),
        ..members(7)
    };
    world.roster.members(&"net".into(), MembersAnswer::Members(gossip));
    assert_eq!(world.hostnames(), ["n2", "n2"]);
}

#[test]
fn nobody_is_asked_for_where_it_is_not_wanted() {
    let mut world = World::new();
    world.roster = super::Roster::new(super::LINGER, false, PACE);
    world.overlays(&["net"]);
    let one = container("c1", "a", 1);
    let id = Arc::clone(&one.id);
    world.event(Change::Started, &id, 10);
    world.questions(11);
    world.answer(&one, Stage::Running);
    assert_eq!(world.surveys(), []);
    assert!(world.inventory.members.is_empty());
    world.no_answer(&id, Answer::NotFound);
}
