//! The repeat rule: the first refusal of a kind is told at once, further ones as a sum, so that a program that fails
//! in a loop cannot flood the log.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    endpoint::{Endpoint, Protocol},
    event::Moment,
    refusal::Rule,
};

/// Nanoseconds over which repeats are summed.
pub const WINDOW: u64 = 10_000_000_000;

/// Most kinds that are kept apart; refusals of further kinds go into one sum of their own.
pub const KINDS_MAX: usize = 10_000;

/// Most weight that is held back in all, in the units of [`Repeats::offer`]: a refusal weighs as many holders as it names,
/// some 400 bytes each.
pub const WEIGHT_MAX: usize = 32_768;

/// What makes two refusals the same to a reader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Service that asked
    pub service: Arc<str>,
    /// Protocol of its socket
    pub protocol: Protocol,
    /// What it asked for, `None` where the kernel never got an address
    pub endpoint: Option<Endpoint>,
    /// The rule that refused
    pub rule: Rule,
}

/// Whether repeats are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One record for each window
    Summary,
    /// Each refusal is its own record
    All,
}

/// A refusal to tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<T> {
    /// The refusal; of several the last
    pub item: T,
    /// How many it stands for
    pub repeated: u64,
    /// Whether it stands for different kinds, of which `item` is one
    pub folded: bool,
}

/// The refusals of the running windows. `T` is what a record is made from; it is kept, not looked at.
#[derive(Debug)]
pub struct Repeats<T> {
    mode: Mode,
    kinds: HashMap<Arc<Kind>, Pending<T>>,
    /// Ends of the windows of `kinds`; all windows are equally long, so the first to begin ends first
    ends: VecDeque<(Moment, Arc<Kind>)>,
    folded: Pending<T>,
    folded_end: Option<Moment>,
    /// Of all refusals that are held back, but for the folded one
    weight: usize,
}

#[derive(Debug)]
struct Pending<T> {
    last: Option<T>,
    weight: usize,
    repeated: u64,
}

impl<T> Pending<T> {
    const NONE: Self = Self { last: None, weight: 0, repeated: 0 };

    fn add(&mut self, item: T, weight: usize) {
        self.last = Some(item);
        self.weight = weight;
        self.repeated += 1;
    }

    fn take(&mut self, folded: bool) -> Option<Told<T>> {
        let repeated = std::mem::take(&mut self.repeated);
        self.weight = 0;
        self.last.take().map(|item| Told { item, repeated, folded })
    }
}

impl<T> Repeats<T> {
    /// No refusal yet.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            kinds: HashMap::new(),
            ends: VecDeque::new(),
            folded: Pending::NONE,
            folded_end: None,
            weight: 0,
        }
    }

    /// Takes a refusal; gives it back when it is to be told at once. What it weighs counts while it is held back.
    pub fn offer(&mut self, kind: Kind, item: T, weight: usize, now: Moment) -> Option<Told<T>> {
        if self.mode == Mode::All {
            return Some(Told { item, repeated: 1, folded: false });
        }
        if let Some(pending) = self.kinds.get_mut(&kind) {
            let others = self.weight - pending.weight;
            if others + weight <= WEIGHT_MAX {
                pending.add(item, weight);
                self.weight = others + weight;
            } else if pending.last.is_some() {
                // An earlier one of its kind stands for it.
                pending.repeated += 1;
            } else {
                self.fold(item, weight, now);
            }
            return None;
        }
        if self.kinds.len() >= KINDS_MAX {
            self.fold(item, weight, now);
            return None;
        }
        let kind = Arc::new(kind);
        self.ends.push_back((after(now), Arc::clone(&kind)));
        self.kinds.insert(kind, Pending::NONE);
        Some(Told { item, repeated: 1, folded: false })
    }

    fn fold(&mut self, item: T, weight: usize, now: Moment) {
        self.folded.add(item, weight);
        self.folded_end.get_or_insert(after(now));
    }

    /// The sums of the windows that have ended. A kind that repeated gets a new window, one that did not is
    /// forgotten: its next refusal is a first one again.
    pub fn due(&mut self, now: Moment) -> Vec<Told<T>> {
        let mut told = Vec::new();
        while let Some((_, kind)) = self.ends.pop_front_if(|(end, _)| *end <= now) {
            let pending = self.kinds.get_mut(&kind);
            self.weight -= pending.as_ref().map_or(0, |pending| pending.weight);
            match pending.and_then(|pending| pending.take(false)) {
                Some(sum) => {
                    told.push(sum);
                    self.ends.push_back((after(now), kind));
                }
                None => {
                    self.kinds.remove(&kind);
                }
            }
        }
        if self.folded_end.take_if(|end| *end <= now).is_some() {
            told.extend(self.folded.take(true));
        }
        told
    }

    /// When [`Self::due`] next has something to do, if ever.
    #[must_use]
    pub fn next_due(&self) -> Option<Moment> {
        let kinds = self.ends.front().map(|(end, _)| *end);
        kinds.into_iter().chain(self.folded_end).min()
    }

    /// Every sum at once, for the end of the daemon.
    pub fn flush(&mut self) -> Vec<Told<T>> {
        let mut told: Vec<_> = self
            .ends
            .drain(..)
            .filter_map(|(_, kind)| self.kinds.remove(&kind).and_then(|mut pending| pending.take(false)))
            .collect();
        self.folded_end = None;
        self.weight = 0;
        told.extend(self.folded.take(true));
        told
    }
}

fn after(now: Moment) -> Moment {
    Moment(now.0.saturating_add(WINDOW))
}
