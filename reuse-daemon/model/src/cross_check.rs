//! Whether a bind was missed: what the hooks of the root cgroup counted, against what was told.
//!
//! The hooks see every bind whatever its way; the programs that tell one see one way each. The two are compared only when
//! no bind has been going on: between the hook and the call's return, and between that and the record's arrival, both
//! counts are right and differ.

use std::time::Duration;

use crate::event::{Call, Moment, Phase, Via};

/// How long no bind may have begun or ended: a hook counts before its record is on its way, and newer kernels let the task be
/// preempted in between.
const QUIET: Duration = Duration::from_millis(500);

/// Counts by way, in the order of [`Via::EXPLICIT`].
pub type ByWay = [u64; Via::EXPLICIT.len()];

/// What the hooks counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Binds that were about to be decided
    pub attempts: ByWay,
    /// Binds that succeeded
    pub successes: ByWay,
}

/// What was told so far, and what was found missing.
#[derive(Clone, Debug, Default)]
pub struct CrossCheck {
    told: Passed,
    missed: ByWay,
    /// What the hooks have counted, and since when it is the same
    counted: Option<(Passed, Moment)>,
}

impl CrossCheck {
    /// Begins where the hooks have counted so much already.
    #[must_use]
    pub fn beginning_at(counted: Passed) -> Self {
        Self { told: counted, ..Self::default() }
    }

    /// Takes in a call that was told. Only binds of TCP and UDP sockets pass the hooks.
    pub fn told(&mut self, call: &Call) {
        if call.phase != Phase::Bind || call.protocol().transport().is_none() {
            return;
        }
        let Some(place) = Via::EXPLICIT.iter().position(|via| *via == call.via) else { return };
        let counters = [Some(&mut self.told.attempts), (call.errno == 0).then_some(&mut self.told.successes)];
        for counter in counters.into_iter().flatten().filter_map(|counters| counters.get_mut(place)) {
            *counter += 1;
        }
    }

    /// Compares with what the hooks have counted; how many binds by each way turn out to have been missed. Every record that
    /// arrived must have been taken in. `settled`: no attempt waits for its result, which is told only with that.
    ///
    /// Successes are compared exactly. Of attempts more may be told than were counted, since some are refused before the
    /// hooks: of the refused ones that were missed the least possible number is found.
    pub fn look(&mut self, now: Moment, settled: bool, counted: Passed) -> ByWay {
        let since = self.counted.filter(|(before, _)| *before == counted).map_or(now, |(_, since)| since);
        self.counted = Some((counted, since));
        let quiet = u128::from(now.0.saturating_sub(since.0)) >= QUIET.as_nanos();
        let mut found = ByWay::default();
        if !quiet || !settled {
            return found;
        }
        let successes = counted.successes.into_iter().zip(self.told.successes);
        let attempts = counted.attempts.into_iter().zip(self.told.attempts);
        for (((found, missed), successes), attempts) in
            found.iter_mut().zip(&mut self.missed).zip(successes).zip(attempts)
        {
            let untold = |(counted, told): (u64, u64)| counted.saturating_sub(told);
            *found = untold(successes).max(untold(attempts)).saturating_sub(*missed);
            *missed += *found;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{call, facts};

    fn bind(via: Via, errno: i32) -> Call {
        Call { via, ..call(Phase::Bind, errno, 10, 1, facts(1, 8080)) }
    }

    /// Looks twice, with a quiet half second in between.
    fn looks(check: &mut CrossCheck, at: u64, settled: bool, counted: Passed) -> [ByWay; 2] {
        [at, at + 500_000_000].map(|at| check.look(Moment(at), settled, counted))
    }

    /// As many attempts as successes.
    fn all_succeeded(successes: ByWay) -> Passed {
        Passed { attempts: successes, successes }
    }

    #[test]
    fn what_was_told_is_not_missed_and_what_was_not_is_found_once() {
        let mut check = CrossCheck::beginning_at(all_succeeded([5, 0, 0, 0]));
        check.told(&bind(Via::Syscall, 0));
        check.told(&bind(Via::IoUring, 0));
        assert_eq!(looks(&mut check, 0, true, all_succeeded([6, 0, 1, 0])), [[0; 4]; 2]);
        check.told(&bind(Via::Compat, 0));
        assert_eq!(looks(&mut check, 600_000_000, true, all_succeeded([7, 2, 1, 0])), [[0; 4], [1, 1, 0, 0]]);
        assert_eq!(looks(&mut check, 2_000_000_000, true, all_succeeded([7, 2, 1, 0])), [[0; 4]; 2]);
    }

    #[test]
    fn what_goes_on_is_not_missed_yet_however_often_it_is_looked() {
        let mut check = CrossCheck::beginning_at(Passed::default());
        let begun = Passed { attempts: [1, 0, 0, 0], ..Passed::default() };
        for at in (0..500_000_000).step_by(20_000_000) {
            assert_eq!(check.look(Moment(at), true, begun), [0; 4]);
        }
        assert_eq!(check.look(Moment(490_000_000), true, all_succeeded([1, 0, 0, 0])), [0; 4]);
        check.told(&bind(Via::Syscall, 0));
        assert_eq!(check.look(Moment(990_000_000), true, all_succeeded([1, 0, 0, 0])), [0; 4]);
    }

    #[test]
    fn a_refusal_that_was_not_told_is_missed_too() {
        let mut check = CrossCheck::beginning_at(Passed::default());
        let counted = Passed { attempts: [3, 0, 0, 0], successes: [1, 0, 0, 0] };
        check.told(&bind(Via::Syscall, 0));
        check.told(&bind(Via::Syscall, 98));
        assert_eq!(looks(&mut check, 0, true, counted), [[0; 4], [1, 0, 0, 0]]);
    }

    #[test]
    fn an_attempt_that_waits_for_its_result_is_not_missed() {
        let mut check = CrossCheck::beginning_at(Passed::default());
        let counted = all_succeeded([1, 0, 0, 0]);
        assert_eq!(looks(&mut check, 0, false, counted), [[0; 4]; 2]);
        check.told(&bind(Via::Syscall, 0));
        assert_eq!(check.look(Moment(600_000_000), true, counted), [0; 4]);
        let another = all_succeeded([2, 0, 0, 0]);
        assert_eq!(looks(&mut check, 700_000_000, true, another), [[0; 4], [1, 0, 0, 0]]);
    }

    #[test]
    fn listens_and_sockets_that_pass_no_hook_do_not_count() {
        let mut check = CrossCheck::beginning_at(Passed::default());
        check.told(&call(Phase::Listen, 0, 10, 1, facts(1, 8080)));
        check.told(&Call { socket: None, ..bind(Via::Syscall, 0) });
        check.told(&bind(Via::Implicit, 0));
        assert_eq!(looks(&mut check, 0, true, all_succeeded([1, 0, 0, 0])), [[0; 4], [1, 0, 0, 0]]);
    }
}
