//! The rules of Grafana's own dashboard linter, applied to the committed files.

use std::{fs, path::Path};

use promql_parser::parser::{self, Expr};
use serde_json::Value;

/// Functions that turn a counter into a rate or an increase.
const COURSES: &[&str] = &["rate", "increase"];

#[test]
fn the_files_are_what_the_code_makes() {
    netmon_dashboards::files::check(folder()).expect("files that are up to date");
}

#[test]
fn a_dashboard_can_be_imported_anywhere() {
    each_board(|name, board| {
        assert_eq!(board["editable"], Value::Bool(false), "{name} can be edited");
        assert_eq!(board["schemaVersion"], 39, "{name}");
        assert!(board["id"].is_null(), "{name} has an id of somebody's Grafana");
        assert_eq!(format!("{}.json", text(&board["uid"])), name);
        assert_eq!(board["tags"][0], "netmon", "{name}");
        assert_eq!(
            board["links"][0]["tags"][0], "netmon",
            "{name} does not lead to the others"
        );
        let variable = variable(board, "datasource");
        assert_eq!(variable["type"], "datasource", "{name}");
        assert_eq!(variable["query"], "prometheus", "{name}");
        assert_eq!(variable["label"], "Data source", "{name}");
        let whole = board.to_string();
        assert_eq!(
            whole.matches("\"uid\":\"${datasource}\"").count() + 1,
            whole.matches("\"uid\":").count(),
            "{name} has a data source wired in"
        );
    });
}

#[test]
fn every_dashboard_lets_people_choose_jobs_and_nodes() {
    each_board(|name, board| {
        for wanted in ["job", "instance"] {
            let variable = variable(board, wanted);
            assert_eq!(variable["type"], "query", "{name}: {wanted}");
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{name}: {wanted}");
            // All jobs are those of netmon, one by one. With `.+`, as the linter wants it, `up` would be that of everything
            // that this Prometheus scrapes.
            let all = if wanted == "job" {
                Value::Null
            } else {
                Value::from(".+")
            };
            assert_eq!(variable["allValue"], all, "{name}: {wanted}");
            // Refreshed when the shown time range changes.
            assert_eq!(variable["refresh"], 2, "{name}: {wanted}");
            for flag in ["multi", "includeAll"] {
                assert_eq!(variable[flag], true, "{name}: {wanted}: {flag}");
            }
        }
    });
}

#[test]
fn every_panel_says_what_it_is_and_what_to_do_and_in_which_unit() {
    each_panel(|name, panel| {
        if matches!(text(&panel["type"]), "row" | "text") {
            return;
        }
        assert!(!text(&panel["title"]).is_empty(), "{name} has no title");
        assert!(text(&panel["description"]).len() > 40, "{name} does not say what to do");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}");
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(!text(&defaults["unit"]).is_empty(), "{name} has no unit");
        assert!(defaults["thresholds"]["steps"].is_array(), "{name} has no thresholds");
        assert!(
            panel["targets"].as_array().is_some_and(|it| !it.is_empty()),
            "{name} asks nothing"
        );
    });
}

#[test]
fn panels_do_not_lie_on_each_other_and_have_numbers_of_their_own() {
    each_board(|name, board| {
        let mut taken = std::collections::BTreeSet::new();
        let mut ids = std::collections::BTreeSet::new();
        for panel in board["panels"].as_array().expect("panels") {
            assert!(ids.insert(panel["id"].as_u64()), "{name}: a number twice");
            let at = |what: &str| panel["gridPos"][what].as_u64().expect("a place");
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(
                        x < 24 && taken.insert((x, y)),
                        "{name}: {} lies on another",
                        panel["title"]
                    );
                }
            }
        }
    });
}

#[test]
fn every_query_is_of_the_chosen_jobs_and_nodes_and_looks_back_as_far_as_grafana_wants() {
    each_panel(|name, panel| {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = text(&target["expr"]);
            // Grafana replaces these variables with durations. The parser needs durations, too.
            let filled = query.replace("$__rate_interval", "11m").replace("$__range", "13m");
            let parsed = parser::parse(&filled).unwrap_or_else(|error| panic!("{name}: {error}: {query}"));
            let instant = target["instant"] == true;
            each_expression(&parsed, &mut |inner| match inner {
                Expr::VectorSelector(selector) => of_the_chosen(name, &selector.matchers),
                Expr::MatrixSelector(selector) => {
                    of_the_chosen(name, &selector.vs.matchers);
                    let seconds = selector.range.as_secs();
                    let shown = instant || selector.vs.at.is_some();
                    assert!(
                        seconds == 11 * 60 || (seconds == 13 * 60 && shown),
                        "{name} looks back {seconds} s of its own: {query}"
                    );
                }
                Expr::Aggregate(_)
                | Expr::Unary(_)
                | Expr::Binary(_)
                | Expr::Paren(_)
                | Expr::Subquery(_)
                | Expr::NumberLiteral(_)
                | Expr::StringLiteral(_)
                | Expr::Call(_)
                | Expr::Extension(_) => {}
            });
        }
    });
}

