//! Which words of the kernel's tables are added up. The namespace, the tables and the CPUs are a test's own.

mod once;

use netmon_common::protocols::{
    COUNTERS, CPUS_A_RUN, DEVICES, MAY_QUEUE, NO_CONNTRACK, NO_QUEUES, Row, TABLES, WINDOWS,
};

use super::{Object, Scratch, Shifts, locate, ones_unless_zero, read};
use crate::{
    kernel::UNSET,
    maps::Array,
    testing::{HERE, NOWHERE, Structures, Table, numbers, with_structures},
};

/// The fields of the test's structures.
const NAMESPACES: u32 = 16;
const NET: u32 = 24;
const SOMAXCONN: u32 = 100;
const TIME_WAIT: u32 = 104;
const FIRST_TABLE: u32 = 200;
const POINTERS: u32 = 64;
const DEVICE_LIST: u32 = 300;
const LISTED: u32 = 40;
const QDISC: u32 = 72;
const OPERATIONS: u32 = 16;
const ID: u32 = 24;
const GENERIC: u32 = 308;
const SETTINGS_TABLE: u32 = 32;
const SOCKETS: u32 = 316;
const FILES: u32 = 20;
const FILE_TABLE: u32 = 28;
const FILE_LIST: u32 = 36;
const DATA: u32 = 44;
const SOCK: u32 = 52;
const PROTOCOL: u32 = 60;
const INDEX: u32 = 68;
/// The per-CPU pointer to the counts of sockets.
const COUNTS: u64 = BASE + TABLES as u64 * BYTES;
/// Conntrack's: its count, its settings, and where among these the count's address is.
const COUNT: u64 = 12;
const SETTINGS: u64 = 48;
const SETTING: u64 = 72;

/// A per-CPU pointer, and how many bytes lie between two tables.
const BASE: u64 = 0x5000;
const BYTES: u64 = 80;

/// The first counter of each window, how many it has, and where each one is in it.
const FIRST: [u32; WINDOWS] = [1, 2, 9, 6, 0, 3];
const WORDS: [u32; WINDOWS] = [5, 7, 1, 1, 6, 4];
const PLACES: [u32; COUNTERS] = [0, 1, 4, 6, 5, 0, 1, 0, 0, 0, 3, 4, 5, 0, 3];
/// The windows of the counters, and the tables with each window.
const WINDOW: [usize; COUNTERS] = [0, 0, 0, 1, 1, 1, 1, 2, 3, 4, 4, 4, 4, 5, 5];
const TABLES_OF: [&[u64]; WINDOWS] = [&[0], &[1], &[1], &[1], &[2, 4], &[3, 5]];

struct World {
    kernel: Structures,
    task: u64,
    net: u64,
    tables: [u32; TABLES],
    /// Each CPU's memory.
    cpus: Vec<u64>,
    map: u64,
    shifts: Table<u32, Shifts>,
    row: Table<u32, Row>,
    scratch: Table<u32, Scratch>,
}

with_structures!(World: kernel);

impl Object for World {
    numbers! {
        task_namespaces = NAMESPACES;
        namespaces_net = NET;
        namespace_somaxconn = SOMAXCONN;
        namespace_time_wait = TIME_WAIT;
        array_pointers = POINTERS;
        namespace_devices = DEVICE_LIST;
        device_listed = LISTED;
        device_qdisc = QDISC;
        qdisc_operations = OPERATIONS;
        operations_id = ID;
        namespace_generic = GENERIC;
        settings_table = SETTINGS_TABLE;
        namespace_sockets = SOCKETS;
        task_files = FILES;
        files_table = FILE_TABLE;
        table_files = FILE_LIST;
        file_data = DATA;
        socket_sock = SOCK;
        sock_protocol = PROTOCOL;
        protocol_index = INDEX;
    }

    fn namespace_cookie(&self) -> u32 {
        crate::kernel::Kernel::namespace_cookie(&self.kernel)
    }

    fn cpus(&self) -> u32 {
        u32::try_from(self.cpus.len()).expect("few")
    }

    fn table(&self, table: usize) -> u32 {
        self.tables[table]
    }

    fn first(&self, window: usize) -> u32 {
        FIRST[window]
    }

    fn words(&self, window: usize) -> u32 {
        WORDS[window]
    }

    fn place(&self, counter: usize) -> u32 {
        PLACES[counter]
    }

    fn shifts(&self) -> &impl Array<Shifts> {
        &self.shifts
    }

    fn row(&self) -> &impl Array<Row> {
        &self.row
    }

    fn scratch(&self) -> &impl Array<Scratch> {
        &self.scratch
    }

    fn current_task(&self) -> u64 {
        self.task
    }

