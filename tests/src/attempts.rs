//! Counting bind and listen calls the way the daemon's attempt counters do, to compare totals exactly.

use std::{collections::BTreeMap, fmt, io};

use crate::{metrics::Metrics, sockets::result_name};

/// Labels of one attempt counter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    family: String,
    protocol: String,
    result: String,
}

/// How many calls had each result, by family and protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<Key, u64>);

impl Tally {
    /// What a scrape says about the family `name` (`reuse_bind_attempts_total` or its sister for listen).
    #[must_use]
    pub fn of_scrape(metrics: &Metrics, name: &str) -> Self {
        let mut tally = Self::default();
        for (labels, _) in metrics.series(name, &[]) {
            let label = |key: &str| labels.get(key).map_or("", String::as_str);
            let (family, protocol, result) = (label("family"), label("protocol"), label("result"));
            let filter = [("family", family), ("protocol", protocol), ("result", result)];
            tally.add(family, protocol, result, metrics.count(name, &filter));
        }
        tally
    }

    /// Adds `count` calls.
    pub fn add(&mut self, family: &str, protocol: &str, result: &str, count: u64) {
        if count > 0 {
            let key =
                Key { family: family.to_owned(), protocol: protocol.to_owned(), result: result.to_owned() };
            *self.0.entry(key).or_default() += count;
        }
    }

    /// Adds one call by its outcome, and hands the outcome back.
    ///
    /// # Errors
    /// The outcome's own.
    pub fn record<T>(&mut self, family: &str, protocol: &str, outcome: io::Result<T>) -> io::Result<T> {
        self.add(family, protocol, &result_name(&outcome), 1);
        outcome
    }

    /// Adds all of another tally.
    pub fn merge(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(key.clone()).or_default() += count;
        }
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut tally = Self::default();
        for (key, count) in &self.0 {
            let new = count.saturating_sub(earlier.0.get(key).copied().unwrap_or(0));
            tally.add(&key.family, &key.protocol, &key.result, new);
        }
        tally
    }

    /// Number of calls whose result is one that `wanted` accepts.
    pub fn total(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        self.0.iter().filter(|(key, _)| wanted(&key.result)).map(|(_, count)| count).sum()
    }

    /// Without the families that have no events of their own (everything but IPv4 and IPv6).
    #[must_use]
    pub fn internet_only(&self) -> Self {
        Self(self.0.iter().filter(|(key, _)| key.family != "other").map(|(k, n)| (k.clone(), *n)).collect())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, count) in &self.0 {
            writeln!(formatter, "  {} {} {}: {count}", key.family, key.protocol, key.result)?;
        }
        Ok(())
    }
}
