//! Whether a bind was missed: the successes that the hooks of the root cgroup counted, against those that were told.
//!
//! The hooks see every bind whatever its way; the programs that tell one see one way each. The two are compared only when
//! no bind has been going on: between the hook and the call's return, and between that and the record's arrival, both
//! counts are right and differ.

use crate::event::{Call, Phase, Via};

/// Successful binds by way, in the order of [`Via::EXPLICIT`].
pub type Successes = [u64; Via::EXPLICIT.len()];

/// What was told so far, and what was found missing.
#[derive(Clone, Debug, Default)]
pub struct CrossCheck {
    told: Successes,
    missed: Successes,
    /// What the hooks had counted at the last look
    counted: Option<Successes>,
}

impl CrossCheck {
    /// Begins where the hooks have counted so much already.
    #[must_use]
    pub fn beginning_at(counted: Successes) -> Self {
        Self { told: counted, ..Self::default() }
    }

    /// Takes in a call that was told. Only binds of TCP and UDP sockets pass the hooks.
    pub fn told(&mut self, call: &Call) {
        let is_hooked = call.protocol().transport().is_some();
        if call.phase == Phase::Bind && call.errno == 0 && is_hooked {
            let place = Via::EXPLICIT.iter().position(|via| *via == call.via);
            if let Some(told) = place.and_then(|place| self.told.get_mut(place)) {
                *told += 1;
            }
        }
    }

    /// Compares with what the hooks have counted; how many successes by each way turn out to have been missed. Every record
    /// that arrived must have been taken in, and between two looks must be time for a call to return.
    pub fn look(&mut self, counted: Successes) -> Successes {
        let quiet = self.counted.replace(counted) == Some(counted);
        let mut found = Successes::default();
        if !quiet {
            return found;
        }
        for (((found, counted), told), missed) in
            found.iter_mut().zip(counted).zip(self.told).zip(&mut self.missed)
        {
            *found = counted.saturating_sub(told + *missed);
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

    #[test]
    fn what_was_told_is_not_missed_and_what_was_not_is_found_once() {
        let mut check = CrossCheck::beginning_at([5, 0, 0, 0]);
        check.told(&bind(Via::Syscall, 0));
        check.told(&bind(Via::IoUring, 0));
        assert_eq!(check.look([6, 0, 1, 0]), [0; 4]);
        assert_eq!(check.look([6, 0, 1, 0]), [0; 4]);
        check.told(&bind(Via::Compat, 0));
        assert_eq!(check.look([7, 2, 1, 0]), [0; 4], "not while binds go on");
        assert_eq!(check.look([7, 2, 1, 0]), [1, 1, 0, 0]);
        assert_eq!(check.look([7, 2, 1, 0]), [0; 4]);
    }

    #[test]
    fn refusals_listens_and_sockets_that_pass_no_hook_do_not_count() {
        let mut check = CrossCheck::beginning_at([0; 4]);
        check.told(&bind(Via::Syscall, 98));
        check.told(&call(Phase::Listen, 0, 10, 1, facts(1, 8080)));
        check.told(&Call { socket: None, ..bind(Via::Syscall, 0) });
        check.told(&bind(Via::Implicit, 0));
        check.look([1, 0, 0, 0]);
        assert_eq!(check.look([1, 0, 0, 0]), [1, 0, 0, 0]);
    }
}
