//! How evenly flows are spread over the members of a group.
//!
//! The kernel picks `hash * members >> 32` of a hash it mixes with a per-boot secret, so every member is equally
//! likely for each flow, and a plain ratio of two members mostly shows how few flows there were. The p-value says
//! how often a fair choice would be at least as uneven as what was seen.

mod moves;

pub use moves::{moved_by_join, moved_by_leave};

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Fewest flows for each member for which the chi-square test means anything (the usual rule of five).
pub const FLOWS_PER_MEMBER_MIN: u64 = 5;

/// Below this probability chance is no explanation any more: of a million healthy windows one is misjudged.
pub const CHANCE_MIN: f64 = 1e-6;

/// Result of a chi-square test against the uniform distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uniformity {
    /// Probability that a fair choice is at least as uneven
    pub p_value: f64,
    /// Sample size
    pub flows: u64,
}

/// Tests whether `flows` (one number for each member) could come from a fair choice.
///
/// `None` below two members or below [`FLOWS_PER_MEMBER_MIN`] flows for each.
#[must_use]
pub fn uniformity(flows: &[u64]) -> Option<Uniformity> {
    let members = flows.len() as u64;
    let total: u64 = flows.iter().sum();
    if members < 2 || total < members * FLOWS_PER_MEMBER_MIN {
        return None;
    }
    let expected = total as f64 / members as f64;
    let statistic: f64 = flows.iter().map(|seen| (*seen as f64 - expected).powi(2) / expected).sum();
    let distribution = ChiSquared::new((members - 1) as f64).ok()?;
    // Where the tail is smaller than any float it is 0, and rounding may leave a hair outside of what probabilities are.
    Some(Uniformity { p_value: distribution.sf(statistic).clamp(0.0, 1.0), flows: total })
}

/// How flows are spread over members, in the usual figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Flows of all members
    pub flows: u64,
    /// As [`uniformity`]
    pub p_value: Option<f64>,
    /// As [`imbalance_ratio`]
    pub imbalance_ratio: Option<f64>,
    /// As [`fairness_index`]
    pub fairness_index: Option<f64>,
}

impl Spread {
    /// The figures of these flows, one number for each member.
    #[must_use]
    pub fn of(flows: &[u64]) -> Self {
        Self {
            flows: flows.iter().sum(),
            p_value: uniformity(flows).map(|seen| seen.p_value),
            imbalance_ratio: imbalance_ratio(flows),
            fairness_index: fairness_index(flows),
        }
    }
}

/// The busiest member's count over the mean; `None` where nothing was counted.
#[must_use]
pub fn imbalance_ratio(counts: &[u64]) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    let most = counts.iter().max()?;
    (total > 0).then(|| *most as f64 * counts.len() as f64 / total as f64)
}

/// Jain's fairness index, from 1/n (one member has all) to 1 (all the same); `None` where nothing was counted.
#[must_use]
pub fn fairness_index(counts: &[u64]) -> Option<f64> {
    let total: f64 = counts.iter().map(|count| *count as f64).sum();
    let squares: f64 = counts.iter().map(|count| (*count as f64).powi(2)).sum();
    (total > 0.0).then(|| total * total / (counts.len() as f64 * squares))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chi_square_agrees_with_published_values() {
        // One degree of freedom: the statistic 3.84 is the 5 % point; (55, 45) of 100 gives 1.0, p = 0.3173.
        let seen = uniformity(&[55, 45]).expect("enough flows");
        assert_eq!(seen.flows, 100);
        assert!((seen.p_value - 0.3173).abs() < 1e-4, "{}", seen.p_value);
        assert!((uniformity(&[100, 100, 100, 100]).expect("enough").p_value - 1.0).abs() < 1e-12);
        assert!(uniformity(&[1000, 0, 0, 0]).expect("enough").p_value < 1e-12);
    }

    #[test]
    fn too_few_flows_say_nothing() {
        assert_eq!(uniformity(&[]), None);
        assert_eq!(uniformity(&[1000]), None);
        assert_eq!(uniformity(&[10, 9]).map(|seen| seen.flows), Some(19));
        assert_eq!(uniformity(&[5, 4]), None);
    }

    #[test]
    fn large_groups_and_extreme_shares_stay_probabilities() {
        let even = vec![100; 1024];
        assert!((uniformity(&even).expect("enough").p_value - 1.0).abs() < 1e-12);
        let mut one = vec![0; 1024];
        one[7] = u64::from(u32::MAX);
        assert_eq!(uniformity(&one).expect("enough").p_value, 0.0, "smaller than any float");
        // The statistic has mean 1023 and variance 2046: half of the members at 110 and half at 90 make it 1024.
        let halves: Vec<u64> = (0..1024).map(|member| if member % 2 == 0 { 110 } else { 90 }).collect();
        let p = uniformity(&halves).expect("enough").p_value;
        assert!((0.45..0.55).contains(&p), "{p}");
        let silent: Vec<u64> = (0..65_535).map(|member| if member == 0 { 0 } else { 6 }).collect();
        assert!(uniformity(&silent).expect("enough").p_value > 0.99, "one member without flows among many");
    }

    #[test]
    fn eight_connections_over_four_sockets_are_three_to_one_at_the_median() {
        let mut draws = fastrand::Rng::with_seed(7);
        let mut ratios: Vec<f64> = (0..10_000)
            .map(|_| {
                let mut flows = [0_u64; 4];
                (0..8).for_each(|_| flows[draws.usize(..4)] += 1);
                assert_eq!(uniformity(&flows), None, "which is why eight say nothing");
                let (most, least) = (flows.iter().max(), flows.iter().min());
                // More than one time in three a member has none: as if it had one.
                *most.expect("four") as f64 / *least.expect("four").max(&1) as f64
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        assert_eq!(ratios[5_000], 3.0);
    }

    #[test]
    fn ratios_of_known_shares() {
        assert_eq!(imbalance_ratio(&[30, 10]), Some(1.5));
        assert_eq!(imbalance_ratio(&[0, 0]), None);
        assert_eq!(fairness_index(&[7, 7, 7]), Some(1.0));
        assert_eq!(fairness_index(&[9, 0, 0]), Some(1.0 / 3.0));
        assert_eq!(fairness_index(&[]), None);
    }
}
