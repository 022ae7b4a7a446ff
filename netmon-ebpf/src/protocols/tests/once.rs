//! What a namespace has besides the tables: what conntrack tracks, and TCP's sockets.

use netmon_common::protocols::NO_CONNTRACK;

use super::{
    super::{index, read},
    BASE, COUNT, COUNTS, DATA, FILE_LIST, FILE_TABLE, FILES, GENERIC, INDEX, NOWHERE, PROTOCOL, SETTING, SETTINGS,
    SETTINGS_TABLE, SOCK, SOCKETS, UNSET, World,
};

#[test]
fn sockets_are_the_sum_over_cpus_and_families() {
    let world = World::new(3);
    world.kernel.point(world.net, SOCKETS, COUNTS);
    let offset = |of: u32| u32::try_from(COUNTS - BASE).expect("small") + of;
    // A socket may end on another CPU than it began on.
    for (cpu, (ipv4, ipv6)) in [(5_i32, 7_i32), (-3, 1), (2, -4)].into_iter().enumerate() {
        for (at, count) in [(20, ipv4), (24, ipv6), (16, 1000), (28, 1000)] {
            world.kernel.write(world.cpus[cpu], offset(at), count.to_ne_bytes());
        }
    }
    let sockets = |ipv4: u32, ipv6: u32| {
        let [ipv4, ipv6] = [ipv4, ipv6].map(u64::from);
        read(&world, &[0, 4, 0, 0, 0, 0, ipv4, ipv6]);
        let row = world.row.get(&0).expect("the row");
        (row.failures, row.sockets.cast_signed())
    };
    assert_eq!(sockets(20, 24), (0, 4 + 4));
    assert_eq!(sockets(24, 20), (0, 4 + 4));
    // Without IPv6; not wanted.
    assert_eq!(sockets(20, UNSET), (0, 4));
    assert_eq!(sockets(UNSET, 24), (0, 4));
    assert_eq!(sockets(UNSET, UNSET), (0, 0));
    world.kernel.point(world.net, SOCKETS, 0);
    assert_ne!(sockets(20, 24).0, 0, "there are no counts");
    assert_eq!(sockets(UNSET, UNSET).0, 0);
}

#[test]
fn a_sockets_protocol_is_found_by_its_descriptor() {
    let world = World::new(1);
    let kernel = &world.kernel;
    let [files, table, list, file, socket, sock, protocol] = [(); 7].map(|()| kernel.structure());
    kernel.point(world.task, FILES, files);
    kernel.point(files, FILE_TABLE, table);
    kernel.point(table, FILE_LIST, list);
    kernel.point(list, 8 * 5, file);
    kernel.point(file, DATA, socket);
    kernel.point(socket, SOCK, sock);
    kernel.point(sock, PROTOCOL, protocol);
    kernel.write(protocol, INDEX, 9_u32.to_ne_bytes());
    let find = |descriptor, ticket| {
        index(&world, &[descriptor, ticket]);
        let row = world.row.get(&0).expect("the row");
        (row.ticket == ticket).then_some(row.sockets)
    };
    assert_eq!(find(5, 20), Some(9));
    assert_eq!(find(6, 21), None, "no file");
    kernel.point(file, DATA, NOWHERE);
    assert_eq!(find(5, 22), None);
}

#[test]
fn nothing_is_taken_for_conntracks_count_but_what_its_settings_lead_to() {
    let world = World::new(1);
    let kernel = &world.kernel;
    let entries = |id| world.read_with(0, 1, id).conntrack_entries;
    assert_eq!(entries(5), NO_CONNTRACK, "a namespace that has nothing of modules");
    let [pointers, its, settings, table, other] = [(); 5].map(|()| kernel.structure());
    kernel.point(world.net, GENERIC, pointers);
    kernel.write(pointers, 0, 8_u32.to_ne_bytes());
    for (at, of) in [(5, its), (6, other), (9, its)] {
        kernel.point(pointers, 8 * at, of);
    }
    let offset = |of: u64| u32::try_from(of).expect("small");
    kernel.write(its, offset(COUNT), 321_u32.to_ne_bytes());
    kernel.point(its, offset(SETTINGS), settings);
    kernel.point(settings, SETTINGS_TABLE, table);
    kernel.point(table, offset(SETTING), its + COUNT);
    assert_eq!(entries(5), 321);
    // Not asked; another module's; a number that nobody has; one behind the end.
    for id in [0, 6, 7, 9] {
        assert_eq!(entries(id), NO_CONNTRACK, "{id}");
    }
    // The setting of another number, such as that of another namespace.
    for elsewhere in [other + COUNT, its + COUNT + 4, NOWHERE, 0] {
        kernel.point(table, offset(SETTING), elsewhere);
        assert_eq!(entries(5), NO_CONNTRACK, "{elsewhere:x}");
    }
    // What is not conntrack's fails nothing else.
    assert_eq!(world.read_with(0, 2, 5).failures, 0);
}
