//! Whether a bind was missed: what the hooks of the root cgroup counted, against what was told.
//!
//! The hooks see every bind whatever its way; the programs that tell one see one way each. The two are compared only when
//! no bind has been going on: between the hook and the call's return, and between that and the record's arrival, both
//! counts are right and differ.

use std::time::Duration;

use crate::event::{Call, Moment, Phase, Via};

/// How long no bind may have begun or ended before the two are compared.
const QUIET: Duration = Duration::from_millis(500);
/// How long what was not told may still be: newer kernels preempt a task between the hook and the call's return, and one of the
/// lowest priority then waits for as long as others want the processor.
const GRACE: Duration = Duration::from_secs(5);

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
    /// What was not told at every comparison since then
    untold: Option<(ByWay, Moment)>,
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
        if !has_passed(QUIET, since, now) || !settled {
            return ByWay::default();
        }
        let untold = self.untold(counted);
        let (lasting, since) = self.untold.map_or((untold, now), |(before, since)| {
            (std::array::from_fn(|way| before[way].min(untold[way])), since)
        });
        self.untold = if lasting == ByWay::default() { Some((untold, now)) } else { Some((lasting, since)) };
        if lasting == ByWay::default() || !has_passed(GRACE, since, now) {
            return ByWay::default();
        }
        self.untold = None;
        for (missed, lasting) in self.missed.iter_mut().zip(lasting) {
            *missed += lasting;
        }
        lasting
    }

    /// What was counted, not told and not found missing yet.
    fn untold(&self, counted: Passed) -> ByWay {
        let beyond = |counted: ByWay, told: ByWay, way: usize| counted[way].saturating_sub(told[way]);
        std::array::from_fn(|way| {
            let successes = beyond(counted.successes, self.told.successes, way);
            let attempts = beyond(counted.attempts, self.told.attempts, way);
            successes.max(attempts).saturating_sub(self.missed[way])
        })
    }
}

fn has_passed(time: Duration, since: Moment, now: Moment) -> bool {
    u128::from(now.0.saturating_sub(since.0)) >= time.as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{call, facts};

    fn bind(via: Via, errno: i32) -> Call {
        Call { via, ..call(Phase::Bind, errno, 10, 1, facts(1, 8080)) }
    }

    const SECOND: u64 = 1_000_000_000;

    /// Looks when the count is new, after a quiet half second, and after the grace that follows.
    fn looks(check: &mut CrossCheck, at: u64, settled: bool, counted: Passed) -> [ByWay; 3] {
        [0, SECOND / 2, 6 * SECOND].map(|later| check.look(Moment(at + later), settled, counted))
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
        assert_eq!(looks(&mut check, 0, true, all_succeeded([6, 0, 1, 0])), [[0; 4]; 3]);
        check.told(&bind(Via::Compat, 0));
        let counted = all_succeeded([7, 2, 1, 0]);
        assert_eq!(looks(&mut check, 10 * SECOND, true, counted), [[0; 4], [0; 4], [1, 1, 0, 0]]);
        assert_eq!(looks(&mut check, 20 * SECOND, true, counted), [[0; 4]; 3]);
    }

    #[test]
    fn a_call_that_returns_within_the_grace_is_not_missed() {
        let mut check = CrossCheck::beginning_at(Passed::default());
        let begun = all_succeeded([1, 0, 0, 0]);
        for at in (0..=5 * SECOND).step_by(SECOND as usize / 50) {
            assert_eq!(check.look(Moment(at), true, begun), [0; 4], "at {at}");
        }
        check.told(&bind(Via::Syscall, 0));
        assert_eq!(looks(&mut check, 6 * SECOND, true, begun), [[0; 4]; 3]);
    }

    #[test]
    fn one_that_is_missed_is_found_while_others_go_on_and_return() {
        let mut check = CrossCheck::beginning_at(Passed::default());
        let mut found = 0;
        // A bind each second; of the first nothing is told, each other returns in the second after.
        for second in 1..=8 {
            let counted = all_succeeded([second, 0, 0, 0]);
            for half in [0, 1] {
                found += check.look(Moment(second * SECOND + half * SECOND / 2), true, counted)[0];
            }
            if second > 1 {
                check.told(&bind(Via::Syscall, 0));
            }
        }
        assert_eq!(found, 1);
    }

    #[test]
    fn a_refusal_that_was_not_told_is_missed_too() {
        let mut check = CrossCheck::beginning_at(Passed::default());
        let counted = Passed { attempts: [3, 0, 0, 0], successes: [1, 0, 0, 0] };
        check.told(&bind(Via::Syscall, 0));
        check.told(&bind(Via::Syscall, 98));
        assert_eq!(looks(&mut check, 0, true, counted), [[0; 4], [0; 4], [1, 0, 0, 0]]);
    }

    #[test]
    fn an_attempt_that_waits_for_its_result_is_not_missed() {
        let mut check = CrossCheck::beginning_at(Passed::default());
        let counted = all_succeeded([1, 0, 0, 0]);
        assert_eq!(looks(&mut check, 0, false, counted), [[0; 4]; 3]);
        check.told(&bind(Via::Syscall, 0));
        assert_eq!(looks(&mut check, 7 * SECOND, true, counted), [[0; 4]; 3]);
    }

    #[test]
    fn listens_and_sockets_that_pass_no_hook_do_not_count() {
        let mut check = CrossCheck::beginning_at(Passed::default());
        check.told(&call(Phase::Listen, 0, 10, 1, facts(1, 8080)));
        check.told(&Call { socket: None, ..bind(Via::Syscall, 0) });
        check.told(&bind(Via::Implicit, 0));
        assert_eq!(looks(&mut check, 0, true, all_succeeded([1, 0, 0, 0]))[2], [1, 0, 0, 0]);
    }
}
