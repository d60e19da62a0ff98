//! The latest of what happened, for those who ask afterwards: bounded in number, in weight and in age, and shared out so
//! that who fails in a loop drives out its own past and nobody else's.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::event::Moment;

/// Most things that are kept.
pub const LATEST_MAX: usize = 1_000;

/// Most weight that is kept, in the units of [`History::push`]: a refusal weighs as many holders as it names, some 400
/// bytes each.
pub const WEIGHT_MAX: usize = 32_768;

/// Nanoseconds for which a thing is kept.
pub const KEPT_FOR: u64 = 3_600_000_000_000;

/// The latest things with their moments. `T` is kept, not looked at: what comes at the rate of a flood is made into a
/// report only when somebody asks.
#[derive(Debug)]
pub struct History<T> {
    /// By whose they are, each in the order they came
    shares: HashMap<Arc<str>, VecDeque<Kept<T>>>,
    count: usize,
    weight: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Kept<T> {
    at: Moment,
    item: T,
    weight: usize,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self { shares: HashMap::new(), count: 0, weight: 0, dropped: 0 }
    }
}

impl<T> History<T> {
    /// Takes a thing of `whose` in. Where there are too many, or they weigh too much together, the oldest of the one who
    /// has most goes.
    pub fn push(&mut self, whose: &Arc<str>, at: Moment, item: T, weight: usize) {
        self.shares.entry(Arc::clone(whose)).or_default().push_back(Kept { at, item, weight });
        self.count += 1;
        self.weight += weight;
        while self.count > LATEST_MAX || (self.weight > WEIGHT_MAX && self.count > 1) {
            let by_weight = self.weight > WEIGHT_MAX;
            let Some(largest) = self.largest(by_weight) else { break };
            self.drop_oldest_of(&largest);
        }
    }

    /// Who has most; of several the one with the oldest thing.
    fn largest(&self, by_weight: bool) -> Option<Arc<str>> {
        let size = |share: &VecDeque<Kept<T>>| match by_weight {
            true => share.iter().map(|kept| kept.weight).sum(),
            false => share.len(),
        };
        let age = |share: &VecDeque<Kept<T>>| std::cmp::Reverse(share.front().map(|oldest| oldest.at));
        let (whose, _) = self.shares.iter().max_by_key(|(_, share)| (size(share), age(share)))?;
        Some(Arc::clone(whose))
    }

    fn drop_oldest_of(&mut self, whose: &Arc<str>) {
        let Some(share) = self.shares.get_mut(whose) else { return };
        if let Some(gone) = share.pop_front() {
            self.count -= 1;
            self.weight -= gone.weight;
            self.dropped += 1;
        }
        if share.is_empty() {
            self.shares.remove(whose);
        }
    }

    /// Forgets what is too old at the moment `now`.
    pub fn forget_old(&mut self, now: Moment) {
        let (mut count, mut weight) = (0, 0);
        self.shares.retain(|_, share| {
            while share.pop_front_if(|kept| now.0.saturating_sub(kept.at.0) > KEPT_FOR).is_some() {}
            count += share.len();
            weight += share.iter().map(|kept| kept.weight).sum::<usize>();
            !share.is_empty()
        });
        (self.count, self.weight) = (count, weight);
    }

    /// What happened at `from` or later, the oldest first.
    pub fn since(&self, from: Moment) -> impl Iterator<Item = &T> {
        let mut wanted: Vec<_> = self.shares.values().flatten().filter(|kept| kept.at >= from).collect();
        wanted.sort_by_key(|kept| kept.at);
        wanted.into_iter().map(|kept| &kept.item)
    }

    /// How many were dropped for want of room since the beginning.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(history: &History<u64>) -> Vec<u64> {
        history.since(Moment(0)).copied().collect()
    }

    #[test]
    fn the_latest_stay_and_the_oldest_go() {
        let (mut history, whose) = (History::default(), Arc::from("web"));
        for at in 0..LATEST_MAX as u64 + 5 {
            history.push(&whose, Moment(at), at, 1);
        }
        assert_eq!((kept(&history).len(), kept(&history)[0], history.dropped()), (LATEST_MAX, 5, 5));
        assert_eq!(history.since(Moment(1_003)).copied().collect::<Vec<_>>(), [1_003, 1_004]);
    }

    #[test]
    fn who_fails_in_a_loop_drives_out_its_own_past() {
        let (mut history, quiet, loud) = (History::default(), Arc::from("quiet"), Arc::from("loud"));
        history.push(&quiet, Moment(0), 0, 1);
        for at in 1..5_000 {
            history.push(&loud, Moment(at), at, 1);
        }
        history.push(&quiet, Moment(5_000), 5_000, 1);
        let all = kept(&history);
        assert_eq!((all.len(), all[0], all[LATEST_MAX - 1]), (LATEST_MAX, 0, 5_000));
    }

    #[test]
    fn what_weighs_much_drives_out_the_oldest() {
        let (mut history, whose) = (History::default(), Arc::from("web"));
        for at in 0..10 {
            history.push(&whose, Moment(at), at, WEIGHT_MAX / 4);
        }
        assert_eq!(kept(&history), [6, 7, 8, 9]);
        history.push(&whose, Moment(10), 10, 2 * WEIGHT_MAX);
        assert_eq!(kept(&history), [10], "the latest is kept whatever it weighs");
        history.push(&whose, Moment(11), 11, 1);
        assert_eq!(kept(&history), [11]);
    }

    #[test]
    fn an_hour_is_kept_and_not_more() {
        let mut history = History::default();
        history.push(&Arc::from("a"), Moment(1), 1, 1);
        history.push(&Arc::from("b"), Moment(2), 2, 1);
        history.forget_old(Moment(KEPT_FOR + 1));
        assert_eq!(kept(&history), [1, 2]);
        history.forget_old(Moment(KEPT_FOR + 2));
        assert_eq!((kept(&history), history.count, history.weight), (vec![2], 1, 1));
    }
}
