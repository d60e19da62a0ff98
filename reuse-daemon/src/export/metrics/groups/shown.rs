//! What one scrape shows of groups: a label set is built once and serves every family.

use prometheus::proto::{LabelPair, Metric};
use reuse_model::{endpoint::Transport, tally::OTHER};

use super::{
    families::{
        ACCEPT_LENGTH, ACCEPT_LIMIT, DROPS, FAIRNESS, FLOWS, GROUP_LABELS, IMBALANCE, INFO, MEMBER_INFO,
        MEMBERS, P_VALUE, RECEIVE_BYTES, SELECTIONS, VERDICT,
    },
    figures::Figures,
    row::Row,
};
use crate::export::metrics::{family::Family, page::Page};

/// What one scrape shows.
#[derive(Debug, Default)]
pub(super) struct Shown {
    groups: Vec<Metric>,
    /// Values of `groups`
    figures: Vec<Figures>,
    members: Vec<Metric>,
    /// Values of `members`
    rows: Vec<Row>,
    /// How many of `members` are TCP; these come first
    tcp: usize,
}

impl Shown {
    /// Adds a group; `values` in the order of [`GROUP_LABELS`].
    pub(super) fn group(&mut self, values: [&str; GROUP_LABELS.len()], figures: Figures) {
        self.groups.push(MEMBERS.series(values));
        self.figures.push(figures);
    }

    /// Adds a member of a group.
    pub(super) fn member(&mut self, values: [&str; GROUP_LABELS.len()], member: &str, row: Row) {
        self.members.push(SELECTIONS.series(values.into_iter().chain([member])));
        self.rows.push(row);
    }

    /// Adds what groups without a label set of their own are and counted together.
    pub(super) fn folded(&mut self, transport: Transport, members: u64, row: Row) {
        let mut values = [OTHER; GROUP_LABELS.len()];
        values[0] = transport.as_str();
        self.group(values, Figures { members, ..Figures::default() });
        self.member(values, OTHER, row);
    }

    /// Says that all members added so far are TCP and all further ones UDP.
    pub(super) fn end_tcp(&mut self) {
        self.tcp = self.rows.len();
    }

    /// Writes the families. `counted`: whether selections are.
    pub(super) fn write(self, page: &mut Page, counted: bool) {
        let Self { groups, figures, mut members, mut rows, tcp } = self;
        write_groups(page, groups, &figures);
        if counted {
            members = encode(page, &SELECTIONS, members, rows.iter().map(|row| row.counts.selections));
        }
        members = encode(page, &DROPS, members, rows.iter().map(|row| row.counts.drops));
        // A slot without a socket has counted, but has no queue.
        let mut udp = (members.split_off(tcp), rows.split_off(tcp));
        let mut tcp = (members, rows);
        for (members, rows) in [&mut tcp, &mut udp] {
            let mut at = rows.iter();
            members.retain(|_| at.next().is_some_and(|row| row.now.is_some()));
            rows.retain(|row| row.now.is_some());
        }
        let queue = |row: &Row| row.now.as_ref().map_or(0, |now| now.queue);
        let limit = |row: &Row| row.now.as_ref().map_or(0, |now| now.queue_limit);
        let (tcp_rows, udp_rows) = (tcp.1, udp.1);
        let tcp = encode(page, &ACCEPT_LENGTH, tcp.0, tcp_rows.iter().map(queue));
        let mut tcp = encode(page, &ACCEPT_LIMIT, tcp, tcp_rows.iter().map(limit));
        let udp = encode(page, &RECEIVE_BYTES, udp.0, udp_rows.iter().map(queue));
        tcp.extend(udp);
        write_member_info(page, tcp, tcp_rows.iter().chain(&udp_rows));
    }
}

