//! `PromQL` as a tree and as text. This module can build any tree; [`super`] decides which ones make sense.

use std::fmt::{self, Write as _};

/// Where the text is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A dashboard. The user chooses jobs and nodes, and Grafana chooses the windows.
    Board,
    /// A rule. It covers all nodes, and its window is fixed.
    Rule,
}

/// How far back a range of samples reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// As far as a rate needs.
    Rate,
    /// The whole time range that the user looks at.
    Shown,
    /// This long.
    Of(&'static str),
}

/// The job that rules select if a family is not only netmon's.
pub const JOB: &str = "netmon";

/// A condition on a label's value.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    pub(crate) label: &'static str,
    pub(crate) operator: &'static str,
    pub(crate) value: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Number(f64),
    /// The moment of evaluation.
    Time,
    Series {
        name: String,
        matchers: Vec<Matcher>,
        window: Option<Window>,
        offset: Option<Window>,
        /// Evaluated at the end of the shown time range, not at the moment of evaluation.
        at_end: bool,
    },
    Call {
        function: &'static str,
        parameter: Option<f64>,
        of: Box<Self>,
    },
    /// Adds a label with the values of others, and what is between them.
    Label {
        name: &'static str,
        between: &'static str,
        from: Vec<&'static str>,
        of: Box<Self>,
    },
    Aggregate {
        operator: &'static str,
        parameter: Option<u32>,
        by: Option<Vec<&'static str>>,
        of: Box<Self>,
    },
    Binary {
        left: Box<Self>,
        operator: &'static str,
        on: Option<Vec<&'static str>>,
        /// Matches many series on the left to one on the right, and copies these labels from the right.
        take: Option<Vec<&'static str>>,
        right: Box<Self>,
    },
}

impl Expression {
    /// The text.
    pub(crate) fn text(&self, place: Place) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _: fmt::Result = self.write(&mut text, place);
        text
    }

    /// The same expression over the whole time range, evaluated at its end. It gives one set of series for a whole
    /// graph.
    pub(crate) fn over_all(&self) -> Self {
        let mut all = self.clone();
        all.each_series(&mut |window, at_end| {
            if window.is_some() {
                *window = Some(Window::Shown);
            }
            *at_end = true;
        });
        all
    }

    fn each_series(&mut self, act: &mut impl FnMut(&mut Option<Window>, &mut bool)) {
        match self {
            Self::Number(_) | Self::Time => {}
            Self::Series { window, at_end, .. } => act(window, at_end),
            Self::Call { of, .. } | Self::Label { of, .. } | Self::Aggregate { of, .. } => of.each_series(act),
            Self::Binary { left, right, .. } => {
                left.each_series(act);
                right.each_series(act);
            }
        }
    }

    fn write(&self, text: &mut String, place: Place) -> fmt::Result {
        match self {
            Self::Number(number) => write!(text, "{number}"),
            Self::Time => write!(text, "time()"),
            Self::Series {
                name,
                matchers,
                window,
                offset,
                at_end,
            } => {
                text.push_str(name);
                write_matchers(text, place, name, matchers)?;
                if let Some(window) = window {
                    write!(text, "[{}]", window.text(place))?;
                }
                if let Some(offset) = offset {
                    write!(text, " offset {}", offset.text(place))?;
                }
                if *at_end {
                    text.push_str(" @ end()");
                }
                Ok(())
            }
            Self::Call {
                function,
                parameter,
                of,
            } => {
                write!(text, "{function}(")?;
                if let Some(parameter) = parameter {
                    write!(text, "{parameter}, ")?;
                }
                of.write(text, place)?;
                text.push(')');
                Ok(())
            }
            Self::Label {
                name,
                between,
                from,
                of,
            } => {
                text.push_str("label_join(");
                of.write(text, place)?;
                write!(text, ", \"{name}\", \"{between}\"")?;
                for label in from {
                    write!(text, ", \"{label}\"")?;
                }
                text.push(')');
                Ok(())
            }
            Self::Aggregate {
                operator,
                parameter,
                by,
                of,
            } => {
                text.push_str(operator);
                if let Some(by) = by.as_ref().filter(|by| !by.is_empty()) {
                    write!(text, " by ({}) ", by.join(", "))?;
                }
                text.push('(');
                if let Some(parameter) = parameter {
                    write!(text, "{parameter}, ")?;
                }
                of.write(text, place)?;
                text.push(')');
                Ok(())
            }
            Self::Binary {
                left,
                operator,
                on,
                take,
                right,
            } => {
                left.write_operand(text, place)?;
                write!(text, " {operator} ")?;
                if let Some(on) = on {
                    write!(text, "on ({}) ", on.join(", "))?;
                }
                if let Some(take) = take {
                    write!(text, "group_left ({}) ", take.join(", "))?;
                }
                right.write_operand(text, place)
            }
        }
    }

    /// Writes parentheses around every nested operator, so precedence does not matter.
    fn write_operand(&self, text: &mut String, place: Place) -> fmt::Result {
        if !matches!(self, Self::Binary { .. }) {
            return self.write(text, place);
        }
        text.push('(');
        self.write(text, place)?;
        text.push(')');
        Ok(())
    }
}

impl Window {
    fn text(self, place: Place) -> &'static str {
        match (self, place) {
            (Self::Of(window), _) => window,
            (Self::Rate, Place::Board) => "$__rate_interval",
            (Self::Shown, Place::Board) => "$__range",
            // Four scrape intervals of one minute, and one to spare.
            (Self::Rate | Self::Shown, Place::Rule) => "5m",
        }
    }
}

fn write_matchers(text: &mut String, place: Place, name: &str, matchers: &[Matcher]) -> fmt::Result {
    let mut parts = Vec::new();
    match place {
        Place::Board => parts.extend(["job=~\"$job\"".to_owned(), "instance=~\"$instance\"".to_owned()]),
        // All other families are netmon's, as their names show.
        Place::Rule if !name.contains("netmon_") => parts.push(format!("job=\"{JOB}\"")),
        Place::Rule => {}
    }
    for Matcher { label, operator, value } in matchers {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        parts.push(format!("{label}{operator}\"{value}\""));
    }
    if parts.is_empty() {
        return Ok(());
    }
    write!(text, "{{{}}}", parts.join(", "))
}
