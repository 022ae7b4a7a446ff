//! Builds a dashboard from its rows: the positions of panels, the variables, and the links to the other dashboards.
//!
//! Knows what all dashboards have in common. [`super::boards`] defines what each shows.

use netmon::{
    collectors::catalog,
    page::{
        family::{Family, Shape},
        labels::LabelSet,
    },
};

use crate::{
    grafana::{
        Choice, DATASOURCE, Dashboard, DashboardLink, Datasource, GridPos, Panel, SCHEMA, Templating, TimeRange,
        Variable,
    },
    label::{Label, Names},
};

/// The tag of all dashboards. Links between them use it.
const TAG: &str = "netmon";
/// The width of Grafana's grid.
const GRID: u32 = 24;

/// A row of panels.
#[derive(Debug)]
pub struct Row {
    title: &'static str,
    folded: bool,
    panels: Vec<(u32, u32, Panel)>,
}

impl Row {
    /// A row without panels.
    #[must_use]
    pub const fn new(title: &'static str) -> Self {
        Self {
            title,
            folded: false,
            panels: Vec::new(),
        }
    }

    /// Adds a panel of this width and height, to the right or below.
    #[must_use]
    pub fn panel(mut self, width: u32, height: u32, panel: Panel) -> Self {
        self.panels.push((width, height, panel));
        self
    }

    /// Collapses the row until the user opens it.
    #[must_use]
    pub fn folded(mut self) -> Self {
        self.folded = true;
        self
    }
}

/// A dashboard.
#[must_use]
pub fn dashboard(name: &str, title: &str, description: &str, more: Vec<Variable>, rows: Vec<Row>) -> Dashboard {
    let mut list = vec![datasource(), job(), instance()];
    list.extend(more);
    Dashboard {
        id: None,
        uid: uid(name),
        title: format!("netmon / {title}"),
        description: description.to_owned(),
        tags: vec![TAG.to_owned()],
        editable: false,
        // The cursor's moment is marked in all graphs.
        graph_tooltip: 1,
        refresh: "1m".to_owned(),
        schema_version: SCHEMA,
        time: TimeRange {
            from: "now-1h",
            to: "now",
        },
        timezone: "browser".to_owned(),
        links: vec![DashboardLink {
            kind: "dashboards",
            title: "netmon".to_owned(),
            tags: vec![TAG.to_owned()],
            as_dropdown: false,
            include_vars: true,
            keep_time: true,
            target_blank: false,
        }],
        templating: Templating { list },
        panels: place(rows),
    }
}

/// Grafana's identifier of the dashboard with this name.
#[must_use]
pub fn uid(name: &str) -> String {
    format!("netmon-{name}")
}

/// Positions and numbers the panels.
fn place(rows: Vec<Row>) -> Vec<Panel> {
    let mut placed = Vec::new();
    let (mut y, mut id) = (0, 0);
    let mut next = || {
        id += 1;
        id
    };
    for Row { title, folded, panels } in rows {
        let mut head = Panel {
            id: next(),
            kind: "row",
            title: title.to_owned(),
            description: String::new(),
            grid_pos: GridPos { x: 0, y, w: GRID, h: 1 },
            collapsed: Some(folded),
            datasource: None,
            targets: Vec::new(),
            field_config: None,
            options: None,
            transformations: Vec::new(),
            panels: Some(Vec::new()),
        };
        y += 1;
        let (mut x, mut height, mut row) = (0, 0, Vec::new());
        for (w, h, mut panel) in panels {
            if x + w > GRID {
                y += height;
                (x, height) = (0, 0);
            }
            panel.id = next();
            panel.grid_pos = GridPos { x, y, w, h };
            x += w;
            height = height.max(h);
            row.push(panel);
        }
        y += height;
        if folded {
            head.panels = Some(row);
            placed.push(head);
        } else {
            placed.push(head);
            placed.append(&mut row);
        }
    }
    placed
}

fn datasource() -> Variable {
    Variable {
        name: "datasource",
        label: "Data source",
        kind: "datasource",
        datasource: None,
        query: "prometheus".to_owned(),
        definition: None,
        refresh: 1,
        sort: None,
        multi: false,
        include_all: false,
        all_value: None,
        current: Choice::default(),
        hide: 0,
    }
}

fn job() -> Variable {
    // This family is on every page of netmon.
    let query = format!("label_values({}, job)", catalog::EXPOSED_SERIES.about().name());
    // No regular expression for all of them: other jobs of the same Prometheus have an `up`, too.
    choice("job", "Job", query, None)
}

/// From `up`, because it includes nodes that never answered.
fn instance() -> Variable {
    choice(
        "instance",
        "Node",
        "label_values(up{job=~\"$job\"}, instance)".to_owned(),
        Some(".+"),
    )
}

/// A variable with the values of a family's label.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "families and labels are values without any size"
)]
pub fn values<K, L, A>(family: Family<K, L>, _: A, label: &'static str) -> Variable
where
    K: Shape,
    L: LabelSet,
    A: Label,
{
    const {
        assert!(
            Names::new(L::NAMES).has(A::NAME),
            "the family's series do not have that label"
        );
    }
    let family = family.about().name();
    let query = format!(
        "label_values({family}{{job=~\"$job\", instance=~\"$instance\"}}, {})",
        A::NAME
    );
    // The value is empty for a container without a service, and for loopback traffic.
    choice(A::NAME, label, query, Some(".*"))
}

fn choice(name: &'static str, label: &'static str, query: String, all_value: Option<&'static str>) -> Variable {
    Variable {
        name,
        label,
        kind: "query",
        datasource: Some(Datasource { ..DATASOURCE }),
        definition: Some(query.clone()),
        query,
        refresh: 2,
        sort: Some(1),
        multi: true,
        include_all: true,
        all_value,
        current: Choice {
            text: Some("All"),
            value: Some("$__all"),
        },
        hide: 0,
    }
}
