//! The tests that no machine has run yet. A machine takes one after another, so that all machines of a variant end together,
//! and one is booted only where enough is left for it.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// A machine takes as long to boot as for some of the tests: it has to run more than these.
const WORTH_A_BOOT: usize = 12;

/// Tests of several variants, each of which is known by its number in the order they were given in.
#[derive(Debug)]
pub(crate) struct Queues(Mutex<Vec<Queue>>);

#[derive(Debug)]
struct Queue {
    left: VecDeque<String>,
    /// Machines that take from it
    machines: usize,
    booted: usize,
    /// One of its machines did not come to a regular end: the next would not either
    is_broken: bool,
}

/// A machine to be booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Its variant
    pub(crate) variant: usize,
    /// How many of this variant were booted before
    pub(crate) number: usize,
}

impl Queues {
    /// The tests of each variant, in their order.
    pub(crate) fn new(tests: impl IntoIterator<Item = Vec<String>>) -> Self {
        let queue = |left: Vec<String>| Queue { left: left.into(), machines: 0, booted: 0, is_broken: false };
        Self(Mutex::new(tests.into_iter().map(queue).collect()))
    }

    /// The variant for which one machine more is worth its boot, if there is one: one that has had none, else that with
    /// most tests left for each machine.
    pub(crate) fn boot(&self) -> Option<Seat> {
        self.with(|queues| {
            let share = |queue: &Queue| queue.left.len() / (queue.machines + 1);
            let usable = |queue: &Queue| !queue.left.is_empty() && !queue.is_broken;
            let first = queues.iter().position(|queue| queue.booted == 0 && usable(queue));
            let most = || {
                let worth = |queue: &Queue| usable(queue) && share(queue) > WORTH_A_BOOT;
                let worthy = queues.iter().enumerate().filter(|(_, queue)| worth(queue));
                worthy.max_by_key(|(_, queue)| share(queue)).map(|(variant, _)| variant)
            };
            let variant = first.or_else(most)?;
            let queue = queues.get_mut(variant)?;
            let number = queue.booted;
            queue.booted += 1;
            queue.machines += 1;
            Some(Seat { variant, number })
        })
    }

    /// The next test for a machine of the variant.
    pub(crate) fn next(&self, variant: usize) -> Option<String> {
        self.with(|queues| queues.get_mut(variant)?.left.pop_front())
    }

    /// A machine of the variant has ended.
    pub(crate) fn leave(&self, variant: usize, regularly: bool) {
        self.with(|queues| {
            if let Some(queue) = queues.get_mut(variant) {
                queue.machines = queue.machines.saturating_sub(1);
                queue.is_broken |= !regularly;
            }
        });
    }

    /// What no machine has taken, by variant.
    pub(crate) fn left(self) -> Vec<Vec<String>> {
        let queues = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        queues.into_iter().map(|queue| queue.left.into()).collect()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Queue>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(tests: &[usize]) -> Queues {
        Queues::new(tests.iter().map(|count| (0..*count).map(|test| test.to_string()).collect()))
    }

    fn booted(queues: &Queues) -> Option<(usize, usize)> {
        queues.boot().map(|seat| (seat.variant, seat.number))
    }

    #[test]
    fn each_variant_has_a_machine_before_one_has_two() {
        let queues = queues(&[1, 300, 190]);
        assert_eq!(booted(&queues), Some((0, 0)));
        assert_eq!(booted(&queues), Some((1, 0)));
        assert_eq!(booted(&queues), Some((2, 0)));
        assert_eq!(booted(&queues), Some((1, 1)), "half of 300 are most");
        assert_eq!(booted(&queues), Some((1, 2)), "a third of 300 is more than half of 190");
    }

    #[test]
    fn no_machine_is_booted_for_few_tests_unless_it_is_the_first() {
        let queues = queues(&[2 * WORTH_A_BOOT + 2, 0]);
        assert_eq!(booted(&queues), Some((0, 0)));
        assert_eq!(booted(&queues), Some((0, 1)));
        assert_eq!(booted(&queues), None);
        queues.leave(0, true);
        assert_eq!(queues.next(0).as_deref(), Some("0"));
        assert_eq!(booted(&queues), None, "the other machine runs them sooner");
    }

    #[test]
    fn tests_go_out_once_and_in_order() {
        let queues = queues(&[1, 2]);
        assert_eq!(queues.next(1).as_deref(), Some("0"));
        assert_eq!(queues.next(1).as_deref(), Some("1"));
        assert_eq!(queues.next(1), None);
        assert_eq!(queues.left(), [vec!["0".to_owned()], Vec::new()]);
    }

    #[test]
    fn after_a_crash_the_others_go_on_and_none_is_booted() {
        let queues = queues(&[100]);
        assert_eq!(booted(&queues), Some((0, 0)));
        assert_eq!(booted(&queues), Some((0, 1)));
        queues.leave(0, false);
        assert_eq!(booted(&queues), None);
        assert!(queues.next(0).is_some());
        assert_eq!(queues.left().concat().len(), 99);
    }
}
