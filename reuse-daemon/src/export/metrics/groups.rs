//! SO_REUSEPORT groups, member by member: most of a scrape, so label sets are built once and shared by the families.

mod families;
mod figures;
mod label_set;
mod row;
mod shown;
mod slots;

use std::collections::{BTreeMap, HashMap};

use reuse_model::{
    endpoint::Transport,
    group::{Group, Groups},
    report::Context,
    tally::OTHER,
};

use super::{budget::Budget, page::Page};
pub(super) use families::MEMBERS;
use figures::Figures;
use label_set::LabelSet;
use row::Row;
use shown::Shown;
use slots::Slots;

/// Series of a group itself: members, info, four of its spread, verdict.
const GROUP_SERIES: usize = 7;
/// Series of one member: selections, drops, two of the queue at most, info.
const MEMBER_SERIES: usize = 5;
/// Series of the groups of one protocol that are folded: their members, and what these have but who they are.
const FOLDED_SERIES: usize = 1 + 5;

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
        self.budget.allow(allowed.saturating_sub(2 * FOLDED_SERIES));
        let mut by_labels: BTreeMap<LabelSet, Vec<&Group>> = BTreeMap::new();
        for group in groups.iter() {
            by_labels.entry(LabelSet::of(group, context)).or_default().push(group);
        }
        for sharing in by_labels.values_mut() {
            sharing.sort_unstable_by_key(|group| group.key());
        }
        self.forget(&by_labels);
        for folded in self.folded.values_mut() {
            (folded.members, folded.row.now) = (0, None);
        }
        let mut shown = Shown::default();
        for transport in [Transport::Tcp, Transport::Udp] {
            for (labels, groups) in by_labels.iter().filter(|(labels, _)| labels.transport() == transport) {
                self.show(labels, groups, counted, &mut shown);
            }
            if let Some(folded) = self.folded.get(&transport) {
                shown.folded(transport, folded.members, folded.row.clone());
            }
            if transport == Transport::Tcp {
                shown.end_tcp();
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
    fn show(&mut self, labels: &LabelSet, groups: &[&Group], counted: bool, shown: &mut Shown) {
        let (budget, overflow) = (&mut self.budget, &mut self.overflow);
        let slots = self.known.entry(labels.clone()).or_insert_with(|| {
            // With room for the row that its further members fold into.
            let own = budget.take(GROUP_SERIES + MEMBER_SERIES);
            *overflow += u64::from(!own);
            Slots::new(own)
        });
        if !slots.is_own() {
            let folded = self.folded.entry(labels.transport()).or_default();
            folded.members += groups.iter().map(|group| group.len() as u64).sum::<u64>();
            for group in groups {
                for (slot, member, counts) in group.slots() {
                    folded.row.add_gauges(member);
                    slots.carry(group.key(), slot, counts, &mut folded.row.counts);
                }
            }
            return;
        }
        let values = labels.values();
        let values = values.each_ref().map(AsRef::as_ref);
        shown.group(values, Figures::of(groups, counted));
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
                    Some(number) => shown.member(values, &number.to_string(), Row::new(member, counts)),
                    None => {
                        has_other = true;
                        other.add(member, counts);
                    }
                }
            }
        }
        if has_other {
            shown.member(values, OTHER, other);
        }
    }
}
