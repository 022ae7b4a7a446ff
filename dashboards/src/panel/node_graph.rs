//! A graph of nodes and of the edges between them.
//!
//! Grafana draws it from two tables. One with `source` and `target` is that of the edges. Both have an `id`; the `mainstat`
//! is what is written at a node or an edge. The `title` is a node's name, and the `subtitle` what it belongs to.

use std::collections::BTreeMap;

use super::{Limits, Unit, panel};
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
    Subtitle = "subtitle";
    Source = "source";
    Target = "target";
}

/// A graph of what goes from one to the other. Each end has two labels: what it belongs to, and its name.
#[must_use]
pub fn node_graph<A, B, C, D>(
    title: &str,
    unit: Unit,
    description: &str,
    (from, to): ((A, B), (C, D)),
    values: &Vector<(A, B, C, D)>,
) -> Panel
where
    A: Label + Labels + Copy,
    B: Label + Labels + Copy,
    C: Label + Labels + Copy,
    D: Label + Labels + Copy,
{
    let edges = values.clone().labelled((from.0, from.1, to.0, to.1), " ", Id);
    let edges = edges.labelled(from, " ", Source).labelled(to, " ", Target);
    // Each edge once for each of its ends.
    let sources = values.clone().labelled(from, " ", Id);
    let sources = sources.labelled(from.1, "", Title).labelled(from.0, "", Subtitle);
    let targets = values.clone().labelled(to, " ", Id);
    let targets = targets.labelled(to.1, "", Title).labelled(to.0, "", Subtitle);
    let nodes = sources.or(targets).sum((Id, Title, Subtitle));
    let queries = [nodes.text(Place::Board), edges.text(Place::Board)].map(|text| Query {
        text,
        legend: String::new(),
    });
    let stats = Stats {
        main_stat_unit: unit.id(),
    };
    let hidden = ["Time", A::NAME, B::NAME, C::NAME, D::NAME].map(|name| (name.to_owned(), true));
    let renamed = ["Value #A", "Value #B"].map(|name| (name.to_owned(), "mainstat".to_owned()));
    Panel {
        targets: super::targets(queries, true, "table"),
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
            exclude_by_name: hidden.into(),
            index_by_name: BTreeMap::new(),
            rename_by_name: renamed.into(),
        }],
        ..panel("nodeGraph", title, description)
    }
}
