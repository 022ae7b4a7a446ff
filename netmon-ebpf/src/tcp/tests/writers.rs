//! Which program writes which word. A program may interrupt another on one CPU, between the load and the store of a
//! word.

use std::collections::BTreeSet;

use netmon_common::tcp::{PROGRAMS, Tcp};

use super::{
    CLOSE, ECONNRESET, ESTABLISHED, FIN_WAIT_1, HERE, LISTEN, Object as _, SYN_RECEIVED, SYN_SENT, World, is_sampled,
    reset_received, reset_sent, retransmitted, retransmitted_syn_ack, segment_received, state_changed,
};

/// The words that are not 0, each with its name.
fn words(tcp: &Tcp) -> BTreeSet<String> {
    let Tcp {
        retransmitted_segments,
        retransmitted_syn_acks,
        resets_sent,
        resets_received,
        resets_taken_back,
        connects,
        accepts,
        failures,
        states,
        round_trips,
        round_trip_microseconds,
    } = tcp;
    let single = [
        ("retransmitted_segments", retransmitted_segments),
        ("retransmitted_syn_acks", retransmitted_syn_acks),
        ("resets_sent", resets_sent),
        ("resets_received", resets_received),
        ("resets_taken_back", resets_taken_back),
        ("connects", connects),
        ("accepts", accepts),
        ("round_trip_microseconds", round_trip_microseconds),
    ];
    let single = single.into_iter().map(|(name, word)| (name.to_owned(), word));
    let lists = [
        ("failures", &failures[..]),
        ("states", &states[..]),
        ("round_trips", &round_trips[..]),
    ];
    let lists = lists.into_iter().flat_map(|(name, list)| {
        let words = list.iter().enumerate();
        words.map(move |(index, word)| (format!("{name}[{index}]"), word))
    });
    let changed = single.chain(lists).filter(|(_, word)| **word != 0);
    changed.map(|(name, _)| name).collect()
}

/// The words that a program writes, given all that may happen to it.
fn written(program: &str) -> BTreeSet<String> {
    let world = World::new();
    let (socket, packet) = (world.socket(HERE), world.packet(1, 0));
    match program {
        "tcp_retransmit" => retransmitted(&world, &[socket, packet]),
        "tcp_retransmit_syn_ack" => retransmitted_syn_ack(&world, &[world.socket(HERE), socket]),
        "tcp_reset_sent" => {
            reset_sent(&world, &[socket, packet]);
            let closed = u8::try_from(CLOSE).expect("a state is small");
            world.kernel.write(socket, world.socket_state(), [closed]);
            world
                .kernel
                .write(socket, world.socket_error(), ECONNRESET.to_ne_bytes());
            reset_sent(&world, &[socket, packet]);
        }
        "tcp_reset_received" => reset_received(&world, &[socket]),
        "tcp_state" => {
            for [old, new] in [
                [SYN_SENT, ESTABLISHED],
                [LISTEN, SYN_RECEIVED],
                [SYN_RECEIVED, ESTABLISHED],
                [FIN_WAIT_1, CLOSE],
            ] {
                state_changed(&world, &[socket, old as u64, new as u64]);
            }
            for error in [0_i32, 1, 104, 110, 111, 113] {
                world.kernel.write(socket, world.socket_error(), error.to_ne_bytes());
                state_changed(&world, &[socket, SYN_SENT as u64, CLOSE as u64]);
            }
            for field in [world.tcp_segments_sent(), world.tcp_retransmits()] {
                world.kernel.write(socket, world.socket_error(), 0_i32.to_ne_bytes());
                world.kernel.write(socket, field, 1_u32.to_ne_bytes());
                state_changed(&world, &[socket, SYN_SENT as u64, CLOSE as u64]);
            }
        }
        "tcp_round_trip" => {
            let sampled = (1..1000).find(|it| is_sampled(*it)).expect("one in several is");
            for microseconds in [1_u32, 300, 1_000_000] {
                let smoothed = (8 * microseconds).to_ne_bytes();
                world.kernel.write(socket, world.tcp_round_trip(), smoothed);
                segment_received(&world, &[socket, world.packet(1, sampled)]);
            }
        }
        other => panic!("what does {other} do?"),
    }
    let all = world.counts.all();
    all.iter().flat_map(|(_, tcp)| words(tcp)).collect()
}

#[test]
fn no_word_has_two_programs_that_write_it() {
    let mut all: Vec<String> = Vec::new();
    for program in PROGRAMS {
        let its = written(program.name);
        assert!(!its.is_empty(), "{} counts nothing", program.name);
        let shared: Vec<_> = its.iter().filter(|word| all.contains(word)).collect();
        assert!(shared.is_empty(), "{} and another write {shared:?}", program.name);
        all.extend(its);
    }
}
