//! The parts of Grafana's classic dashboard format that are used here: schema 39, which Grafana 10 to 13 import.
//!
//! Knows only the format. [`super::panel`] defines how panels look.

use serde::Serialize;

/// The schema version of the format.
pub const SCHEMA: u32 = 39;
/// The data source that the user chose in the variable `datasource`.
pub const DATASOURCE: Datasource = Datasource {
    kind: "prometheus",
    uid: "${datasource}",
};

/// A dashboard.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Dashboard {
    pub id: Option<u32>,
    pub uid: String,
    pub title: String,
    pub description: String,
    pub tags: Vec<String>,
    pub editable: bool,
    pub graph_tooltip: u8,
    pub refresh: String,
    pub schema_version: u32,
    pub time: TimeRange,
    pub timezone: String,
    pub links: Vec<DashboardLink>,
    pub templating: Templating,
    pub panels: Vec<Panel>,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct TimeRange {
    pub from: &'static str,
    pub to: &'static str,
}

/// A link to other dashboards.
#[expect(clippy::struct_excessive_bools, reason = "the format's")]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct DashboardLink {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub title: String,
    pub tags: Vec<String>,
    pub as_dropdown: bool,
    pub include_vars: bool,
    pub keep_time: bool,
    pub target_blank: bool,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Templating {
    pub list: Vec<Variable>,
}

/// A variable that the user sets at the top of a dashboard.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Variable {
    pub name: &'static str,
    pub label: &'static str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource: Option<Datasource>,
    pub query: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    pub refresh: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<u8>,
    pub multi: bool,
    pub include_all: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_value: Option<&'static str>,
    pub current: Choice,
    pub hide: u8,
}

/// The initial choice.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Choice {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Datasource {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub uid: &'static str,
}

/// A panel, or the header of a row of panels.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Panel {
    pub id: u32,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub grid_pos: GridPos,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collapsed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource: Option<Datasource>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_config: Option<FieldConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transformations: Vec<Transformation>,
    /// The panels of a collapsed row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panels: Option<Vec<Self>>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct GridPos {
    pub x: u32,
    pub y: u32,
    pub w: u32,
    pub h: u32,
}

/// A query to the data source.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Target {
    pub ref_id: String,
    pub datasource: Datasource,
    pub expr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legend_format: Option<String>,
    pub format: &'static str,
    pub instant: bool,
    pub range: bool,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct FieldConfig {
    pub defaults: Defaults,
    pub overrides: Vec<Override>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Defaults {
    pub unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_value: Option<&'static str>,
    pub color: Color,
    pub thresholds: Thresholds,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mappings: Vec<Mapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Color {
    pub mode: &'static str,
}

#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Thresholds {
    pub mode: &'static str,
    pub steps: Vec<Step>,
}

/// Applies from this value on. The first step has none.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Step {
    pub color: &'static str,
    pub value: Option<f64>,
}

/// Texts in place of values.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", content = "options", rename_all = "lowercase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub enum Mapping {
    /// For certain values.
    Value(std::collections::BTreeMap<&'static str, Word>),
    /// For missing values.
    Special { r#match: &'static str, result: Word },
}

#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Word {
    pub text: &'static str,
    pub color: &'static str,
    pub index: u8,
}

/// Settings of one kind of panel.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub enum Custom {
    #[serde(rename_all = "camelCase")]
    TimeSeries {
        draw_style: &'static str,
        line_width: u8,
        fill_opacity: u8,
        show_points: &'static str,
        span_nulls: bool,
        axis_soft_min: f64,
        stacking: Stacking,
        thresholds_style: Mode,
    },
    #[serde(rename_all = "camelCase")]
    Table {
        align: &'static str,
        cell_options: Mode,
        min_width: u32,
    },
}

#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Stacking {
    pub mode: &'static str,
    pub group: &'static str,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub enum Mode {
    Mode { mode: &'static str },
    Type { r#type: &'static str },
}

/// Settings of some fields that differ from the defaults.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct Override {
    pub matcher: FieldMatcher,
    pub properties: Vec<Property>,
}

#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct FieldMatcher {
    pub id: &'static str,
    pub options: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "id", content = "value")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub enum Property {
    #[serde(rename = "unit")]
    Unit(&'static str),
    #[serde(rename = "decimals")]
    Decimals(u8),
    #[serde(rename = "links")]
    Links(Vec<DataLink>),
    #[serde(rename = "thresholds")]
    Thresholds(Thresholds),
    #[serde(rename = "mappings")]
    Mappings(Vec<Mapping>),
    #[serde(rename = "custom.cellOptions")]
    CellOptions(Mode),
    #[serde(rename = "custom.width")]
    Width(u32),
    #[serde(rename = "color")]
    Color(FixedColor),
    #[serde(rename = "custom.transform")]
    Transform(&'static str),
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct FixedColor {
    pub mode: &'static str,
    pub fixed_color: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "Grafana's own names")]
pub struct DataLink {
    pub title: &'static str,
    pub url: String,
}

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
    Text {
        mode: &'static str,
        content: String,
    },
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

/// A change of the results before they are drawn.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "id", content = "options", rename_all = "camelCase")]
#[expect(missing_docs, reason = "Grafana's own names")]
pub enum Transformation {
    /// Merges rows of several tables that have the same labels.
    Merge {},
    /// Orders, renames and hides columns.
    #[serde(rename_all = "camelCase")]
    Organize {
        exclude_by_name: std::collections::BTreeMap<String, bool>,
        index_by_name: std::collections::BTreeMap<String, usize>,
        rename_by_name: std::collections::BTreeMap<String, String>,
    },
}
