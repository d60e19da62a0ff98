//! The latest of what happened, for those who ask afterwards: bounded in number and in age.

use std::collections::VecDeque;

use crate::event::Moment;

/// Most things that are kept.
pub const LATEST_MAX: usize = 1_000;

/// Most weight that is kept, in the units of [`History::push`]: a refusal weighs as many holders as it names, some 400
/// bytes each.
pub const WEIGHT_MAX: usize = 32_768;

/// Nanoseconds for which a thing is kept.
pub const KEPT_FOR: u64 = 3_600_000_000_000;

/// The latest things with their moments, in the order they came. `T` is kept, not looked at: what comes at the rate of
/// a flood is made into a report only when somebody asks.
#[derive(Debug)]
pub struct History<T> {
    latest: VecDeque<Kept<T>>,
    weight: usize,
}

#[derive(Debug)]
struct Kept<T> {
    at: Moment,
    item: T,
    weight: usize,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self { latest: VecDeque::new(), weight: 0 }
    }
}

impl<T> History<T> {
    /// Takes a thing in; the oldest ones go where there are too many, or they weigh too much together.
    pub fn push(&mut self, at: Moment, item: T, weight: usize) {
        self.latest.push_back(Kept { at, item, weight });
        self.weight += weight;
        let (mut count, mut total) = (self.latest.len(), self.weight);
        self.forget_while(|oldest| {
            let too_much = count > LATEST_MAX || (total > WEIGHT_MAX && count > 1);
            count -= 1;
            total -= oldest.weight;
            too_much
        });
    }

    fn forget_while(&mut self, mut too_much: impl FnMut(&Kept<T>) -> bool) {
        while let Some(gone) = self.latest.pop_front_if(|oldest| too_much(oldest)) {
            self.weight -= gone.weight;
        }
    }

    /// Forgets what is too old at the moment `now`.
    pub fn forget_old(&mut self, now: Moment) {
        self.forget_while(|oldest| now.0.saturating_sub(oldest.at.0) > KEPT_FOR);
    }

    /// What happened at `from` or later, the oldest first. Two threads' events come nearly, not exactly, in the order
    /// of their moments, so each is looked at.
    pub fn since(&self, from: Moment) -> impl Iterator<Item = &T> {
        self.latest.iter().filter(move |kept| kept.at >= from).map(|kept| &kept.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_stay_and_the_oldest_go() {
        let mut history = History::default();
        for at in 0..LATEST_MAX as u64 + 5 {
            history.push(Moment(at), at, 1);
        }
        assert_eq!(history.since(Moment(0)).count(), LATEST_MAX);
        assert_eq!(history.since(Moment(0)).next(), Some(&5));
        assert_eq!(history.since(Moment(1_003)).copied().collect::<Vec<_>>(), [1_003, 1_004]);
    }

    #[test]
    fn what_weighs_much_drives_out_the_oldest() {
        let mut history = History::default();
        for at in 0..10 {
            history.push(Moment(at), at, WEIGHT_MAX / 4);
        }
        assert_eq!(history.since(Moment(0)).copied().collect::<Vec<_>>(), [6, 7, 8, 9]);
        history.push(Moment(10), 10, 2 * WEIGHT_MAX);
        assert_eq!(
            history.since(Moment(0)).copied().collect::<Vec<_>>(),
            [10],
            "the latest is kept whatever it weighs"
        );
        history.push(Moment(11), 11, 1);
        assert_eq!(history.since(Moment(0)).copied().collect::<Vec<_>>(), [11]);
    }

    #[test]
    fn an_hour_is_kept_and_not_more() {
        let mut history = History::default();
        history.push(Moment(1), "first", 1);
        history.push(Moment(2), "second", 1);
        history.forget_old(Moment(KEPT_FOR + 1));
        assert_eq!(history.since(Moment(0)).count(), 2);
        history.forget_old(Moment(KEPT_FOR + 2));
        assert_eq!(history.since(Moment(0)).copied().collect::<Vec<_>>(), ["second"]);
    }
}