    fn scratch_map(&self) -> u64 {
        self.map
    }

    fn scratch_on(&self, cpu: u32) -> u64 {
        self.cpus.get(cpu as usize).copied().unwrap_or(0)
    }
}

impl World {
    /// A namespace on a machine with so many CPUs, all of which are located. Every counter is 0.
    fn new(cpus: usize) -> Self {
        let kernel = Structures::default();
        let (task, namespaces, map) = (kernel.structure(), kernel.structure(), kernel.structure());
        let net = kernel.namespace(HERE);
        kernel.point(task, NAMESPACES, namespaces);
        kernel.point(namespaces, NET, net);
        kernel.point(map, POINTERS, BASE);
        kernel.write(net, SOMAXCONN, 4096_u32.to_ne_bytes());
        kernel.write(net, TIME_WAIT, 3_u32.to_ne_bytes());
        let tables = [0, 1, 2, 3, 4, 5].map(|table| FIRST_TABLE + 8 * table);
        for (table, offset) in (0..).zip(tables) {
            kernel.point(net, offset, BASE + table * BYTES);
        }
        kernel.point(net, DEVICE_LIST, net + u64::from(DEVICE_LIST));
        let world = Self {
            task,
            net,
            tables,
            cpus: (0..cpus).map(|_| kernel.structure()).collect(),
            map,
            shifts: Table::with([(0, [0; _])]),
            row: Table::with([(0, Row::default())]),
            scratch: Table::with([(0, [0; _])]),
            kernel,
        };
        for cpu in 0..world.cpus.len() as u64 {
            locate(&world, &[cpu, cpu, 1]);
        }
        world
    }

    /// Gives the namespace devices with these queueing disciplines.
    fn devices(&self, disciplines: &[&str]) {
        let head = self.net + u64::from(DEVICE_LIST);
        let mut last = (self.net, DEVICE_LIST);
        for name in disciplines {
            let [device, discipline, operations] = [(); 3].map(|()| self.kernel.structure());
            self.kernel.point(last.0, last.1, device + u64::from(LISTED));
            self.kernel.point(device, QDISC, discipline);
            self.kernel.point(discipline, OPERATIONS, operations);
            self.kernel.write(operations, ID, name);
            last = (device, LISTED);
        }
        self.kernel.point(last.0, last.1, head);
    }

    /// Sets a counter in one of its tables.
    fn set(&self, cpu: usize, table: u64, counter: usize, value: u64) {
        let word = FIRST[WINDOW[counter]] + PLACES[counter];
        let offset = u32::try_from(table * BYTES).expect("small") + 8 * word;
        self.kernel.write(self.cpus[cpu], offset, value.to_ne_bytes());
    }

    fn read(&self, first: u64, ticket: u64) -> Row {
        self.read_with(first, ticket, 0)
    }

    /// Reads, with conntrack under this number.
    fn read_with(&self, first: u64, ticket: u64, id: u64) -> Row {
        let none = u64::from(UNSET);
        read(self, &[first, ticket, id, SETTING, COUNT, SETTINGS, none, none]);
        self.row.get(&0).expect("the row")
    }
}

#[test]
fn a_cpus_memory_is_where_the_value_of_a_map_is() {
    let world = World::new(2);
    let shifts = world.shifts.get(&0).expect("the list");
    for (shift, place) in shifts.iter().zip(&world.cpus) {
        assert_eq!(BASE.wrapping_add(*shift), *place);
    }
    // The second CPU has another number than its index.
    let mut world = World::new(0);
    world.cpus = vec![0, 0, 0, world.kernel.structure()];
    locate(&world, &[1, 3, 5]);
    let shifts = world.shifts.get(&0).expect("the list");
    assert_eq!((shifts[0], BASE.wrapping_add(shifts[1])), (0, world.cpus[3]));
    let ticket = |world: &World| world.row.get(&0).expect("the row").ticket;
    assert_eq!(ticket(&world), 5);
    // A CPU that there is not; a map that cannot be read.
    locate(&world, &[2, 4, 6]);
    assert_eq!(ticket(&world), 5);
    world.map = NOWHERE;
    locate(&world, &[2, 3, 7]);
    assert_eq!(ticket(&world), 5);
}

