//! Which share of a group's flows goes to another member when the membership changes.
//!
//! The kernel picks member `hash * members >> 32` of an array (include/linux/kernel.h, `reciprocal_scale`); who joins is
//! appended, and the last takes the place of who leaves (net/core/sock_reuseport.c, `__reuseport_detach_sock`). Each
//! member thus has a contiguous range of hashes, and ranges shift.

/// Largest deviation from the expected share that counts as chance, in standard deviations: 6e-7, both sides.
const DEVIATIONS: f64 = 5.0;

/// Share of all flows that moves when one joins, whatever the number of members: the boundaries `i/n` and `i/(n+1)`
/// leave half of each range where it was, on average.
#[must_use]
pub const fn moved_by_join() -> f64 {
    0.5
}

/// Share of all flows that moves when the member at `index` of `members` leaves, its own included; `None` where there is
/// no such member, or no other.
#[must_use]
pub fn moved_by_leave(members: u32, index: u32) -> Option<f64> {
    let left = members.checked_sub(1).filter(|left| *left > 0)?;
    if index >= members {
        return None;
    }
    // In units of 1/(members * left): boundaries of both divisions are whole numbers.
    let (members, left) = (u64::from(members), u64::from(left));
    let mut stayed = 0;
    for before in 0..members {
        let after = match before {
            gone if gone == u64::from(index) => continue,
            last if last == left => u64::from(index),
            other => other,
        };
        let (start, end) = (before * left, (before + 1) * left);
        let (new_start, new_end) = (after * members, (after + 1) * members);
        stayed += end.min(new_end).saturating_sub(start.max(new_start));
    }
    Some(1.0 - stayed as f64 / (members * left) as f64)
}

/// Whether `seen` of `flows` is what a `share` of them would be, up to chance (p about 6e-7).
#[must_use]
pub fn agrees(seen: u64, flows: u64, share: f64) -> bool {
    let expected = share * flows as f64;
    let deviation = (expected * (1.0 - share)).sqrt();
    (seen as f64 - expected).abs() <= DEVIATIONS * deviation
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The closed form: 1/2 + (n'-i) / (n'(n'+1)) - [i = n-2] / n, and 1/2 for the last.
    fn closed_form(members: u32, index: u32) -> f64 {
        let (n, i) = (f64::from(members), f64::from(index));
        if index == members - 1 {
            return 0.5;
        }
        let last_but_one = if index + 2 == members { 1.0 / n } else { 0.0 };
        0.5 + (n - 1.0 - i) / ((n - 1.0) * n) - last_but_one
    }

    #[test]
    fn a_leave_moves_what_the_closed_form_says() {
        for members in 3..40 {
            for index in 0..members {
                let share = moved_by_leave(members, index).unwrap();
                assert!((share - closed_form(members, index)).abs() < 1e-12, "{index} of {members}: {share}");
            }
        }
        assert_eq!(moved_by_leave(1, 0), None);
        assert_eq!(moved_by_leave(4, 4), None);
    }

    #[test]
    fn chance_agrees_and_another_share_does_not() {
        assert!(agrees(1_500, 3_000, 0.5) && agrees(1_620, 3_000, 0.5));
        assert!(!agrees(1_640, 3_000, 0.5) && !agrees(750, 3_000, 0.5));
        assert!(agrees(0, 3_000, 0.0) && !agrees(1, 3_000, 0.0));
    }
}
