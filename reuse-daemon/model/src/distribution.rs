//! How evenly flows are spread over the members of a group.
//!
//! The kernel picks `hash * members >> 32` of a hash it mixes with a per-boot secret, so every member is equally
//! likely for each flow, and a plain ratio of two members mostly shows how few flows there were. The p-value says
//! how often a fair choice would be at least as uneven as what was seen.

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Fewest flows for each member for which the chi-square test means anything (the usual rule of five).
pub const FLOWS_PER_MEMBER_MIN: u64 = 5;

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
    Some(Uniformity { p_value: distribution.sf(statistic), flows: total })
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
    fn ratios_of_known_shares() {
        assert_eq!(imbalance_ratio(&[30, 10]), Some(1.5));
        assert_eq!(imbalance_ratio(&[0, 0]), None);
        assert_eq!(fairness_index(&[7, 7, 7]), Some(1.0));
        assert_eq!(fairness_index(&[9, 0, 0]), Some(1.0 / 3.0));
        assert_eq!(fairness_index(&[]), None);
    }
}
