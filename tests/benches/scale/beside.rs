//! What netmon's costs are compared with: figures of other runs, as ratios within each of them. Must not know how
//! anything is measured.

use std::fmt::Write as _;

use crate::Row;

/// netmon 0.1.0 over the node exporter in one run of 2026-11-25 on two cores with Linux 6.18: the CPU of a page, its
/// time, and resident memory. Containers were idle, pages were not compressed, the CPU's clock had ticks of 10 ms.
const BEFORE: [(usize, [f64; 3]); 4] = [
    (10, [2.5 / 9.0, 2.2 / 8.4, 14.0 / 21.0]),
    (100, [12.5 / 68.5, 13.3 / 60.6, 18.0 / 24.0]),
    (300, [33.5 / 193.0, 35.1 / 181.3, 24.0 / 31.0]),
    (1000, [117.5 / 711.0, 125.4 / 673.0, 42.0 / 60.0]),
];
/// How long netmon 0.1.0 took in that run until all programs were attached, in seconds, with a thousand containers.
pub(crate) const BEFORE_ATTACHED: f64 = 138.0;
/// `docker stats --no-stream` over a page of netmon 0.1.0, in one run of 2026-11-25 (`cargo xtask bench node`) with this
/// many containers on a real engine: the CPU of dockerd or netmon, the time, and resident memory.
const DOCKER_STATS: (usize, [f64; 3]) = (20, [60.0 / 3.5, 2107.0 / 4.5, 116.0 / 16.0]);

/// The comparison as a table in Markdown. A cell has the ratios of CPU, of time and of memory.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text =
        "| containers | netmon, of the node exporter's: CPU, time, memory | netmon 0.1.0, of the node exporter's \
                    | netmon 0.1.0, of `docker stats`' |\n|---:|---:|---:|---:|\n"
            .to_owned();
    for row in rows {
        let (netmon, other) = (&row.netmon, &row.node_exporter);
        let now = [
            netmon.cpu() / other.cpu(),
            netmon.latency / other.latency,
            netmon.memory_bytes / other.memory_bytes,
        ];
        let before = BEFORE.iter().find(|(containers, _)| *containers == row.containers);
        let before = before.map(|(_, ratios)| cell(*ratios)).unwrap_or_default();
        // Writing to a string cannot fail.
        let _written = writeln!(text, "| {} | {} | {before} | |", row.containers, cell(now));
    }
    let (containers, ratios) = DOCKER_STATS;
    let _written = writeln!(text, "| {containers} | | | {} |", cell(ratios.map(|it| 1.0 / it)));
    text
}

fn cell(ratios: [f64; 3]) -> String {
    ratios.map(|ratio| format!("{:.1} %", ratio * 100.0)).join(", ")
}
