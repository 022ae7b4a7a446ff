//! The parts of Grafana's classic dashboard format that are used here: schema 39, which Grafana 10 to 13 import.
//!
//! Knows only the format. [`super::panel`] defines how panels look.

mod field;
mod options;

use serde::Serialize;

pub use self::{
    field::{
        Color, Custom, DataLink, Defaults, FieldConfig, FieldMatcher, FixedColor, Mapping, Mode, Override, Property,
        Stacking, Step, Thresholds, Word,
    },
    options::{Legend, Options, Reduce, SortBy, Stats, TextSizes, Tooltip},
};

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
