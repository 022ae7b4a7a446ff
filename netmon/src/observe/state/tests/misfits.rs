//! What is wrong with the host: namespaces that are not where netmon looks, and no namespace of the node's.

use std::{path::PathBuf, time::Instant};

use super::{LINGER, Listing, NetnsId, SCOPE, State, file, inventory};
use crate::{
    model::{health::MissingNamespace, inventory::Inventory, netns::NetnsFile},
    observe::state::{Misfit, News},
};

const NAME: &str = "aaaaaaaaaaaa";

fn listing(directory: &str, files: Vec<NetnsFile>, strays: &[&str]) -> Listing {
    Listing {
        directory: PathBuf::from(directory),
        is_missing: false,
        files,
        strays: strays.iter().map(PathBuf::from).collect(),
    }
}

/// A registry that has looked once, and knows the node's namespace.
fn begun(now: Instant) -> State {
    let mut state = State::new(SCOPE, LINGER);
    let node = file("default", 9);
    state.listed(listing("/netns", vec![node.clone()], &[]), now);
    state.looked(&node, NetnsId(1), Vec::new(), now);
    state.finish_first_look();
    state
}

fn counts(state: &State, now: Instant) -> Vec<usize> {
    state.missing_namespaces(now).into_values().collect()
}

/// The sentence that is said of this listing when one container runs.
fn said(last: Listing) -> String {
    let now = Instant::now();
    let mut state = begun(now);
    state.listed(last, now);
    state.set_inventory(inventory("web.1", NAME));
    assert_eq!(state.check_host(now), [], "it was said too soon");
    let news = state.check_host(now + state.times().namespace_patience);
    let [News::Begun(misfit)] = news.as_slice() else {
        panic!("{news:?}");
    };
    assert_eq!(state.misfit().as_ref(), Some(misfit));
    misfit.to_string()
}

#[track_caller]
fn says(sentence: &str, words: &[&str]) {
    for word in words {
        assert!(sentence.contains(word), "it does not say {word:?}: {sentence}");
    }
}

#[test]
fn a_missing_namespace_is_said_with_its_cause_and_its_remedy() {
    let node = || vec![file("default", 9)];
    says(
        &said(listing("/other/netns", node(), &[])),
        &["/var/run/docker/netns", "/other/netns", "--docker.netns-dir"],
    );
    says(
        &said(listing("/run/docker/netns", node(), &[])),
        &["host's directory", "rslave"],
    );
    let stray = said(listing(
        "/run/docker/netns",
        node(),
        &["/run/docker/netns/aaaaaaaaaaaa"],
    ));
    says(&stray, &["plain file", "do not reach netmon", "rslave"]);
    let nowhere = Listing {
        is_missing: true,
        ..listing("/other/netns", node(), &[])
    };
    let nowhere = said(nowhere);
    says(
        &nowhere,
        &[
            "no directory /other/netns",
            "/var/run/docker/netns",
            "--docker.netns-dir",
        ],
    );
}

#[test]
fn what_is_missing_is_said_once_while_it_lasts_and_when_it_is_over() {
    let now = Instant::now();
    let mut state = begun(now);
    let patience = state.times().namespace_patience;
    state.set_inventory(inventory("web.1", NAME));
    assert_eq!(state.check_host(now), []);
    assert_eq!(counts(&state, now), [0, 0, 0]);
    assert!(matches!(
        state.misfit(),
        Some(Misfit::Missing {
            reason: MissingNamespace::NoFile,
            containers: 1,
            ..
        })
    ));
    assert_eq!(state.check_host(now + patience).len(), 1);
    assert_eq!(counts(&state, now + patience), [0, 1, 0]);
    // The engine says the same again, and the directory is listed again.
    state.set_inventory(inventory("web.1", NAME));
    state.listed(listing("/netns", vec![file("default", 9)], &[]), now);
    assert_eq!(state.check_host(now + 2 * patience), []);
    assert_eq!(counts(&state, now + 2 * patience), [0, 1, 0]);
    state.listed(listing("/netns", vec![file("default", 9), file(NAME, 5)], &[]), now);
    assert_eq!(state.check_host(now + 2 * patience), [News::Over]);
    assert_eq!(counts(&state, now + 2 * patience), [0, 0, 0]);
    assert_eq!(state.misfit(), None);
}

#[test]
fn a_container_that_has_just_started_or_ended_is_no_fault() {
    let now = Instant::now();
    let mut state = begun(now);
    let patience = state.times().namespace_patience;
    // The engine says that it runs before its namespace is listed.
    state.set_inventory(inventory("web.1", NAME));
    assert_eq!(state.check_host(now), []);
    let sandbox = PathBuf::from(format!("/var/run/docker/netns/{NAME}"));
    assert!(!state.is_removed(&sandbox), "it was never there");
    state.listed(listing("/netns", vec![file("default", 9), file(NAME, 5)], &[]), now);
    assert_eq!(state.check_host(now + patience), []);
    assert!(!state.is_removed(&sandbox), "it is there");
    // Its namespace is gone, and an engine that does not answer goes on saying that it runs.
    state.listed(listing("/netns", vec![file("default", 9)], &[]), now);
    state.set_inventory(inventory("web.1", NAME));
    assert_eq!(state.check_host(now + patience), []);
    assert_eq!(state.check_host(now + 10 * patience), []);
    assert_eq!(state.misfit(), None);
    assert!(state.is_removed(&sandbox), "it is gone");
    // One that ended before its namespace was seen.
    state.set_inventory(inventory("web.2", "bbbbbbbbbbbb"));
    assert_eq!(state.check_host(now), []);
    state.set_inventory(Inventory::default().into());
    assert_eq!(state.check_host(now + patience), []);
}

#[test]
fn a_netmon_without_the_nodes_namespace_says_so_once() {
    let now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    let own = file(NAME, 5);
    state.listed(listing("/netns", vec![own.clone()], &[]), now);
    // Nothing has been looked at yet.
    assert_eq!(state.check_host(now), []);
    assert_eq!(state.misfit(), None);
    state.looked(&own, NetnsId(1), Vec::new(), now);
    state.finish_first_look();
    assert_eq!(state.check_host(now), [News::Begun(Misfit::NoNode)]);
    assert_eq!(state.check_host(now), []);
    let sentence = state.misfit().expect("no node").to_string();
    says(&sentence, &["--network host", "--path.node-netns"]);
}

#[test]
fn while_the_directory_cannot_be_read_nobody_knows_whether_a_namespace_is_the_nodes() {
    let now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    // Listing it has failed, and was logged.
    state.finish_first_look();
    assert_eq!(state.check_host(now), []);
    assert_eq!(state.misfit(), Some(Misfit::Unlisted), "it is not ready");
    state.listed(listing("/netns", Vec::new(), &[]), now);
    assert_eq!(state.check_host(now), [News::Begun(Misfit::NoNode)]);
}

#[test]
fn a_path_of_the_engines_cannot_fill_the_log() {
    let misfit = Misfit::Missing {
        reason: MissingNamespace::NoFile,
        containers: 2,
        engines: PathBuf::from("/x\n".repeat(10_000)),
        directory: PathBuf::from("/netns"),
    };
    let sentence = misfit.to_string();
    assert!(sentence.len() < 1_000 && !sentence.contains('\n'), "{sentence}");
}
