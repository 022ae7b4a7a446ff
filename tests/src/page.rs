//! Reads a page of metrics.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, bail};

use crate::figures::Figures;

/// One line of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// Whether it has these labels with these values. It may have other labels too.
    #[must_use]
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.labels.get(*name).is_some_and(|it| it == value))
    }
}

/// All samples of a page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The samples, in the page's order.
    pub samples: Vec<Sample>,
}

impl Page {
    /// Reads a page in Prometheus' text format.
    ///
    /// # Errors
    /// A line is not a sample.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let samples = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| sample(line).with_context(|| format!("no sample: {line}")))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { samples })
    }

    /// The samples of that name with these labels.
    #[must_use]
    pub fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        self.samples
            .iter()
            .filter(|it| it.name == name && it.has(labels))
            .collect()
    }

    /// The value of the only sample of that name with these labels.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<f64> {
        Ok(self.one(name, labels)?.value)
    }

    /// The value of a counter, as a whole number.
    ///
    /// # Errors
    /// As [`Page::value`].
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters in tests are whole and far below 2^53"
    )]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<u64> {
        self.value(name, labels).map(|value| value as u64)
    }

    /// The sum of the counters of that name with these labels, as a whole number; 0 if there is none.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters in tests are whole and far below 2^53"
    )]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.all(name, labels).iter().map(|sample| sample.value as u64).sum()
    }

    /// The only sample of that name with these labels.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn one(&self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<&Sample> {
        match self.all(name, labels)[..] {
            [sample] => Ok(sample),
            [] => bail!("the page has no {name}{}", Labels(labels)),
            [one, other, ..] => bail!("two samples are {name}{}: {one:?}, {other:?}", Labels(labels)),
        }
    }

    /// The counters of a container's interface on a network.
    ///
    /// # Errors
    /// The page does not have them.
    pub fn interface(&self, container: &str, network: &str) -> anyhow::Result<Figures> {
        self.figures(
            "netmon_container_network",
            &[("container", container), ("network", network)],
        )
    }

    /// The counters of the only interface with these labels.
    ///
    /// # Errors
    /// The page does not have them, or has several.
    pub fn figures(&self, base: &str, labels: &[(&str, &str)]) -> anyhow::Result<Figures> {
        let count = |what: &str| self.count(&format!("{base}_{what}_total"), labels);
        Ok(Figures {
            receive_packets: count("receive_packets")?,
            receive_bytes: count("receive_bytes")?,
            transmit_packets: count("transmit_packets")?,
            transmit_bytes: count("transmit_bytes")?,
        })
    }
}

struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(f, "{{{}}}", labels.join(","))
    }
}

fn sample(line: &str) -> anyhow::Result<Sample> {
    let end = line.find(['{', ' ']).context("no value")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").context("a label without a value")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.trim_start_matches(',').to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next().context("no value")?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        value => value.parse()?,
    };
    Ok(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// A label's value up to its closing quote, and the text after the quote.
fn quoted(text: &str) -> anyhow::Result<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next().context("the value ends in a backslash")?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    bail!("a label's value has no end")
}
