//! Collects figures and their bounds, prints them and judges them. Does not know how they were measured.

use std::{fmt, io, path::Path};

/// All figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

#[derive(Debug)]
struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    bound: Option<f64>,
}

impl Figure {
    fn holds(&self) -> bool {
        self.bound.is_none_or(|bound| self.value <= bound)
    }
}

impl Report {
    /// Adds a figure. Smaller is better, and a figure over its bound is a failure.
    pub(crate) fn add(&mut self, what: &str, value: f64, unit: &'static str, bound: Option<f64>) {
        self.figures.push(Figure {
            what: what.to_owned(),
            value,
            unit,
            bound,
        });
    }

    /// Writes the figures as JSON, one per line.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut lines = String::new();
        for figure in &self.figures {
            let Figure {
                what,
                value,
                unit,
                bound,
            } = figure;
            let figure = serde_json::json!({"what": what, "value": value, "unit": unit, "bound": bound});
            lines.push_str(&figure.to_string());
            lines.push('\n');
        }
        std::fs::write(path, lines)
    }

    /// Fails if a figure is over its bound.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        let broken: Vec<_> = self
            .figures
            .iter()
            .filter(|figure| !figure.holds())
            .map(|figure| &*figure.what)
            .collect();
        anyhow::ensure!(broken.is_empty(), "over the bound: {}", broken.join("; "));
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | measured | bound |\n|---|---:|---:|")?;
        for figure in &self.figures {
            let Figure {
                what,
                value,
                unit,
                bound,
            } = figure;
            let digits = if *value < 100.0 { 2 } else { 0 };
            let bound = bound.map(|bound| format!("<= {bound} {unit}")).unwrap_or_default();
            let mark = if figure.holds() { "" } else { " **over**" };
            writeln!(f, "| {what} | {value:.digits$} {unit}{mark} | {bound} |")?;
        }
        Ok(())
    }
}
