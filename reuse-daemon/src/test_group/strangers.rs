//! Bounds on what others may cost: how much of their traffic is taken, and whose only came late.

use std::{collections::VecDeque, net::SocketAddr};

/// Arrivals taken between two probes that belong to none. Further ones wait, or the kernel drops them.
const BUDGET: u32 = 1024;
/// Sources of lost probes remembered.
const REMEMBERED: usize = 64;

/// What is left to take, and which peers are lost probes of our own.
#[derive(Debug)]
pub(super) struct Strangers {
    left: u32,
    late: VecDeque<SocketAddr>,
}

impl Strangers {
    pub(super) fn new() -> Self {
        Self { left: BUDGET, late: VecDeque::with_capacity(REMEMBERED) }
    }

    /// Whether one more may be taken before the next probe.
    pub(super) fn may_come(&self) -> bool {
        self.left > 0
    }

    /// Allows a full budget again.
    pub(super) fn welcome(&mut self) {
        self.left = BUDGET;
    }

    /// Lets nobody in before the next probe.
    pub(super) fn turn_away(&mut self) {
        self.left = 0;
    }

    /// Takes one; whether it is a stranger indeed.
    pub(super) fn take(&mut self, peer: SocketAddr) -> bool {
        self.left = self.left.saturating_sub(1);
        !self.late.contains(&peer)
    }

    /// Remembers the source of a lost probe, which may arrive yet.
    pub(super) fn expect(&mut self, source: SocketAddr) {
        if self.late.len() == REMEMBERED {
            self.late.pop_front();
        }
        self.late.push_back(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_budget_is_used_up_and_given_again() {
        let mut strangers = Strangers::new();
        for _ in 0..BUDGET {
            assert!(strangers.may_come() && strangers.take(peer(1)));
        }
        assert!(!strangers.may_come());
        strangers.welcome();
        assert!(strangers.may_come());
        strangers.turn_away();
        assert!(!strangers.may_come());
    }

    #[test]
    fn a_late_probe_is_no_stranger_until_it_is_forgotten() {
        let mut strangers = Strangers::new();
        strangers.expect(peer(1));
        assert!(!strangers.take(peer(1)));
        assert!(strangers.take(peer(2)));
        (0..REMEMBERED).for_each(|_| strangers.expect(peer(3)));
        assert!(strangers.take(peer(1)));
    }
}
