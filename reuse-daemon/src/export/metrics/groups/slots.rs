//! Which member number each slot of the groups of one label set has.
//!
//! Groups that share a label set are shown as one, their members numbered through. A slot keeps its number, and
//! stays folded once it is, as long as its group lives: a counter that moved between series would seem to go back.

use std::collections::{HashMap, HashSet};

use reuse_model::group::{GroupKey, SlotCounts};

/// The numbers of one label set.
#[derive(Debug)]
pub(super) struct Slots {
    own: bool,
    used: HashSet<u32>,
    groups: HashMap<GroupKey, Assigned>,
}

/// What is remembered of one group.
#[derive(Debug, Default)]
struct Assigned {
    /// By slot, `None` where it is folded
    numbers: Vec<Option<u32>>,
    /// What a group that is folded as a whole has added to the sum so far, by slot
    carried: Vec<SlotCounts>,
}

impl Slots {
    /// `own`: whether the label set is shown, not folded.
    pub(super) fn new(own: bool) -> Self {
        Self { own, used: HashSet::new(), groups: HashMap::new() }
    }

    /// Whether the label set is shown.
    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    /// The number of a slot; one that is new gets one if `may` says so. `None`: folded.
    pub(super) fn number(&mut self, group: &GroupKey, slot: u32, may: impl FnOnce() -> bool) -> Option<u32> {
        let assigned = self.groups.entry(*group).or_default();
        if let Some(number) = assigned.numbers.get(slot as usize) {
            return *number;
        }
        let number = may().then(|| free(&self.used, slot));
        self.used.extend(number);
        // Slots are asked for in their order, so this is the next one.
        assigned.numbers.push(number);
        number
    }

    /// Adds to `sum` what a slot of a folded group has counted since it was last carried.
    pub(super) fn carry(&mut self, group: &GroupKey, slot: u32, counts: SlotCounts, sum: &mut SlotCounts) {
        let assigned = self.groups.entry(*group).or_default();
        // Slots are asked for in their order, so a new one is the next.
        let before = match assigned.carried.get_mut(slot as usize) {
            Some(carried) => std::mem::replace(carried, counts),
            None => {
                assigned.carried.push(counts);
                SlotCounts::default()
            }
        };
        sum.selections += counts.selections.saturating_sub(before.selections);
        sum.drops += counts.drops.saturating_sub(before.drops);
    }

    /// Forgets the groups that are gone and says how many numbers that frees.
    pub(super) fn retain(&mut self, lives: impl Fn(&GroupKey) -> bool) -> usize {
        let mut freed = 0;
        for (_, gone) in self.groups.extract_if(|key, _| !lives(key)) {
            for number in gone.numbers.into_iter().flatten() {
                self.used.remove(&number);
                freed += 1;
            }
        }
        freed
    }
}

/// The slot's own number unless a slot of another group has it.
fn free(used: &HashSet<u32>, slot: u32) -> u32 {
    if !used.contains(&slot) {
        return slot;
    }
    (0..=u32::MAX).find(|number| !used.contains(number)).unwrap_or(slot)
}
