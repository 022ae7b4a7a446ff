//! The kinds of panels: a figure, a graph, bars, a table, a graph of nodes, a text. Each has a title, a unit, and a description that
//! says what to do when it looks bad.
//!
//! Knows how panels are drawn. The boards define what they show.

mod node_graph;
mod table;

pub use self::{
    node_graph::node_graph,
    table::{Table, table},
};
use crate::{
    grafana::{
        Color, Custom, DATASOURCE, Defaults, FieldConfig, FieldMatcher, GridPos, Legend, Mapping, Mode, Options,
        Override, Panel, Property, Reduce, Stacking, Step, Target, TextSizes, Thresholds, Tooltip, Word,
    },
    query::Query,
};

const GOOD: &str = "green";
const SUSPICIOUS: &str = "orange";
const BAD: &str = "red";
const NEUTRAL: &str = "blue";
/// An unknown value is neither good nor bad.
const UNKNOWN: Word = Word {
    text: "n/a",
    color: "#6e7077",
    index: 0,
};

/// The unit of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Bytes.
    Bytes,
    /// Bytes of a packet. 1450 of them should not be shown as 1.42 KiB.
    PacketBytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Packets per second, for traffic.
    PacketsPerSecond,
    /// Anything else per second, such as lost packets. Values below one are shown as fractions, not in thousandths.
    PerSecond,
    /// Seconds.
    Seconds,
    /// A share of 1.
    Share,
    /// How many times as much.
    Times,
    /// Text, not numbers.
    Words,
}

impl Unit {
    const fn id(self) -> &'static str {
        match self {
            Self::Count => "short",
            Self::Bytes => "bytes",
            Self::PacketBytes => "suffix:B",
            Self::BytesPerSecond => "Bps",
            Self::PacketsPerSecond => "pps",
            Self::PerSecond => "cps",
            Self::Seconds => "s",
            Self::Share => "percentunit",
            Self::Times => "suffix:x",
            Self::Words => "none",
        }
    }
}

/// The values from which on something is suspicious, or bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limits {
    /// No value is better than another.
    None,
    /// More is worse.
    Above(f64, f64),
    /// Anything but 0 is bad.
    Zero,
    /// Less than this is bad.
    Below(f64),
}

impl Limits {
    fn thresholds(self) -> Thresholds {
        let steps = match self {
            Self::None => vec![(NEUTRAL, None)],
            Self::Above(suspicious, bad) => vec![(GOOD, None), (SUSPICIOUS, Some(suspicious)), (BAD, Some(bad))],
            // Rates are not whole numbers.
            Self::Zero => vec![(GOOD, None), (BAD, Some(1e-9))],
            Self::Below(good) => vec![(BAD, None), (GOOD, Some(good))],
        };
        Thresholds {
            mode: "absolute",
            steps: steps.into_iter().map(|(color, value)| Step { color, value }).collect(),
        }
    }

    /// Limits are drawn as lines only where they separate good values from bad ones.
    fn style(self) -> Mode {
        let mode = match self {
            Self::Above(..) => "dashed",
            Self::None | Self::Zero | Self::Below(_) => "off",
        };
        Mode::Mode { mode }
    }
}

/// A panel without a position.
fn panel(kind: &'static str, title: &str, description: &str) -> Panel {
    Panel {
        id: 0,
        kind,
        title: title.to_owned(),
        description: description.to_owned(),
        grid_pos: GridPos::default(),
        collapsed: None,
        datasource: Some(DATASOURCE),
        targets: Vec::new(),
        field_config: None,
        options: None,
        transformations: Vec::new(),
        panels: None,
    }
}

fn targets(queries: impl IntoIterator<Item = Query>, instant: bool, format: &'static str) -> Vec<Target> {
    queries
        .into_iter()
        .zip('A'..)
        .map(|(Query { text, legend }, letter)| Target {
            ref_id: letter.to_string(),
            datasource: DATASOURCE,
            expr: text,
            legend_format: (format == "time_series").then_some(legend),
            format,
            instant,
            range: !instant,
        })
        .collect()
}

