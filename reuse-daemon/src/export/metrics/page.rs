//! One scrape's text: families are encoded one at a time, so that only the text of a scrape is ever whole in memory.

use prometheus::{
    TextEncoder,
    proto::{Metric, MetricFamily},
};

use super::family::Family;

/// The text so far and how many series it holds.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    series: usize,
}

impl Page {
    /// A page with room for `bytes` of text.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), series: 0 }
    }

    /// Series written so far; a histogram counts with all its buckets.
    pub(super) fn series(&self) -> usize {
        self.series
    }

    /// The text.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Writes a family with these series, label values and value each. Without any series nothing is written.
    pub(super) fn write<'a, L>(&mut self, family: &Family, series: impl IntoIterator<Item = (L, u64)>)
    where
        L: IntoIterator<Item = &'a str>,
    {
        let series = series.into_iter().map(|(labels, value)| {
            let mut one = family.series(labels);
            family.set(&mut one, value);
            one
        });
        self.encode(family, series.collect());
    }

    /// As [`Self::write`], with values that are no whole numbers.
    pub(super) fn write_floats<'a, L>(&mut self, family: &Family, series: impl IntoIterator<Item = (L, f64)>)
    where
        L: IntoIterator<Item = &'a str>,
    {
        let series = series.into_iter().map(|(labels, value)| {
            let mut one = family.series(labels);
            family.set_float(&mut one, value);
            one
        });
        self.encode(family, series.collect());
    }

    /// Writes series that have their labels and values, and gives them back: label sets that several families share
    /// are built once.
    pub(super) fn encode(&mut self, family: &Family, series: Vec<Metric>) -> Vec<Metric> {
        if series.is_empty() {
            return series;
        }
        let mut whole = family.with(series);
        self.encode_whole(&whole);
        whole.take_metric()
    }

    /// Writes a family that a collector of the `prometheus` crate made.
    pub(super) fn encode_whole(&mut self, family: &MetricFamily) {
        let before = self.text.len();
        if let Err(error) = TextEncoder::new().encode_utf8(std::slice::from_ref(family), &mut self.text) {
            // Half a family would spoil the whole scrape.
            self.text.truncate(before);
            log::error!("metric family {}: {error}", family.name());
            return;
        }
        self.series += family.get_metric().iter().map(lines).sum::<usize>();
    }
}

/// Lines of one metric: a histogram has its buckets, `+Inf`, sum and count.
fn lines(metric: &Metric) -> usize {
    match metric.get_histogram().get_bucket().len() {
        0 => 1,
        buckets => buckets + 3,
    }
}
