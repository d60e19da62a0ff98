//! Whether this kernel spreads the test group's flows evenly: what tells an uneven kernel from an uneven application.
//!
//! Over all flows since the daemon started, not over a window: the kernel does not change while the daemon runs, and more
//! flows say more.

use super::GroupTally;
use crate::distribution::{CHANCE_MIN, Uniformity, uniformity};

/// What the flows so far say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evenness {
    /// Whether a fair choice explains them
    pub even: bool,
    /// Probability that a fair choice is at least as uneven
    pub p_value: f64,
    /// Sample size
    pub flows: u64,
}

impl Evenness {
    fn new(seen: Uniformity) -> Self {
        Self { even: seen.p_value >= CHANCE_MIN, p_value: seen.p_value, flows: seen.flows }
    }

    /// What several groups say together, by Fisher's method: under a fair choice -2 times the sum of the logarithms of k
    /// independent p-values follows the chi-square distribution with 2k degrees of freedom. `None` of none.
    #[must_use]
    pub fn together(groups: impl IntoIterator<Item = Self>) -> Option<Self> {
        let (mut half, mut count, mut flows) = (0.0, 0_u32, 0);
        for group in groups {
            half -= group.p_value.max(f64::MIN_POSITIVE).ln();
            count += 1;
            flows += group.flows;
        }
        // Its survival function has a closed form for an even number of degrees: exp(-x/2) times the sum of (x/2)^i / i!.
        let mut term = (-half).exp();
        let mut p_value = 0.0;
        for i in 1..=count {
            p_value += term;
            term *= half / f64::from(i);
        }
        // The product of 0 and infinity above, where one of them is 0.
        let p_value = if half.is_finite() { p_value.min(1.0) } else { 0.0 };
        (count > 0).then_some(Self { even: p_value >= CHANCE_MIN, p_value, flows })
    }
}

impl GroupTally {
    /// What all flows of this group say; `None` while there are too few.
    #[must_use]
    pub fn evenness(&self) -> Option<Evenness> {
        let delivered: Vec<u64> = self.members().iter().map(|member| member.delivered).collect();
        uniformity(&delivered).map(Evenness::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(p_value: f64) -> Evenness {
        Evenness::new(Uniformity { p_value, flows: 100 })
    }

    #[test]
    fn one_group_speaks_for_itself() {
        let one = Evenness::together([seen(0.3)]).expect("one");
        assert!((one.p_value - 0.3).abs() < 1e-12 && one.even, "{one:?}");
        assert_eq!(Evenness::together([]), None);
    }

    #[test]
    fn fishers_method_agrees_with_a_published_example() {
        // Two values of 0.05: the statistic is 11.98 with four degrees of freedom, p = 0.0175.
        let two = Evenness::together([seen(0.05), seen(0.05)]).expect("two");
        assert!((two.p_value - 0.0175).abs() < 1e-4, "{two:?}");
        assert_eq!((two.even, two.flows), (true, 200));
    }

    #[test]
    fn one_that_is_uneven_beyond_doubt_decides() {
        for p in [0.0, 1e-300] {
            let together = Evenness::together([seen(1.0), seen(p), seen(1.0), seen(0.5)]).expect("four");
            assert!(!together.even && together.p_value < 1e-200, "{together:?}");
        }
        let healthy = Evenness::together([seen(1.0); 4]).expect("four");
        assert!(healthy.even && (healthy.p_value - 1.0).abs() < 1e-12, "{healthy:?}");
    }
}
