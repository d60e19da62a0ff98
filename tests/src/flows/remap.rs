//! Which share of the flows goes from which member to which when a member joins or leaves: a consequence of two facts.
//!
//! The kernel divides the hashes into as many equal ranges as there are members, in the order of its array
//! (`reciprocal_scale` in `reuseport_select_sock`); a member that joins is put at the end of that array, and the last one
//! takes the place of one that leaves (`__reuseport_add_sock`, `__reuseport_detach_sock`; `net/core/sock_reuseport.c`,
//! Linux 6.1 to 6.18).

use std::collections::BTreeMap;

/// The members of a group by inode, in the order of the kernel's array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order(Vec<u64>);

impl Order {
    /// Members that joined in this order.
    #[must_use]
    pub fn of(inodes: Vec<u64>) -> Self {
        Self(inodes)
    }

    /// The inodes.
    #[must_use]
    pub fn members(&self) -> &[u64] {
        &self.0
    }

    /// The order after a member joined.
    #[must_use]
    pub fn join(&self, inode: u64) -> Self {
        let mut after = self.clone();
        after.0.push(inode);
        after
    }

    /// The order after the member at `index` left.
    #[must_use]
    pub fn leave(&self, index: usize) -> Self {
        let mut after = self.clone();
        after.0.swap_remove(index);
        after
    }
}

/// How the ranges of two orders lie over each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remap {
    /// Part of all hashes, in `1 / whole`, that goes from one inode to the other; only what is not nothing
    overlaps: BTreeMap<(u64, u64), usize>,
    whole: usize,
}

impl Remap {
    /// Lays them over each other.
    #[must_use]
    pub fn new(before: &Order, after: &Order) -> Self {
        let (old, new) = (before.0.len(), after.0.len());
        let mut overlaps = BTreeMap::new();
        for (i, from) in before.0.iter().enumerate() {
            for (j, to) in after.0.iter().enumerate() {
                let (start, end) = ((i * new).max(j * old), ((i + 1) * new).min((j + 1) * old));
                if start < end {
                    overlaps.insert((*from, *to), end - start);
                }
            }
        }
        Self { overlaps, whole: old * new }
    }

    /// Whether any flow goes from this member to that.
    #[must_use]
    pub fn allows(&self, from: u64, to: u64) -> bool {
        self.overlaps.contains_key(&(from, to))
    }

    /// Share of the flows that do not stay.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    pub fn moved(&self) -> f64 {
        let stay: usize =
            self.overlaps.iter().filter(|((from, to), _)| from == to).map(|(_, part)| part).sum();
        1.0 - stay as f64 / self.whole as f64
    }
}

/// Share of the flows that move when a member joins, whatever the size of the group.
#[must_use]
pub fn join_share() -> f64 {
    0.5
}

/// Share of the flows that move when the member at `index` of `members` leaves.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "members of one group")]
pub fn leave_share(members: usize, index: usize) -> f64 {
    let left = members - 1;
    if index == left {
        return 0.5;
    }
    let (n, n1, i) = (members as f64, left as f64, index as f64);
    let last_takes_its_own = if index + 2 == members { 1.0 / n } else { 0.0 };
    0.5 + (n1 - i) / (n1 * (n1 + 1.0)) - last_takes_its_own
}

/// A bound on how probable it is that of `count` independent flows a share as far from `share` as `moved` of them moves:
/// Chernoff's, for both sides.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "thousands of flows")]
pub fn surprise(count: usize, moved: usize, share: f64) -> f64 {
    let seen = moved as f64 / count as f64;
    let part = |seen: f64, expected: f64| if seen > 0.0 { seen * (seen / expected).ln() } else { 0.0 };
    let divergence = part(seen, share) + part(1.0 - seen, 1.0 - share);
    2.0 * (-(count as f64) * divergence).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_forms_are_what_the_ranges_give() {
        for members in 2..40_usize {
            let before = Order::of((0..members as u64).collect());
            let joined = Remap::new(&before, &before.join(1_000)).moved();
            assert!((joined - join_share()).abs() < 1e-12, "{members} and one more: {joined}");
            for index in 0..members {
                let left = Remap::new(&before, &before.leave(index)).moved();
                let closed = leave_share(members, index);
                assert!((left - closed).abs() < 1e-12, "{index} of {members}: {left}, {closed}");
            }
        }
    }

    #[test]
    fn what_is_likely_is_no_surprise() {
        assert!(surprise(3_000, 1_530, 0.5) > 0.1);
        assert!(surprise(3_000, 1_000, 0.5) < 1e-9, "a third is not a half");
        assert!(surprise(3_000, 1_750, 0.5) < 1e-9);
        assert!(surprise(3_000, 0, 0.5) < 1e-9);
    }
}
