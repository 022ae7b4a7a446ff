//! Programs on loopback: which namespaces get one, and when.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use netmon_common::dns::Dns;

use super::{ETH0, device, file, inventory, one_container, readings::attach};
use crate::{
    model::{
        dns::{DnsCounts, DnsReading},
        health::AttachFailure,
        interface::{InterfaceId, LOOPBACK, NetnsId},
        netns::Listing,
        programs::Handle,
    },
    observe::state::{Candidate, State},
};

/// What a namespace asked: so many queries.
#[derive(Debug)]
struct Asked(u64);

impl DnsCounts for Asked {
    fn read(&self) -> DnsReading {
        DnsReading {
            docker: Dns {
                queries: [self.0; 5],
                ..Dns::default()
            },
            ..DnsReading::default()
        }
    }
}

/// A registry with one container whose interface has programs, where DNS is counted.
fn with_programs(now: Instant) -> (State, NetnsId) {
    let (mut state, _, netns) = one_container(now);
    state.set_counts_dns(true);
    attach(&mut state, netns, 7, 0);
    (state, netns)
}

fn put(state: &mut State, netns: NetnsId, handle: u64, now: Instant) {
    let counts: Arc<dyn DnsCounts> = Arc::new(Asked(handle));
    assert!(state.loopback_attached(netns, Ok((Handle(handle), Some(counts))), now));
}

fn ids(candidates: impl IntoIterator<Item = Candidate>) -> Vec<NetnsId> {
    let ids = candidates.into_iter().map(|candidate| {
        assert_eq!(candidate.id.ifindex, LOOPBACK);
        candidate.id.netns
    });
    ids.collect()
}

#[test]
fn loopback_gets_a_program_after_an_interface_and_only_where_dns_is_counted() {
    let now = Instant::now();
    let (mut state, _, netns) = one_container(now);
    state.set_counts_dns(true);
    assert!(state.loopback_candidate(now).is_none(), "its interface comes first");
    assert_eq!(state.waiting(now), 1);
    attach(&mut state, netns, 7, 0);
    assert_eq!(
        (ids(state.loopback_candidate(now)), state.waiting(now)),
        (vec![netns], 1)
    );
    put(&mut state, netns, 8, now);
    assert!(state.loopback_candidate(now).is_none());
    assert_eq!(state.waiting(now), 0);
    let id = InterfaceId {
        netns,
        ifindex: LOOPBACK,
    };
    assert_eq!(state.handle(id), Some(Handle(8)));
    let (mut state, netns) = with_programs(now);
    state.set_counts_dns(false);
    assert!(state.loopback_candidate(now).is_none());
    assert_eq!((state.waiting(now), netns), (0, NetnsId(100)));
}

#[test]
fn on_the_default_bridge_nobody_can_ask_the_engine() {
    let now = Instant::now();
    let (mut state, netns) = with_programs(now);
    assert!(state.may_ask_engine(netns));
    let mut on_bridge = Arc::unwrap_or_clone(inventory("web.1", "aaaaaaaaaaaa"));
    for container in on_bridge.containers.values_mut() {
        for endpoint in &mut Arc::make_mut(container).endpoints {
            "bridge".clone_into(&mut endpoint.network_name);
        }
    }
    // A network once found stays, so this is another container.
    let other = file("bbbbbbbbbbbb", 2);
    let container = Arc::unwrap_or_clone(Arc::clone(&on_bridge.containers["aaaaaaaaaaaa"]));
    on_bridge.containers = [(
        "bbbbbbbbbbbb".into(),
        Arc::new(crate::model::inventory::Container {
            id: "bbbbbbbbbbbb".into(),
            sandbox: crate::model::inventory::Sandbox::Own("/var/run/docker/netns/bbbbbbbbbbbb".into()),
            ..container
        }),
    )]
    .into();
    let files = vec![other.clone()];
    state.listed(
        Listing {
            files,
            ..Listing::default()
        },
        now,
    );
    state.looked(&other, NetnsId(200), vec![device(ETH0, "eth0")], now);
    state.set_inventory(Arc::new(on_bridge));
    attach(&mut state, NetnsId(200), 9, 0);
    assert!(!state.may_ask_engine(NetnsId(200)));
    assert!(state.loopback_candidate(now).is_none());
}

