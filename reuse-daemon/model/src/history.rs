//! The latest of what happened, for those who ask afterwards: bounded in number and in age.

use std::collections::VecDeque;

use crate::event::Moment;

/// Most things that are kept.
pub const LATEST_MAX: usize = 1_000;

/// Nanoseconds for which a thing is kept.
pub const KEPT_FOR: u64 = 3_600_000_000_000;

/// The latest things with their moments, in the order they came. `T` is kept, not looked at: what comes at the rate of
/// a flood is made into a report only when somebody asks.
#[derive(Debug)]
pub struct History<T> {
    latest: VecDeque<(Moment, T)>,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self { latest: VecDeque::new() }
    }
}

impl<T> History<T> {
    /// Takes a thing in; the oldest one goes where there are too many.
    pub fn push(&mut self, at: Moment, item: T) {
        if self.latest.len() >= LATEST_MAX {
            self.latest.pop_front();
        }
        self.latest.push_back((at, item));
    }

    /// Forgets what is too old at the moment `now`.
    pub fn forget_old(&mut self, now: Moment) {
        while self.latest.pop_front_if(|(at, _)| now.0.saturating_sub(at.0) > KEPT_FOR).is_some() {}
    }

    /// What happened at `from` or later, the oldest first. Two threads' events come nearly, not exactly, in the order
    /// of their moments, so each is looked at.
    pub fn since(&self, from: Moment) -> impl Iterator<Item = &T> {
        self.latest.iter().filter(move |(at, _)| *at >= from).map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_stay_and_the_oldest_go() {
        let mut history = History::default();
        for at in 0..LATEST_MAX as u64 + 5 {
            history.push(Moment(at), at);
        }
        assert_eq!(history.since(Moment(0)).count(), LATEST_MAX);
        assert_eq!(history.since(Moment(0)).next(), Some(&5));
        assert_eq!(history.since(Moment(1_003)).copied().collect::<Vec<_>>(), [1_003, 1_004]);
    }

    #[test]
    fn an_hour_is_kept_and_not_more() {
        let mut history = History::default();
        history.push(Moment(1), "first");
        history.push(Moment(2), "second");
        history.forget_old(Moment(KEPT_FOR + 1));
        assert_eq!(history.since(Moment(0)).count(), 2);
        history.forget_old(Moment(KEPT_FOR + 2));
        assert_eq!(history.since(Moment(0)).copied().collect::<Vec<_>>(), ["second"]);
    }
}
