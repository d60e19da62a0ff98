//! The families of groups, filled for one scrape: a label set is built once and serves every family.

use prometheus::proto::{LabelPair, Metric};
use reuse_model::{endpoint::Transport, tally::OTHER};

use super::row::Row;
use crate::export::metrics::{family::Family, page::Page};

const GROUP_LABELS: &[&str] = &["protocol", "address", "port", "device", "v6only", "uid", "netns"];
const MEMBER_LABELS: &[&str] = &["protocol", "address", "port", "device", "v6only", "uid", "netns", "member"];

pub(in crate::export::metrics) const MEMBERS: Family =
    Family::gauge("reuse_group_members", "Members of this SO_REUSEPORT group.", GROUP_LABELS);
const SELECTIONS: Family = Family::counter(
    "reuse_group_selections_total",
    "Connections queued to this member, or unicast datagrams delivered to it or refused by its full buffer.",
    MEMBER_LABELS,
);
const DROPS: Family = Family::counter(
    "reuse_group_drops_total",
    "Packets that the kernel counts as dropped at this member's socket.",
    MEMBER_LABELS,
);
const ACCEPT_LENGTH: Family = Family::gauge(
    "reuse_group_accept_queue_length",
    "Connections of this member that wait to be accepted.",
    MEMBER_LABELS,
);
const ACCEPT_LIMIT: Family = Family::gauge(
    "reuse_group_accept_queue_limit",
    "Most connections that may wait at this member.",
    MEMBER_LABELS,
);
const RECEIVE_BYTES: Family = Family::gauge(
    "reuse_group_receive_queue_bytes",
    "Memory of the datagrams that wait at this member.",
    MEMBER_LABELS,
);
const MEMBER_INFO: Family = Family::gauge(
    "reuse_group_member_info",
    "Always 1; the labels say which service has this member's socket open.",
    MEMBER_LABELS,
);

/// What one scrape shows.
#[derive(Debug, Default)]
pub(super) struct Shown {
    groups: Vec<Metric>,
    members: Vec<Metric>,
    /// Values of `members`
    rows: Vec<Row>,
    /// How many of `members` are TCP; these come first
    tcp: usize,
}

impl Shown {
    /// Adds a group with its number of members; `values` in the order of [`GROUP_LABELS`].
    pub(super) fn group(&mut self, values: [&str; GROUP_LABELS.len()], members: u64) {
        let mut series = MEMBERS.series(values);
        MEMBERS.set(&mut series, members);
        self.groups.push(series);
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
        self.group(values, members);
        self.member(values, OTHER, row);
    }

    /// Says that all members added so far are TCP and all further ones UDP.
    pub(super) fn end_tcp(&mut self) {
        self.tcp = self.rows.len();
    }

    /// Writes the families. `counted`: whether selections are.
    pub(super) fn write(self, page: &mut Page, counted: bool) {
        let Self { groups, mut members, mut rows, tcp } = self;
        page.encode(&MEMBERS, groups);
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
        write_info(page, tcp, tcp_rows.iter().chain(&udp_rows));
    }
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
fn write_info<'a>(page: &mut Page, members: Vec<Metric>, rows: impl Iterator<Item = &'a Row>) {
    let series = members.into_iter().zip(rows).filter_map(|(mut one, row)| {
        let service = row.now.as_ref().and_then(|now| now.service.as_deref())?;
        let mut pair = LabelPair::default();
        pair.set_name("service".to_owned());
        pair.set_value(service.to_owned());
        let mut labels = one.take_label();
        labels.push(pair);
        one.set_label(labels);
        MEMBER_INFO.set(&mut one, 1);
        Some(one)
    });
    page.encode(&MEMBER_INFO, series.collect());
}
