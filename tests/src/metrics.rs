//! Prometheus' text format, read strictly: what this parser refuses, a scraper may refuse as well.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, bail};

/// Labels of one series.
pub type Labels = BTreeMap<String, String>;

/// One scrape.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    types: BTreeMap<String, String>,
    help: BTreeMap<String, String>,
    samples: BTreeMap<String, Vec<(Labels, f64)>>,
}

impl Metrics {
    /// Parses a scrape.
    ///
    /// # Errors
    /// On a malformed line, a series that appears twice, a sample without `# TYPE`, a type given twice.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_lines(text.lines())
    }

    /// Parses only the families of these names, none of which is a histogram: a whole scrape has some hundred series.
    ///
    /// # Errors
    /// As [`Metrics::parse`].
    pub fn parse_only(families: &[&str], text: &str) -> Result<Self> {
        let is_wanted = |line: &&str| {
            let rest = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
            let name = rest.split(['{', ' ']).next().unwrap_or_default();
            families.contains(&name)
        };
        Self::parse_lines(text.lines().filter(is_wanted))
    }

    fn parse_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut metrics = Self::default();
        let mut seen = HashSet::new();
        for line in lines.filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                metrics.comment(comment).with_context(|| format!("line {line:?}"))?;
            } else {
                let (name, labels, value) = sample(line).with_context(|| format!("line {line:?}"))?;
                if metrics.family(&name).is_none() {
                    bail!("{name} has no # TYPE line before it");
                }
                if !seen.insert((name.clone(), labels.clone())) {
                    bail!("series appears twice: {line}");
                }
                metrics.samples.entry(name).or_default().push((labels, value));
            }
        }
        Ok(metrics)
    }

    fn comment(&mut self, comment: &str) -> Result<()> {
        let mut words = comment.splitn(3, ' ');
        let (keyword, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let text = words.next().unwrap_or_default().to_owned();
        let map = match keyword {
            "TYPE" => &mut self.types,
            "HELP" => &mut self.help,
            _ => return Ok(()),
        };
        if map.insert(name.to_owned(), text).is_some() {
            bail!("{keyword} of {name} given twice");
        }
        Ok(())
    }

    /// The family a sample belongs to: `x_bucket`, `x_sum` and `x_count` are the histogram `x`.
    fn family(&self, sample: &str) -> Option<&str> {
        if let Some((name, _)) = self.types.get_key_value(sample) {
            return Some(name);
        }
        ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let (name, kind) = self.types.get_key_value(sample.strip_suffix(suffix)?)?;
            (kind == "histogram" || kind == "summary").then_some(name.as_str())
        })
    }

    /// Names of all families with their types.
    #[must_use]
    pub fn types(&self) -> &BTreeMap<String, String> {
        &self.types
    }

    /// Help text of a family.
    #[must_use]
    pub fn help(&self, family: &str) -> Option<&str> {
        self.help.get(family).map(String::as_str)
    }

    /// Every series of `name` that carries all the labels of `filter`.
    pub fn series<'a>(
        &'a self,
        name: &str,
        filter: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a Labels, f64)> + 'a {
        self.samples.get(name).into_iter().flatten().filter_map(move |(labels, value)| {
            let matches =
                filter.iter().all(|(key, wanted)| labels.get(*key).is_some_and(|have| have == wanted));
            matches.then_some((labels, *value))
        })
    }

    /// How many series there are of all names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sum over the series of `name` that carry all the labels of `filter`; `None` where there is no such series.
    #[must_use]
    pub fn sum(&self, name: &str, filter: &[(&str, &str)]) -> Option<f64> {
        self.series(name, filter).map(|(_, value)| value).reduce(|sum, value| sum + value)
    }

    /// A counter as a whole number, 0 where there is no such series yet.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters are whole and not negative"
    )]
    pub fn count(&self, name: &str, filter: &[(&str, &str)]) -> u64 {
        self.sum(name, filter).unwrap_or(0.0).round() as u64
    }
}

fn sample(line: &str) -> Result<(String, Labels, f64)> {
    let name_end = line.find(['{', ' ']).context("no value")?;
    let name = &line[..name_end];
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    {
        bail!("bad metric name {name:?}");
    }
    let rest = &line[name_end..];
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => label_set(rest)?,
        None => (Labels::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let value = match words.next().context("no value")? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        number => number.parse().with_context(|| format!("value {number:?}"))?,
    };
    Ok((name.to_owned(), labels, value))
}

/// Parses what follows the opening brace, and gives the rest after the closing one.
fn label_set(mut rest: &str) -> Result<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (key, after) = rest.split_once("=\"").context("label without a value")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        rest = loop {
            match chars.next().context("label value without an end")? {
                (at, '"') => break &after[at + 1..],
                (_, '\\') => match chars.next().context("label value without an end")?.1 {
                    'n' => value.push('\n'),
                    escaped @ ('\\' | '"') => value.push(escaped),
                    other => bail!("unknown escape \\{other}"),
                },
                (_, plain) => value.push(plain),
            }
        };
        if labels.insert(key.to_owned(), value).is_some() {
            bail!("label {key} twice");
        }
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\",y=\"q\\\"\\\\\\n}\"} 3\n\
        a_total{x=\"2\",y=\"\"} 4\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 0.5\nh_count 2\n";

    #[test]
    fn sums_what_the_filter_selects() {
        let metrics = Metrics::parse(SCRAPE).expect("valid scrape");
        assert_eq!(metrics.count("a_total", &[]), 7);
        assert_eq!(metrics.count("a_total", &[("x", "2")]), 4);
        assert_eq!(metrics.count("a_total", &[("y", "q\"\\\n}")]), 3, "escapes are undone");
        assert_eq!(metrics.sum("a_total", &[("x", "3")]), None);
        assert_eq!(metrics.sum("h_bucket", &[("le", "+Inf")]), Some(2.0));
        assert_eq!(metrics.help("a_total"), Some("Things."));
        let only = Metrics::parse_only(&["a_total", "b"], SCRAPE).expect("valid scrape");
        assert_eq!((only.count("a_total", &[]), only.help("a_total"), only.len()), (7, Some("Things."), 2));
    }

    #[test]
    fn refuses_what_is_not_a_scrape() {
        for bad in [
            "a_total 1\n",
            "# TYPE a counter\na 1\na 2\n",
            "# TYPE a counter\na{x=\"1} 2\n",
            "# TYPE a counter\na{x=\"1\"} one\n",
            "# TYPE a counter\n# TYPE a gauge\n",
            "# TYPE a counter\na_sum 1\n",
        ] {
            assert!(Metrics::parse(bad).is_err(), "accepted {bad:?}");
        }
    }
}