/// Writes the families of whole groups.
fn write_groups(page: &mut Page, groups: Vec<Metric>, figures: &[Figures]) {
    let groups = encode(page, &MEMBERS, groups, figures.iter().map(|group| group.members));
    // Each of these says something of the groups that have it, and a group that has the second has the first.
    let (with, mut without) = split(groups.into_iter().zip(figures), |group| {
        group.spread.and_then(|spread| spread.imbalance_ratio).is_some()
    });
    let spread = |number: fn(&reuse_model::distribution::Spread) -> Option<f64>| {
        move |group: &Figures| group.spread.as_ref().and_then(number)
    };
    let with = encode_floats(page, &IMBALANCE, with, spread(|spread| spread.imbalance_ratio));
    let with = encode_floats(page, &FAIRNESS, with, spread(|spread| spread.fairness_index));
    let (with, untested) = split(with, |group| group.spread.and_then(|spread| spread.p_value).is_some());
    without.extend(untested);
    let with = encode_floats(page, &P_VALUE, with, spread(|spread| spread.p_value));
    let with = encode_floats(page, &FLOWS, with, spread(|spread| Some(spread.flows as f64)));
    without.extend(with);
    let (judged, unjudged) = split(without, |group| group.verdict.is_some());
    let mut groups = write_verdicts(page, judged);
    groups.extend(unjudged);
    let info = groups.into_iter().filter_map(|(mut one, group)| {
        let info = group.info.as_ref()?;
        add_label(&mut one, "services", &info.services);
        add_label(&mut one, "selector", info.selector);
        INFO.set(&mut one, 1);
        Some(one)
    });
    page.encode(&INFO, info.collect());
}

/// A group's series with its values.
type Series<'a> = (Metric, &'a Figures);

fn split<'a>(
    groups: impl IntoIterator<Item = Series<'a>>,
    has: impl Fn(&Figures) -> bool,
) -> (Vec<Series<'a>>, Vec<Series<'a>>) {
    groups.into_iter().partition(|(_, group)| has(group))
}

/// Writes what each of the groups has of a number.
fn encode_floats<'a>(
    page: &mut Page,
    family: &Family,
    groups: Vec<Series<'a>>,
    number: impl Fn(&Figures) -> Option<f64>,
) -> Vec<Series<'a>> {
    let (mut series, figures): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
    for (one, group) in series.iter_mut().zip(&figures) {
        family.set_float(one, number(group).unwrap_or(f64::NAN));
    }
    page.encode(family, series).into_iter().zip(figures).collect()
}

/// Writes the verdicts, and gives the series back without that label.
fn write_verdicts<'a>(page: &mut Page, groups: Vec<Series<'a>>) -> Vec<Series<'a>> {
    let (mut series, figures): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
    for (one, group) in series.iter_mut().zip(&figures) {
        add_label(one, "verdict", group.verdict.map_or("", |verdict| verdict.as_str()));
        VERDICT.set(one, 1);
    }
    let mut series = page.encode(&VERDICT, series);
    for one in &mut series {
        let mut labels = one.take_label();
        labels.pop();
        one.set_label(labels);
    }
    series.into_iter().zip(figures).collect()
}

/// Gives the series their values and writes them.
fn encode(
    page: &mut Page,
    family: &Family,
    mut series: Vec<Metric>,
    values: impl Iterator<Item = u64>,
) -> Vec<Metric> {
    for (one, value) in series.iter_mut().zip(values) {
        family.set(one, value);
    }
    page.encode(family, series)
}

/// Writes who has each member open, where it is one member.
fn write_member_info<'a>(page: &mut Page, members: Vec<Metric>, rows: impl Iterator<Item = &'a Row>) {
    let series = members.into_iter().zip(rows).filter_map(|(mut one, row)| {
        let service = row.now.as_ref().and_then(|now| now.service.as_deref())?;
        add_label(&mut one, "service", service);
        MEMBER_INFO.set(&mut one, 1);
        Some(one)
    });
    page.encode(&MEMBER_INFO, series.collect());
}

fn add_label(series: &mut Metric, name: &str, value: &str) {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    let mut labels = series.take_label();
    labels.push(pair);
    series.set_label(labels);
}
