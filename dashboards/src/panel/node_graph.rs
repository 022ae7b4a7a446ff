//! A graph of nodes and of the edges between them.
//!
//! Grafana draws it from two tables. One with `source` and `target` is that of the edges. Both have an `id`; the `mainstat`
//! is what is written at a node or an edge, and the `title` is a node's name.

use std::collections::BTreeMap;

use super::{Limits, Unit, panel, targets};
use crate::{
    grafana::{Color, Defaults, FieldConfig, Options, Panel, Stats, Transformation},
    label::{Label, Labels, Names},
    query::{Place, Query, Vector},
};

/// Declares columns that Grafana looks for.
macro_rules! columns {
    ($($column:ident = $name:literal;)*) => {$(
        #[derive(Clone, Copy, Debug)]
        struct $column;

        impl Label for $column {
            const NAME: &'static str = $name;
        }

        impl Labels for $column {
            const NAMES: Names = Names::new(&[$name]);
        }
    )*};
}

columns! {
    Id = "id";
    Title = "title";
    Source = "source";
    Target = "target";
}

/// A graph of what goes from one to the other.
#[must_use]
pub fn node_graph<A, B>(
    title: &str,
    unit: Unit,
    description: &str,
    (from, to): (A, B),
    values: &Vector<(A, B)>,
) -> Panel
where
    A: Label + Labels + Copy,
    B: Label + Labels + Copy,
{
    let edges = values.clone().arrow(from, to, Id);
    let edges = edges.copied(from, Source).copied(to, Target);
    // Each edge once for each of its ends.
    let ends = values.clone().copied(from, Id).or(values.clone().copied(to, Id));
    let nodes = ends.sum(Id).copied(Id, Title);
    let queries = [nodes.text(Place::Board), edges.text(Place::Board)].map(|text| Query {
        text,
        legend: String::new(),
    });
    let stats = Stats {
        main_stat_unit: unit.id(),
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    Panel {
        targets: targets(queries, true, "table"),
        field_config: Some(FieldConfig {
            defaults: Defaults {
                unit: unit.id(),
                color: Color { mode: "thresholds" },
                thresholds: Limits::None.thresholds(),
                ..Defaults::default()
            },
            overrides: Vec::new(),
        }),
        options: Some(Options::NodeGraph {
            nodes: stats,
            edges: stats,
        }),
        transformations: vec![Transformation::Organize {
            exclude_by_name: names(&["Time", A::NAME, B::NAME])
                .into_iter()
                .map(|it| (it, true))
                .collect(),
            index_by_name: BTreeMap::new(),
            rename_by_name: names(&["Value #A", "Value #B"])
                .into_iter()
                .map(|it| (it, "mainstat".to_owned()))
                .collect(),
        }],
        ..panel("nodeGraph", title, description)
    }
}
