//! How the values of a panel are shown: units, colors, limits and texts, for all fields or for some.
//!
//! Knows only the format. `crate::panel` defines how panels look.

use serde::Serialize;

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
