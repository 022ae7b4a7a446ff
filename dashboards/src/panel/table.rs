//! Tables: one row for each set of labels, and columns of figures, of words, and of links.
//!
//! Knows how a table is put together. The boards define what it shows.

use std::collections::BTreeMap;

use super::{BAD, GOOD, Limits, Unit, panel, targets};
use crate::{
    grafana::{
        Color, Custom, DataLink, Defaults, FieldConfig, FieldMatcher, Mapping, Mode, Options, Override, Panel,
        Property, SortBy, Transformation, Word,
    },
    label::{Labels, Names},
    query::{Place, Query, Vector},
};

/// A table with one row for each set of labels `P`.
#[derive(Debug)]
pub struct Table<P> {
    panel: Panel,
    /// The title of each label's column; empty for labels that are not shown.
    labels: Vec<(&'static str, &'static str)>,
    columns: Vec<String>,
    queries: Vec<Query>,
    rows: std::marker::PhantomData<fn() -> P>,
}

/// A table. `columns` names the columns of the labels, in the order of `P`.
#[must_use]
pub fn table<P: Labels, const N: usize>(title: &str, description: &str, _: P, columns: [&'static str; N]) -> Table<P> {
    const { assert!(P::NAMES.count() == N, "a column for each label") }
    let labels: Vec<_> = P::NAMES.as_slice().iter().copied().zip(columns).collect();
    Table {
        panel: Panel {
            field_config: Some(FieldConfig {
                defaults: Defaults {
                    unit: Unit::Words.id(),
                    color: Color { mode: "thresholds" },
                    thresholds: Limits::None.thresholds(),
                    custom: Some(Custom::Table {
                        align: "auto",
                        cell_options: Mode::Type { r#type: "auto" },
                        min_width: 90,
                    }),
                    ..Defaults::default()
                },
                overrides: Vec::new(),
            }),
            ..panel("table", title, description)
        },
        labels,
        columns: Vec::new(),
        queries: Vec::new(),
        rows: std::marker::PhantomData,
    }
}

impl<P: Labels> Table<P> {
    /// Adds a column of numbers.
    #[must_use]
    pub fn column(mut self, name: &str, unit: Unit, limits: Limits, values: &Vector<P>) -> Self {
        self.queries.push(Query {
            text: values.text(Place::Board),
            legend: String::new(),
        });
        let mut properties = vec![Property::Unit(unit.id())];
        if unit == Unit::Count {
            properties.push(Property::Decimals(0));
        }
        if limits != Limits::None {
            properties.push(Property::Thresholds(limits.thresholds()));
            properties.push(Property::CellOptions(Mode::Type { r#type: "color-text" }));
        }
        self.columns.push(name.to_owned());
        self.overriding(name, properties)
    }

    /// Adds a column of numbers that are shown as words.
    #[must_use]
    pub fn words(mut self, name: &str, words: &[(&'static str, &'static str, bool)], values: &Vector<P>) -> Self {
        self.queries.push(Query {
            text: values.text(Place::Board),
            legend: String::new(),
        });
        self.columns.push(name.to_owned());
        let properties = vec![
            Property::Mappings(mappings(words)),
            Property::CellOptions(Mode::Type { r#type: "color-text" }),
        ];
        self.overriding(name, properties)
    }

    /// Adds no column. The values only determine which rows there are.
    #[must_use]
    pub fn facts(mut self, values: &Vector<P>) -> Self {
        self.queries.push(Query {
            text: values.text(Place::Board),
            legend: String::new(),
        });
        self.columns.push(String::new());
        self
    }

    /// Links the values of this column to another dashboard, which then shows only the chosen value.
    #[must_use]
    pub fn leads(self, column: &str, uid: &str, variable: &str) -> Self {
        let link = DataLink {
            title: "Show it alone",
            url: format!(
                "/d/{uid}?${{datasource:queryparam}}&var-{variable}=${{__data.fields[\"{column}\"]}}&${{__url_time_range}}"
            ),
        };
        self.overriding(column, vec![Property::Links(vec![link])])
    }

    /// Sets the width of a column.
    #[must_use]
    pub fn width(self, column: &str, pixels: u32) -> Self {
        self.overriding(column, vec![Property::Width(pixels)])
    }

    fn overriding(mut self, column: &str, properties: Vec<Property>) -> Self {
        if let Some(FieldConfig { overrides, .. }) = &mut self.panel.field_config {
            overrides.push(Override {
                matcher: FieldMatcher {
                    id: "byName",
                    options: column.to_owned(),
                },
                properties,
            });
        }
        self
    }

    /// The panel, sorted by this column in descending order.
    #[must_use]
    pub fn sorted(self, column: &str) -> Panel {
        self.finish(column, true)
    }

    /// The panel, sorted by this column in ascending order.
    #[must_use]
    pub fn in_order(self, column: &str) -> Panel {
        self.finish(column, false)
    }

    fn finish(self, column: &str, desc: bool) -> Panel {
        let Self {
            mut panel,
            labels,
            columns,
            queries,
            ..
        } = self;
        let value = |at: usize| {
            if columns.len() == 1 {
                "Value".to_owned()
            } else {
                format!("Value #{}", ('A'..).nth(at).unwrap_or('A'))
            }
        };
        let shown = labels.iter().filter(|(_, name)| !name.is_empty());
        let figures = columns.iter().enumerate().map(|(at, name)| (value(at), name.clone()));
        let (silent, figures): (Vec<_>, Vec<_>) = figures.partition(|(_, name)| name.is_empty());
        let names: Vec<(String, String)> = shown
            .map(|(label, name)| ((*label).to_owned(), (*name).to_owned()))
            .chain(figures)
            .collect();
        let hidden = labels.iter().filter(|(_, name)| name.is_empty());
        let hidden = hidden.map(|(label, _)| (*label).to_owned());
        // Results without an aggregation always have the target's labels.
        let none = Names::new(&["Time", "__name__", "job"]);
        let extra = none.as_slice().iter().filter(|it| !P::NAMES.has(it));
        let extra = extra.map(|it| (*it).to_owned());
        let exclude = extra
            .chain(hidden)
            .chain(silent.into_iter().map(|(field, _)| field))
            .map(|it| (it, true));
        panel.transformations = vec![
            Transformation::Merge {},
            Transformation::Organize {
                exclude_by_name: exclude.collect::<BTreeMap<_, _>>(),
                index_by_name: names
                    .iter()
                    .enumerate()
                    .map(|(at, (field, _))| (field.clone(), at))
                    .collect(),
                rename_by_name: names.into_iter().collect(),
            },
        ];
        panel.targets = targets(queries, true, "table");
        panel.options = Some(Options::Table {
            show_header: true,
            cell_height: "sm",
            sort_by: vec![SortBy {
                display_name: column.to_owned(),
                desc,
            }],
        });
        panel
    }
}

fn mappings(words: &[(&'static str, &'static str, bool)]) -> Vec<Mapping> {
    let options = words.iter().zip(0..).map(|((value, text, good), index)| {
        let color = if *good { GOOD } else { BAD };
        (*value, Word { text, color, index })
    });
    vec![Mapping::Value(options.collect())]
}
