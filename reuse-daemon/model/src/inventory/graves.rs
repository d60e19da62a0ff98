//! The ends that happened lately, so that a snapshot which began before an end cannot undo it.

use std::{collections::VecDeque, hash::Hash};

use crate::{event::Moment, hash::NumberSet};

/// Most ends remembered: far more than can happen while a snapshot is read (15 ms for 20,000 sockets).
const REMEMBERED_MAX: usize = 65_536;

/// Ends in the order they were reported.
#[derive(Debug)]
pub(super) struct Graves<T> {
    ends: VecDeque<(T, Moment)>,
    /// The latest end that had to be forgotten
    forgotten: Option<Moment>,
}

impl<T> Default for Graves<T> {
    fn default() -> Self {
        Self { ends: VecDeque::new(), forgotten: None }
    }
}

impl<T: Copy + Eq + Hash> Graves<T> {
    /// Remembers an end.
    pub(super) fn bury(&mut self, id: T, at: Moment) {
        if self.ends.len() == REMEMBERED_MAX {
            let oldest = self.ends.pop_front().map(|(_, at)| at);
            self.forgotten = self.forgotten.max(oldest);
        }
        self.ends.push_back((id, at));
    }

    /// What ended at or after `began`; older ends are forgotten, since no later snapshot begins earlier.
    pub(super) fn since(&mut self, began: Moment) -> NumberSet<T> {
        self.ends.retain(|(_, at)| *at >= began);
        self.ends.iter().map(|(id, _)| *id).collect()
    }

    /// Whether an end at or after `began` had to be forgotten, so that [`Self::since`] may lack it.
    pub(super) fn is_incomplete(&self, began: Moment) -> bool {
        self.forgotten.is_some_and(|at| at >= began)
    }
}