#[test]
fn a_counter_is_never_shown_as_it_is() {
    each_panel(|name, panel| {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = text(&target["expr"]);
            for (at, _) in query.match_indices("_total{") {
                let begin = query[..at]
                    .rfind(|it: char| !it.is_alphanumeric() && it != '_')
                    .map_or(0, |it| it + 1);
                let before = query[..begin].trim_end_matches('(');
                let after = &query[at..];
                let course = COURSES.iter().any(|function| before.ends_with(function));
                // Part of the query for new series: see `query::Selection::seen`.
                let appeared = after
                    .split('}')
                    .nth(1)
                    .is_some_and(|it| it.starts_with(" unless") || it.starts_with(" offset"));
                assert!(course || appeared, "{name} shows a counter as it is: {query}");
            }
        }
    });
}

#[test]
fn every_variable_that_is_used_is_there() {
    each_board(|name, board| {
        let names: Vec<_> = variables(board).map(|it| text(&it["name"]).to_owned()).collect();
        let whole = board["panels"].to_string();
        for (at, _) in whole.match_indices("=~\\\"$") {
            let rest = &whole[at + "=~\\\"$".len()..];
            let used: String = rest
                .chars()
                .take_while(|it| it.is_alphanumeric() || *it == '_')
                .collect();
            assert!(names.contains(&used), "{name} has no variable {used}");
        }
        // The reverse must hold, too: a variable without an effect misleads the user.
        for variable in names.iter().filter(|it| *it != "datasource") {
            assert!(
                whole.contains(&format!("${variable}")),
                "{name}: nothing uses {variable}"
            );
        }
    });
}

fn of_the_chosen(name: &str, matchers: &promql_parser::label::Matchers) {
    for (label, value) in [("job", "$job"), ("instance", "$instance")] {
        let found = matchers.matchers.iter().any(|it| it.name == label && it.value == value);
        assert!(found, "{name} asks beyond the chosen {label}");
    }
}

fn each_expression(expression: &Expr, act: &mut impl FnMut(&Expr)) {
    act(expression);
    match expression {
        Expr::Aggregate(it) => each_expression(&it.expr, act),
        Expr::Unary(it) => each_expression(&it.expr, act),
        Expr::Binary(it) => {
            each_expression(&it.lhs, act);
            each_expression(&it.rhs, act);
        }
        Expr::Paren(it) => each_expression(&it.expr, act),
        Expr::Subquery(it) => each_expression(&it.expr, act),
        Expr::Call(it) => it.args.args.iter().for_each(|it| each_expression(it, act)),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => {}
    }
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn each_board(mut act: impl FnMut(&str, &Value)) {
    let mut count = 0;
    for entry in fs::read_dir(folder()).expect("the folder") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|it| it == "json") {
            let board = serde_json::from_str(&fs::read_to_string(&path).expect("a dashboard")).expect("JSON");
            act(path.file_name().and_then(|it| it.to_str()).expect("a name"), &board);
            count += 1;
        }
    }
    assert!(count >= 6, "there are {count} dashboards only");
}

fn each_panel(mut act: impl FnMut(&str, &Value)) {
    each_board(|name, board| {
        for panel in board["panels"].as_array().expect("panels") {
            act(&format!("{name}: {}", panel["title"]), panel);
            for folded in panel["panels"].as_array().into_iter().flatten() {
                act(&format!("{name}: {}", folded["title"]), folded);
            }
        }
    });
}

fn variables(board: &Value) -> impl Iterator<Item = &Value> {
    board["templating"]["list"].as_array().expect("variables").iter()
}

fn variable<'a>(board: &'a Value, name: &str) -> &'a Value {
    variables(board).find(|it| it["name"] == name).expect("a variable")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