#[test]
fn every_counter_is_the_sum_over_cpus_and_families() {
    let world = World::new(3);
    let mut expected = [0_u64; COUNTERS];
    for (counter, sum) in expected.iter_mut().enumerate() {
        for cpu in 0..3 {
            for table in TABLES_OF[WINDOW[counter]] {
                let value = 1 << (4 * counter) | (cpu as u64 + 1) << 61 | *table << 8;
                world.set(cpu, *table, counter, value);
                *sum = sum.wrapping_add(value);
            }
        }
    }
    // Each reading begins at 0.
    for ticket in [7, 8] {
        let row = world.read(0, ticket);
        assert_eq!(
            row,
            Row {
                ticket,
                cookie: HERE,
                failures: 0,
                somaxconn: 4096,
                time_wait: 3,
                queues: NO_QUEUES,
                conntrack_entries: NO_CONNTRACK,
                sockets: 0,
                counts: expected,
            }
        );
    }
}

#[test]
fn what_is_too_much_for_one_run_is_read_by_the_next() {
    let world = World::new(CPUS_A_RUN as usize + 2);
    for cpu in 0..world.cpus.len() {
        world.set(cpu, 0, 0, 1);
    }
    let counts = [0, u64::from(CPUS_A_RUN)].map(|first| world.read(first, 1).counts[0]);
    assert_eq!(counts, [u64::from(CPUS_A_RUN), 2]);
    assert_eq!(world.read(u64::from(CPUS_A_RUN) + 2, 1).counts[0], 0);
}

#[test]
fn without_ipv6_there_is_nothing_to_add() {
    let without = |change: fn(&mut World)| {
        let mut world = World::new(2);
        for table in 0..6 {
            let counter = WINDOW.iter().position(|window| TABLES_OF[*window].contains(&table));
            world.set(1, table, counter.expect("each table has counters"), 5);
        }
        change(&mut world);
        let row = world.read(0, 1);
        (row.failures, [0, 3, 9, 13].map(|counter| row.counts[counter]))
    };
    assert_eq!(without(|_| {}), (0, [5, 5, 10, 10]));
    // Switched off; not built in.
    assert_eq!(
        without(|world| {
            for table in [4, 5] {
                world.kernel.point(world.net, world.tables[table], 0);
            }
        }),
        (0, [5; 4])
    );
    assert_eq!(without(|world| world.tables[4..].fill(UNSET)), (0, [5; 4]));
}

#[test]
fn what_cannot_be_read_is_said() {
    let mut world = World::new(2);
    // A third CPU, which was not located.
    world.cpus.push(world.kernel.structure());
    let row = world.read(0, 9);
    assert_ne!(row.failures, 0);
    assert_eq!(row.ticket, 9);
    world.cpus.pop();
    assert_eq!(world.read(0, 10).failures, 0);
    for table in [0, 3, 5] {
        let world = World::new(2);
        world.kernel.point(world.net, world.tables[table], NOWHERE);
        assert_ne!(world.read(0, 1).failures, 0, "table {table}");
    }
    // Where the pointer is that leads to a table.
    for table in [0, 3, 4, 5] {
        let mut world = World::new(2);
        world.tables[table] = 1 << 10;
        assert_ne!(world.read(0, 1).failures, 0, "table {table}");
    }
    // A pointer that is none, and memory where it leads together with the CPU's shift.
    for table in [0, 3] {
        let world = World::new(2);
        world.kernel.point(world.net, world.tables[table], 0);
        assert_ne!(world.read(0, 1).failures, 0, "table {table}");
    }
}

#[test]
fn whether_a_device_may_queue_is_told_by_its_discipline() {
    let world = World::new(1);
    let queues = |disciplines: &[&str]| {
        world.devices(disciplines);
        world.read(0, 1).queues
    };
    let many = vec!["noqueue"; DEVICES as usize];
    for none in [&[][..], &["noqueue"], &["noqueue", "noop", "noqueue"], &many[1..]] {
        assert_eq!(queues(none), NO_QUEUES, "{none:?}");
    }
    for some in [
        &["noqueue", "tbf"][..],
        &["pfifo_fast"],
        &["mq", "noqueue"],
        &["noqueue_too"],
        &["noop_too"],
        &many,
    ] {
        assert_eq!(queues(some), MAY_QUEUE, "{some:?}");
    }
    // A discipline that cannot be read.
    world.devices(&["noqueue"]);
    world.kernel.point(world.net, DEVICE_LIST, NOWHERE);
    assert_eq!(world.read(0, 1).queues, MAY_QUEUE);
}

#[test]
fn without_a_namespace_nothing_is_read() {
    let world = World::new(1);
    world.read(0, 1);
    world.kernel.point(world.task, NAMESPACES, 0);
    assert_eq!(world.read(0, 2).ticket, 1, "a ticket that says it was not read");
}

#[test]
fn a_pointer_that_is_none_masks_everything() {
    assert_eq!(ones_unless_zero(0), 0);
    for pointer in [1, BASE, 1 << 63, u64::MAX] {
        assert_eq!(ones_unless_zero(pointer), u64::MAX);
    }
}
