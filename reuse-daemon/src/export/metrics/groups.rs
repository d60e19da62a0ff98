//! SO_REUSEPORT groups, member by member: most of a scrape, so label sets are built once and shared by the families.

mod label_set;
mod row;
mod slots;

use std::collections::{BTreeMap, HashMap};

use prometheus::proto::{LabelPair, Metric};
use reuse_model::{
    endpoint::Transport,
    group::{Group, Groups},
    report::Context,
    tally::OTHER,
};

use super::{budget::Budget, family::Family, page::Page};
use label_set::LabelSet;
use row::Row;
use slots::Slots;

const GROUP_LABELS: &[&str] = &["protocol", "address", "port", "device", "v6only", "uid", "netns"];
const MEMBER_LABELS: &[&str] = &["protocol", "address", "port", "device", "v6only", "uid", "netns", "member"];

pub(super) const MEMBERS: Family =
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

/// Series of a group itself: its number of members.
const GROUP_SERIES: usize = 1;
/// Series of one member: selections, drops, two of the queue at most, info.
const MEMBER_SERIES: usize = 5;

/// Which groups and members have label sets of their own, and what the others counted.
#[derive(Debug, Default)]
pub(super) struct GroupFamilies {
    budget: Budget,
    known: HashMap<LabelSet, Slots>,
    folded: BTreeMap<Transport, Folded>,
    overflow: u64,
}

/// All groups of one protocol that have no label set of their own.
#[derive(Debug, Default)]
struct Folded {
    members: u64,
    row: Row,
}

/// What one scrape shows.
#[derive(Debug, Default)]
struct Shown {
    groups: Vec<Metric>,
    members: Vec<Metric>,
    /// Values of `members`
    rows: Vec<Row>,
    /// How many of `members` are TCP; these come first
    tcp: usize,
}

impl GroupFamilies {
    /// Groups and members that were folded so far, each once.
    pub(super) fn overflow(&self) -> u64 {
        self.overflow
    }

    /// Writes every family of this area in at most `allowed` series. `counted`: whether selections are.
    pub(super) fn write(
        &mut self,
        page: &mut Page,
        groups: &Groups,
        counted: bool,
        context: &dyn Context,
        allowed: usize,
    ) {
        // The folded rows of both protocols are shown whatever else is.
        self.budget.allow(allowed.saturating_sub(2 * (GROUP_SERIES + MEMBER_SERIES)));
        let mut by_labels: BTreeMap<LabelSet, Vec<&Group>> = BTreeMap::new();
        for group in groups.iter() {
            by_labels.entry(LabelSet::of(group, context)).or_default().push(group);
        }
        self.forget(&by_labels);
        for folded in self.folded.values_mut() {
            (folded.members, folded.row.now) = (0, None);
        }
        let mut shown = Shown::default();
        for transport in [Transport::Tcp, Transport::Udp] {
            for (labels, groups) in by_labels.iter().filter(|(labels, _)| labels.transport() == transport) {
                self.show(labels, groups, &mut shown);
            }
            if let Some(folded) = self.folded.get(&transport) {
                shown.folded(transport, folded);
            }
            if transport == Transport::Tcp {
                shown.tcp = shown.rows.len();
            }
        }
        shown.write(page, counted);
    }

    /// Gives back what groups had that are gone.
    fn forget(&mut self, by_labels: &BTreeMap<LabelSet, Vec<&Group>>) {
        let budget = &mut self.budget;
        self.known.retain(|labels, slots| {
            let groups = by_labels.get(labels);
            let freed =
                slots.retain(|key| groups.is_some_and(|all| all.iter().any(|group| group.key() == key)));
            budget.give_back(freed * MEMBER_SERIES);
            if groups.is_none() && slots.is_own() {
                budget.give_back(GROUP_SERIES + MEMBER_SERIES);
            }
            groups.is_some()
        });
    }

    /// Adds the groups of one label set to what is shown, or to what is folded.
    fn show(&mut self, labels: &LabelSet, groups: &[&Group], shown: &mut Shown) {
        let (budget, overflow) = (&mut self.budget, &mut self.overflow);
        let slots = self.known.entry(labels.clone()).or_insert_with(|| {
            // With room for the row that its further members fold into.
            let own = budget.take(GROUP_SERIES + MEMBER_SERIES);
            *overflow += u64::from(!own);
            Slots::new(own)
        });
        let members = groups.iter().map(|group| group.len() as u64).sum();
        if !slots.is_own() {
            let folded = self.folded.entry(labels.transport()).or_default();
            folded.members += members;
            for group in groups {
                for (slot, member, counts) in group.slots() {
                    folded.row.add_gauges(member);
                    slots.carry(group.key(), slot, counts, &mut folded.row.counts);
                }
            }
            return;
        }
        shown.group(labels, members);
        let mut other = Row::default();
        let mut has_other = false;
        for group in groups {
            for (slot, member, counts) in group.slots() {
                let number = slots.number(group.key(), slot, || {
                    let own = budget.take(MEMBER_SERIES);
                    *overflow += u64::from(!own);
                    own
                });
                match number {
                    Some(number) => shown.member(labels, &number.to_string(), Row::new(member, counts)),
                    None => {
                        has_other = true;
                        other.add(member, counts);
                    }
                }
            }
        }
        if has_other {
            shown.member(labels, OTHER, other);
        }
    }
}

impl Shown {
    fn group(&mut self, labels: &LabelSet, members: u64) {
        let values = labels.values();
        let mut series = MEMBERS.series(values.iter().map(AsRef::as_ref));
        MEMBERS.set(&mut series, members);
        self.groups.push(series);
    }

    fn member(&mut self, labels: &LabelSet, member: &str, row: Row) {
        let values = labels.values();
        self.members.push(SELECTIONS.series(values.iter().map(AsRef::as_ref).chain([member])));
        self.rows.push(row);
    }

    fn folded(&mut self, transport: Transport, folded: &Folded) {
        let labels =
            |count: usize| std::iter::once(transport.as_str()).chain(std::iter::repeat_n(OTHER, count));
        let mut series = MEMBERS.series(labels(GROUP_LABELS.len() - 1));
        MEMBERS.set(&mut series, folded.members);
        self.groups.push(series);
        self.members.push(SELECTIONS.series(labels(MEMBER_LABELS.len() - 1)));
        self.rows.push(folded.row.clone());
    }

    fn write(self, page: &mut Page, counted: bool) {
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
