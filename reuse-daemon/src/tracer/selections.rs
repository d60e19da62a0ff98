//! The kernel's selection counters, read into the groups.

use std::{collections::HashSet, time::Instant};

use reuse_model::{
    event::MemberCount,
    group::{FlowMemory, Reading},
};

use super::Tracer;
use crate::{clock::Clock, kernel::counts::FLOWS_TRUSTED};

impl Tracer {
    /// Reads the selection counters into the groups and forgets sockets that are gone, after their last count.
    pub fn count_selections(&mut self) {
        // Before the counters: what is entered meanwhile counts as too much, not as too little.
        let flows = self.flow_memory();
        let counts = match self.selections.read() {
            Ok(counts) => counts,
            Err(error) => {
                log::warn!("cannot read the selection counters, the last ones stand: {error}");
                return;
            }
        };
        self.counted = counts.len() as u64;
        self.counted_at = Instant::now();
        for counter in self.groups.count(&counts, Reading { at: Clock::now(), flows }) {
            if let Err(error) = self.selections.turn_window(counter) {
                log::warn!("flows of the last ten minutes are not counted anew: {error}");
            }
        }
        self.signals.count(&counts);
        self.signals.look_at_groups(&self.groups, Clock::now());
        self.forget_gone(&counts);
        self.checking.counted();
    }

    /// Forgets the counters of sockets that were gone at the last reading too: what the ring said meanwhile is known by
    /// now, so that a socket which came and went since has had its place in a group.
    fn forget_gone(&mut self, counts: &[MemberCount]) {
        let is_gone =
            |count: &&MemberCount| count.live.is_none() && self.inventory.get(count.inode).is_none();
        let (again, first): (Vec<&MemberCount>, Vec<&MemberCount>) =
            counts.iter().filter(is_gone).partition(|count| self.gone.contains(&count.counter));
        if !self.were_watched.is_empty() {
            let counted: HashSet<_> = counts.iter().map(|count| count.inode).collect();
            let inventory = &self.inventory;
            self.were_watched.retain(|inode| inventory.get(*inode).is_some() || counted.contains(inode));
        }
        self.gone = first.into_iter().map(|count| count.counter).collect();
        for gone in again {
            self.selections.forget(gone.counter);
            let was_watched = self.were_watched.remove(&gone.inode);
            if !self.groups.forget(gone.counter) && !was_watched && !self.checking.had(gone.inode) {
                self.unattributed += gone.selections;
            }
        }
    }

    /// What the kernel side remembers of flows now.
    pub(super) fn flow_memory(&self) -> Option<FlowMemory> {
        let entered = self.selections.flows_entered()?;
        Some(FlowMemory { entered, trusted: FLOWS_TRUSTED })
    }
}