#[test]
fn a_loopback_that_gets_no_program_is_tried_again_later_and_counted_once() {
    let now = Instant::now();
    let (mut state, netns) = with_programs(now);
    let mut at = now;
    for _ in 0..3 {
        assert_eq!(ids(state.loopback_candidate(at)), [netns]);
        assert!(state.loopback_attached(netns, Err(AttachFailure::Attach), at));
        assert!(state.loopback_candidate(at).is_none());
        let next = state.next_try(at, Duration::ZERO).expect("a time");
        assert!(next > at);
        at = next;
    }
    assert_eq!(state.attach_health(at).failures[&AttachFailure::Attach], 1);
    assert_eq!(state.waiting(at), 0, "it has failed");
}

#[test]
fn where_interfaces_wait_all_the_time_loopbacks_have_their_turn() {
    let now = Instant::now();
    let (mut state, netns) = with_programs(now);
    let more: Vec<_> = (20..24).map(|ifindex| device(ifindex, "eth1")).collect();
    let all = [vec![device(ETH0, "eth0")], more].concat();
    let mut asked = 0;
    for _ in 0..3 {
        // Its devices are new again and again.
        state.looked(&file("aaaaaaaaaaaa", 1), netns, all.clone(), now);
        if let Some(candidate) = state.next_candidate(now + Duration::from_secs(9), Duration::ZERO)
            && candidate.id.ifindex == LOOPBACK
        {
            asked += 1;
        }
        let nothing = InterfaceId { netns, ifindex: 99 };
        state.attached(nothing, Err(AttachFailure::Gone), now);
    }
    assert!(asked >= 1, "it never had one");
}

#[test]
fn each_loopback_is_verified_in_its_turn() {
    let now = Instant::now();
    let (mut state, _) = with_programs(now);
    assert!(state.loopbacks_to_verify().is_empty(), "there is no program");
    for number in 0..40 {
        let name = format!("{number:012x}");
        let netns = NetnsId(1_000 + number);
        state.looked(&file(&name, 10 + number), netns, vec![device(ETH0, "eth0")], now);
        put(&mut state, netns, 50 + number, now);
    }
    let rounds: Vec<_> = (0..4).map(|_| ids(state.loopbacks_to_verify())).collect();
    assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 8, 0]);
    let verified: Vec<_> = rounds.concat();
    assert_eq!(verified, (1_000..1_040).map(NetnsId).collect::<Vec<_>>());
    assert_eq!(ids(state.loopbacks_to_verify()), rounds[0], "and again");
}

#[test]
fn a_program_that_somebody_detached_is_attached_again() {
    let now = Instant::now();
    let (mut state, netns) = with_programs(now);
    put(&mut state, netns, 8, now);
    let id = InterfaceId {
        netns,
        ifindex: LOOPBACK,
    };
    state.mark_detached(id);
    assert_eq!(
        (state.handle(id), ids(state.loopback_candidate(now))),
        (None, vec![netns])
    );
    assert_eq!(state.attach_health(now).failures[&AttachFailure::Detached], 1);
}

#[test]
fn a_namespace_that_ends_gives_its_program_up_and_keeps_its_counts_while_it_lingers() {
    let now = Instant::now();
    let (mut state, netns) = with_programs(now);
    put(&mut state, netns, 8, now);
    state.listed(Listing::default(), now);
    assert!(state.take_over().contains(&Handle(8)));
    let counts: Vec<_> = state
        .dns_counts()
        .map(|(netns, counts)| (netns, counts.read()))
        .collect();
    assert_eq!(counts.len(), 1);
    assert_eq!((counts[0].0, counts[0].1.docker.queries[0]), (netns, 8));
    state.expire(now + Duration::from_hours(1));
    assert_eq!(state.dns_counts().count(), 0);
}

#[test]
fn a_namespace_that_appears_again_gets_a_new_program() {
    let now = Instant::now();
    let (mut state, netns) = with_programs(now);
    put(&mut state, netns, 8, now);
    state.listed(Listing::default(), now);
    state.looked(&file("aaaaaaaaaaaa", 1), netns, vec![device(ETH0, "eth0")], now);
    state.name();
    attach(&mut state, netns, 9, 0);
    assert_eq!(ids(state.loopback_candidate(now)), [netns]);
    assert_eq!(state.take_programs().len(), 1, "the interface's");
    put(&mut state, netns, 10, now);
    let handles: Vec<_> = state.take_programs().into_iter().map(|(_, handle)| handle).collect();
    assert_eq!(handles, [Handle(10)]);
}
