//! How many flows a SO_REUSEPORT group sends elsewhere when a member joins or leaves.
//!
//! The kernel keeps the members in an array and picks `hash * members >> 32` (net/core/sock_reuseport.c,
//! `reuseport_select_sock_by_hash`, Linux 6.18), so each index has one range of hashes and every range shifts when the
//! number changes. A member that joins is appended; one that leaves is replaced by the last (`__reuseport_add_sock`,
//! `__reuseport_detach_sock`). The shares below are those of the real numbers; of 2^32 hashes they are exact but for one
//! at each boundary.

/// Share of all flows that go to another member once one has joined `members` others; `None` where there was none before.
#[must_use]
pub fn moved_by_join(members: usize) -> Option<f64> {
    // Index i keeps the overlap of [i/n, (i+1)/n) and [i/(n+1), (i+1)/(n+1)), and these overlaps are one half in all.
    (members > 0).then_some(0.5)
}

/// Share of all flows that go to another member once the one at `index` of `members` has left; `None` where none is left,
/// or there is no such index.
#[must_use]
pub fn moved_by_leave(members: usize, index: usize) -> Option<f64> {
    let left = members.checked_sub(1).filter(|left| *left > 0 && index < members)?;
    if index == left {
        // The reverse of a join.
        return Some(0.5);
    }
    let (n, left_f) = (members as f64, left as f64);
    // What index i kept of its own is lost, and the last member, which moves there, keeps flows only where the new range of
    // i touches its old one: when it was the neighbour.
    let lost = (left - index) as f64 / (left_f * n);
    let kept = if index + 1 == left { 1.0 / n } else { 0.0 };
    Some(0.5 + lost - kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of `before.len() * after.len()` equal parts of all hashes, those whose member changes: ranges are laid over each
    /// other part by part, knowing nothing of closed forms.
    fn moved_parts(before: &[u32], after: &[u32]) -> usize {
        let parts = before.len() * after.len();
        (0..parts).filter(|part| before[part / after.len()] != after[part / before.len()]).count()
    }

    fn array(members: usize) -> Vec<u32> {
        (0..).take(members).collect()
    }

    #[test]
    fn the_closed_forms_are_those_of_the_ranges() {
        for n in 1..=64_usize {
            let (before, after) = (array(n), array(n + 1));
            assert_eq!(2 * moved_parts(&before, &after), n * (n + 1), "a join to {n}");
            assert_eq!(moved_by_join(n), Some(0.5));
            for index in 0..=n {
                let (before, mut after) = (array(n + 1), array(n + 1));
                after.swap_remove(index);
                let exact = moved_parts(&before, &after) as f64 / (n * (n + 1)) as f64;
                let closed = moved_by_leave(n + 1, index).expect("members are left");
                assert!((exact - closed).abs() < 1e-12, "{index} of {} leaves: {exact}, {closed}", n + 1);
            }
        }
    }

    #[test]
    fn measured_shares_are_met() {
        // The first of 8 and of 7, as 3,000 flows each showed on a live kernel: .622 and .643.
        assert_eq!(moved_by_leave(8, 0), Some(0.625));
        assert!((moved_by_leave(7, 0).expect("left") - (0.5 + 1.0 / 7.0)).abs() < 1e-12);
        assert_eq!(moved_by_leave(2, 0), Some(0.5), "the one that stays has half of the flows already");
    }

    #[test]
    fn nobody_to_take_flows_moves_none() {
        assert_eq!(moved_by_join(0), None);
        assert_eq!((moved_by_leave(1, 0), moved_by_leave(0, 0), moved_by_leave(3, 3)), (None, None, None));
    }

    proptest! {
        /// The kernel's own arithmetic on single hashes agrees with the shares.
        #[test]
        fn hashes_move_as_often_as_the_share_says(n in 2..64_usize, at in any::<prop::sample::Index>()) {
            let (before, mut after) = (array(n), array(n));
            let index = at.index(n);
            after.swap_remove(index);
            let pick = |members: &[u32], hash: u64| members[((hash * members.len() as u64) >> 32) as usize];
            let hashes = (0..4096_u64).map(|step| (step << 20) | 0x8_0000);
            let moved = hashes.filter(|hash| pick(&before, *hash) != pick(&after, *hash)).count();
            let share = moved_by_leave(n, index).expect("members are left");
            // One step at each boundary may be off.
            prop_assert!((moved as f64 / 4096.0 - share).abs() <= 2.0 * n as f64 / 4096.0);
        }
    }
}
