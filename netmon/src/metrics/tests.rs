//! The page, compared with the metrics library's and with what the older format is.

use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

use super::{Format, PIECE, Page, library};
use crate::{
    model::{collector::Collector, histogram::Histogram},
    page::{
        key::Key,
        labels::{Unlabelled, key_labels, label_sets},
        limits::SHOWN,
        rows::{Rows, schemas},
    },
};

key_labels! {
    /// Two labels.
    Queue { interface = what, kind = detail }
}

label_sets! {
    /// Labels that no key has.
    Facts { name, text }
}

schemas! {
    families of Collector("test");
    "Tests" {
        /// Every kind, with labels.
        ALL(it in Measured) by Queue, SHOWN {
            PACKETS: Counter, "test_packets", it.count, "Packets.";
            BUSY: Counter, "test_busy" in Seconds, it.real, "Time.";
            MEMORY: Gauge, "test_memory" in Bytes, it.count, "Memory.";
            RATIO: Gauge, "test_ratio", it.real, "A ratio # {of} \"what\".";
            TIMES: Histogram, "test_times" in Seconds, it.times.clone(), "Times.";
        }
        /// The same, without.
        ALONE(it in Measured) by Unlabelled, SHOWN {
            ALL_PACKETS: Counter, "test_all_packets", it.count, "Packets.";
            ALL_BUSY: Counter, "test_all_busy" in Seconds, it.real, "Time.";
            ALL_MEMORY: Gauge, "test_all_memory" in Bytes, it.count, "Memory.";
            ALL_RATIO: Gauge, "test_all_ratio", it.real, "A ratio.";
            ALL_TIMES: Histogram, "test_all_times" in Seconds, it.times.clone(), "Times.";
        }
        /// Facts.
        ABOUT(() in ()) by Facts, SHOWN {
            ABOUT_IT: Info, "test_about", (), "What it is.";
        }
        /// Facts that say nothing.
        NOTHING(() in ()) by Unlabelled, SHOWN {
            NOTHING_OF_IT: Info, "test_nothing", (), "Nothing.";
        }
    }
}

/// What the families have their values from.
#[derive(Clone, Debug, Default)]
struct Measured {
    count: Option<u64>,
    real: Option<f64>,
    times: Option<Histogram>,
}

fn times(seconds: &[f64]) -> Histogram {
    let mut histogram = Histogram::new(&[0.000_25, 0.1, 1.0, 2.5]);
    for seconds in seconds {
        histogram.observe(Duration::from_secs_f64(*seconds));
    }
    histogram
}

fn page(rows: Vec<Rows>) -> Page {
    // No last rows.
    Page::new(rows, |_| ALL.rows::<Measured>([]))
}

#[test]
fn families_get_the_names_of_their_series() {
    let facts = Measured {
        count: Some(7),
        real: Some(0.5),
        times: Some(times(&[0.05, 9.0])),
    };
    let rows = vec![
        ALL.rows([(Key::default().what("eth0").detail("fifo"), facts)]),
        ABOUT.labelled([(Facts { name: "a", text: "b" }.block(), ())]),
    ];
    let text = page(rows);
    let open_metrics = "# HELP test_packets Packets.\n# TYPE test_packets counter\n\
        test_packets_total{interface=\"eth0\",kind=\"fifo\"} 7\n\
        # HELP test_busy_seconds Time.\n# TYPE test_busy_seconds counter\n# UNIT test_busy_seconds seconds\n\
        test_busy_seconds_total{interface=\"eth0\",kind=\"fifo\"} 0.5\n\
        # HELP test_memory_bytes Memory.\n# TYPE test_memory_bytes gauge\n# UNIT test_memory_bytes bytes\n\
        test_memory_bytes{interface=\"eth0\",kind=\"fifo\"} 7\n\
        # HELP test_ratio A ratio # {of} \"what\".\n# TYPE test_ratio gauge\n\
        test_ratio{interface=\"eth0\",kind=\"fifo\"} 0.5\n\
        # HELP test_times_seconds Times.\n# TYPE test_times_seconds histogram\n# UNIT test_times_seconds seconds\n\
        test_times_seconds_sum{interface=\"eth0\",kind=\"fifo\"} 9.05\n\
        test_times_seconds_count{interface=\"eth0\",kind=\"fifo\"} 2\n\
        test_times_seconds_bucket{le=\"0.00025\",interface=\"eth0\",kind=\"fifo\"} 0\n\
        test_times_seconds_bucket{le=\"0.1\",interface=\"eth0\",kind=\"fifo\"} 1\n\
        test_times_seconds_bucket{le=\"1.0\",interface=\"eth0\",kind=\"fifo\"} 1\n\
        test_times_seconds_bucket{le=\"2.5\",interface=\"eth0\",kind=\"fifo\"} 1\n\
        test_times_seconds_bucket{le=\"+Inf\",interface=\"eth0\",kind=\"fifo\"} 2\n\
        # HELP test_about What it is.\n# TYPE test_about info\n\
        test_about_info{name=\"a\",text=\"b\"} 1\n\
        # EOF\n";
    assert_eq!(text.text(Format::OpenMetrics), open_metrics);
    let older_one = open_metrics
        .replace("# HELP test_packets ", "# HELP test_packets_total ")
        .replace("# TYPE test_packets ", "# TYPE test_packets_total ")
        .replace("# HELP test_busy_seconds ", "# HELP test_busy_seconds_total ")
        .replace("# TYPE test_busy_seconds ", "# TYPE test_busy_seconds_total ")
        .replace("# HELP test_about ", "# HELP test_about_info ")
        .replace("# TYPE test_about info", "# TYPE test_about_info gauge")
        .replace("# UNIT test_busy_seconds seconds\n", "")
        .replace("# UNIT test_memory_bytes bytes\n", "")
        .replace("# UNIT test_times_seconds seconds\n", "")
        .replace("# EOF\n", "");
    assert_eq!(text.text(Format::Text), older_one);
}

