//! One metric family: its fixed description, and its series as they are gathered for one scrape.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Never goes back while the series lives
    Counter,
    /// Goes both ways
    Gauge,
}

/// What never changes of a family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// Full name
    pub(super) name: &'static str,
    /// One sentence
    pub(super) help: &'static str,
    /// Kind
    pub(super) kind: Kind,
    /// Names of its labels, in the order in which values are given
    pub(super) labels: &'static [&'static str],
}

impl Family {
    /// A counter.
    pub(super) const fn counter(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { name, help, kind: Kind::Counter, labels }
    }

    /// A gauge.
    pub(super) const fn gauge(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { name, help, kind: Kind::Gauge, labels }
    }

    /// A series without a value yet. `values` beyond the labels are left out.
    pub(super) fn series<'a>(&self, values: impl IntoIterator<Item = &'a str>) -> Metric {
        Metric::from_label(pairs(self.labels, values))
    }

    /// The series with what the encoder needs to know of them all.
    pub(super) fn with(&self, series: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        });
        family.set_metric(series);
        family
    }

    /// Gives a series its value. The format knows no other number than a float, which is exact up to 2^53.
    pub(super) fn set(&self, series: &mut Metric, value: u64) {
        self.set_float(series, value as f64);
    }

    /// Gives a series its value.
    pub(super) fn set_float(&self, series: &mut Metric, value: f64) {
        match self.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                series.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                series.set_gauge(gauge);
            }
        }
    }
}

/// Label pairs from names and values.
fn pairs<'a>(names: &[&str], values: impl IntoIterator<Item = &'a str>) -> Vec<LabelPair> {
    let pair = |(name, value): (&&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    // Room for one more: the label that only an info family has.
    let mut pairs = Vec::with_capacity(names.len() + 1);
    pairs.extend(names.iter().zip(values).map(pair));
    pairs
}
