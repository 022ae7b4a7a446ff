//! The options of each kind of panel.
//!
//! Knows only the format. `crate::panel` defines how panels look.

use serde::Serialize;

/// The options of one kind of panel.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub enum Options {
    TimeSeries {
        legend: Legend,
        tooltip: Tooltip,
    },
    #[serde(rename_all = "camelCase")]
    Stat {
        reduce_options: Reduce,
        orientation: &'static str,
        text_mode: &'static str,
        color_mode: &'static str,
        graph_mode: &'static str,
        justify_mode: &'static str,
    },
    #[serde(rename_all = "camelCase")]
    BarGauge {
        reduce_options: Reduce,
        orientation: &'static str,
        display_mode: &'static str,
        value_mode: &'static str,
        show_unfilled: bool,
        name_placement: &'static str,
        min_viz_height: u32,
        text: TextSizes,
    },
    #[serde(rename_all = "camelCase")]
    Table {
        show_header: bool,
        cell_height: &'static str,
        sort_by: Vec<SortBy>,
    },
    NodeGraph {
        nodes: Stats,
        edges: Stats,
    },
    Text {
        mode: &'static str,
        content: String,
    },
}

/// What is written at the nodes or the edges of a graph.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Stats {
    pub main_stat_unit: &'static str,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct TextSizes {
    pub title_size: u32,
    pub value_size: u32,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Legend {
    pub show_legend: bool,
    pub display_mode: &'static str,
    pub placement: &'static str,
    pub calcs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort_desc: Option<bool>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Tooltip {
    pub mode: &'static str,
    pub sort: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Reduce {
    pub calcs: Vec<&'static str>,
    pub fields: &'static str,
    pub values: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct SortBy {
    pub display_name: String,
    pub desc: bool,
}