#[test]
fn a_page_without_anything_becomes_an_empty_one() {
    let text = page(Vec::new());
    assert_eq!(text.text(Format::OpenMetrics), "# EOF\n");
    assert_eq!(text.text(Format::Text), "");
}

#[test]
fn the_last_rows_know_how_many_series_there_are() {
    let facts = Measured {
        count: Some(1),
        times: Some(times(&[])),
        ..Measured::default()
    };
    let keys = ["a", "b"].map(|name| (Key::default().what(name), facts.clone()));
    let text = Page::new(vec![ALL.rows(keys)], move |series| {
        // Two counts, and a histogram with five buckets, its sum and its count.
        assert_eq!(series.values().copied().collect::<Vec<_>>(), [2 * (2 + 7)]);
        ALONE.row(&facts)
    });
    for format in [Format::OpenMetrics, Format::Text] {
        assert!(text.text(format).contains("\ntest_all_packets_total 1\n"));
    }
}

#[test]
fn a_page_is_written_in_pieces_that_are_handed_on_as_they_are_made() {
    const ROWS: u64 = 10_000;
    let facts = |count| Measured {
        count: Some(count),
        ..Measured::default()
    };
    let page =
        page(vec![ALL.rows(
            (0..ROWS).map(|row| (Key::default().what(format!("{row:05}")), facts(row))),
        )]);
    for format in [Format::OpenMetrics, Format::Text] {
        let mut pieces = Vec::new();
        let written = page.write::<()>(format, &mut |piece| {
            pieces.push(std::mem::take(piece));
            Ok(())
        });
        assert!(written.is_ok() && pieces.len() > 5, "{} pieces", pieces.len());
        let (last, others) = pieces.split_last().expect("pieces");
        assert!(others.iter().all(|piece| (PIECE..PIECE + 200).contains(&piece.len())));
        assert!(last.len() < PIECE);
        assert!(
            pieces.iter().all(|piece| piece.ends_with('\n')),
            "a line is in two pieces"
        );
        assert_eq!(pieces.concat(), page.text(format));
    }
    let mut taken = 0;
    let refused = page.write(Format::OpenMetrics, &mut |_| {
        taken += 1;
        Err("no room")
    });
    assert_eq!((refused, taken), (Err("no room"), 1));
}

/// Values mainly of characters that could break the format.
fn hostile() -> impl Strategy<Value = String> {
    "([ #{}\"\\\\\n\0=,]|EOF|HELP|[a-zß☂]){0,12}"
}

fn facts() -> impl Strategy<Value = Measured> {
    let real = prop_oneof![any::<f64>(), Just(0.0), 0.0..1e6_f64];
    let seconds = prop::collection::vec(0.0..5.0_f64, 0..4);
    let all = (
        prop::option::of(any::<u64>()),
        prop::option::of(real),
        prop::option::of(seconds),
    );
    all.prop_map(|(count, real, seconds)| Measured {
        count,
        real,
        times: seconds.map(|seconds| times(&seconds)),
    })
}

proptest! {
    #[test]
    fn the_page_is_the_librarys_byte_by_byte(
        rows in prop::collection::vec((hostile(), hostile(), facts()), 0..8),
        alone in facts(),
        about in prop::collection::vec((hostile(), hostile()), 0..4),
    ) {
        let rows = vec![
            ALL.rows(rows.iter().map(|(what, detail, facts)| {
                (Key::default().what(what.clone()).detail(detail.clone()), facts)
            })),
            ALONE.row(&alone),
            ABOUT.labelled(about.iter().map(|(name, text)| (Facts { name, text }.block(), ()))),
            NOTHING.row(&()),
        ];
        let library = library::encode(rows.clone());
        let text = page(rows);
        prop_assert_eq!(&text.text(Format::OpenMetrics), &library);
        // The samples are the same in both formats, and nothing else is.
        let samples = |page: &str| page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(samples(&text.text(Format::Text)), samples(&library));
    }
}