/// A figure, or several next to each other. Without limits, the past values are drawn behind each figure.
#[must_use]
pub fn stat(title: &str, unit: Unit, limits: Limits, description: &str, queries: Vec<Query>) -> Panel {
    let text_mode = if queries.len() > 1 { "value_and_name" } else { "value" };
    Panel {
        targets: targets(queries, limits != Limits::None, "time_series"),
        field_config: Some(FieldConfig {
            defaults: Defaults {
                unit: unit.id(),
                decimals: decimals(unit),
                min: Some(0.0),
                no_value: Some(UNKNOWN.text),
                mappings: vec![Mapping::Special {
                    r#match: "null+nan",
                    result: UNKNOWN,
                }],
                color: Color { mode: "thresholds" },
                thresholds: limits.thresholds(),
                ..Defaults::default()
            },
            overrides: Vec::new(),
        }),
        options: Some(Options::Stat {
            reduce_options: last(),
            orientation: "auto",
            text_mode,
            color_mode: if limits == Limits::None { "value" } else { "background" },
            graph_mode: if limits == Limits::None { "area" } else { "none" },
            justify_mode: "center",
        }),
        ..panel("stat", title, description)
    }
}

fn decimals(unit: Unit) -> Option<u8> {
    (unit == Unit::Count).then_some(0)
}

fn last() -> Reduce {
    Reduce {
        calcs: vec!["lastNotNull"],
        fields: "",
        values: false,
    }
}

/// A graph over time.
#[must_use]
pub fn graph(title: &str, unit: Unit, limits: Limits, description: &str, queries: Vec<Query>) -> Panel {
    Panel {
        targets: targets(queries, false, "time_series"),
        field_config: Some(FieldConfig {
            defaults: Defaults {
                unit: unit.id(),
                min: Some(0.0),
                color: Color {
                    mode: "palette-classic",
                },
                thresholds: limits.thresholds(),
                custom: Some(Custom::TimeSeries {
                    draw_style: "line",
                    line_width: 1,
                    fill_opacity: 10,
                    show_points: "auto",
                    span_nulls: false,
                    axis_soft_min: 0.0,
                    stacking: Stacking {
                        mode: "none",
                        group: "A",
                    },
                    thresholds_style: limits.style(),
                }),
                ..Defaults::default()
            },
            overrides: Vec::new(),
        }),
        options: Some(Options::TimeSeries {
            legend: Legend {
                show_legend: true,
                display_mode: "table",
                placement: "bottom",
                calcs: vec!["mean", "max", "lastNotNull"],
                sort_by: Some("Mean"),
                sort_desc: Some(true),
            },
            tooltip: Tooltip {
                mode: "multi",
                sort: "desc",
            },
        }),
        ..panel("timeseries", title, description)
    }
}

/// A graph with stacked series. Their total height is the whole.
#[must_use]
pub fn stack(title: &str, unit: Unit, limits: Limits, description: &str, queries: Vec<Query>) -> Panel {
    let mut panel = graph(title, unit, limits, description, queries);
    if let Some(FieldConfig { defaults, .. }) = &mut panel.field_config
        && let Some(Custom::TimeSeries {
            stacking, fill_opacity, ..
        }) = &mut defaults.custom
    {
        stacking.mode = "normal";
        *fill_opacity = 40;
    }
    panel
}

/// A graph that draws series whose names match this pattern downwards.
#[must_use]
pub fn mirrored(mut panel: Panel, pattern: &str) -> Panel {
    if let Some(FieldConfig { defaults, overrides }) = &mut panel.field_config {
        defaults.min = None;
        overrides.push(Override {
            matcher: FieldMatcher {
                id: "byRegexp",
                options: pattern.to_owned(),
            },
            properties: vec![Property::Transform("negative-Y")],
        });
    }
    panel
}

/// Bars that show shares of a whole.
#[must_use]
pub fn bars(title: &str, limits: Limits, description: &str, queries: Vec<Query>) -> Panel {
    Panel {
        targets: targets(queries, true, "time_series"),
        field_config: Some(FieldConfig {
            defaults: Defaults {
                unit: Unit::Share.id(),
                min: Some(0.0),
                max: Some(1.0),
                color: Color { mode: "thresholds" },
                thresholds: limits.thresholds(),
                ..Defaults::default()
            },
            overrides: Vec::new(),
        }),
        options: Some(Options::BarGauge {
            reduce_options: last(),
            orientation: "horizontal",
            display_mode: "basic",
            value_mode: "color",
            show_unfilled: true,
            name_placement: "left",
            min_viz_height: 16,
            text: TextSizes {
                title_size: 13,
                value_size: 13,
            },
        }),
        ..panel("bargauge", title, description)
    }
}

/// Text.
#[must_use]
pub fn text(title: &str, content: &str) -> Panel {
    Panel {
        datasource: None,
        options: Some(Options::Text {
            mode: "markdown",
            content: content.to_owned(),
        }),
        ..panel("text", title, "")
    }
}
