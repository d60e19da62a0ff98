//! Which member the kernel delivered a probe to, from its counts before and after.

/// What the counts say of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// No count grew.
    Nowhere,
    /// One member's did, or one member's by more than the strangers seen at it explain.
    To(usize),
    /// Several did. This is one that did not accept the probe, and whose growth nothing explains.
    Unclear(usize),
}

impl Delivery {
    /// Judges by how much each member's count `grown`, of which `strangers` were seen to come to it meanwhile, and by
    /// the member that `accepted` the probe.
    pub(super) fn of(grown: &[u64], strangers: &[u64], accepted: Option<usize>) -> Self {
        let unexplained: Vec<u64> = grown
            .iter()
            .enumerate()
            .map(|(member, grown)| grown.saturating_sub(at(strangers, member)))
            .collect();
        match (only(grown), only(&unexplained)) {
            (Ok(member), _) | (Err(Some(_)), Ok(member)) => Self::To(member),
            (Err(None), _) => Self::Nowhere,
            (Err(Some(first)), Err(rest)) => {
                let others = |counts: &[u64]| {
                    (0..counts.len()).find(|member| at(counts, *member) > 0 && Some(*member) != accepted)
                };
                Self::Unclear(others(&unexplained).or_else(|| others(grown)).or(rest).unwrap_or(first))
            }
        }
    }

    /// The member, also where it is not the only one.
    pub(super) fn member(self) -> Option<usize> {
        match self {
            Self::Nowhere => None,
            Self::To(member) | Self::Unclear(member) => Some(member),
        }
    }
}

/// By how much each count is above what it was.
pub(super) fn growth(before: &[u64], after: &[u64]) -> Vec<u64> {
    after.iter().zip(before).map(|(after, before)| after.saturating_sub(*before)).collect()
}

/// The only count above 0, else the first of several.
fn only(counts: &[u64]) -> Result<usize, Option<usize>> {
    let mut grown = (0..counts.len()).filter(|member| at(counts, *member) > 0);
    match (grown.next(), grown.next()) {
        (Some(member), None) => Ok(member),
        (first, _) => Err(first),
    }
}

fn at(counts: &[u64], member: usize) -> u64 {
    counts.get(member).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_count_that_grew_tells_the_member() {
        assert_eq!(Delivery::of(&[0, 0, 1, 0], &[0; 4], Some(2)), Delivery::To(2));
        assert_eq!(
            Delivery::of(&[0, 1, 0, 0], &[0; 4], Some(2)),
            Delivery::To(1),
            "not where it was accepted"
        );
        assert_eq!(Delivery::of(&[0; 4], &[0; 4], Some(2)), Delivery::Nowhere);
        assert_eq!(Delivery::of(&[], &[], None), Delivery::Nowhere, "no count at all");
    }

    #[test]
    fn strangers_seen_explain_further_growth() {
        assert_eq!(Delivery::of(&[1, 0, 3, 0], &[0, 0, 3, 0], Some(0)), Delivery::To(0));
        assert_eq!(Delivery::of(&[2, 0, 0, 0], &[1, 0, 0, 0], Some(0)), Delivery::To(0));
        assert_eq!(
            Delivery::of(&[1, 0, 0, 0], &[1, 0, 0, 0], Some(0)),
            Delivery::To(0),
            "a stranger counted before and read late"
        );
    }

    #[test]
    fn growth_that_nothing_explains_is_unclear() {
        assert_eq!(Delivery::of(&[1, 0, 1, 0], &[0; 4], Some(0)), Delivery::Unclear(2));
        assert_eq!(Delivery::of(&[1, 1, 2, 0], &[0, 1, 1, 0], Some(0)), Delivery::Unclear(2));
        assert_eq!(Delivery::of(&[1, 0, 1, 0], &[0; 4], None), Delivery::Unclear(0));
        assert_eq!(Delivery::of(&[1, 0, 1, 0], &[1, 0, 1, 0], Some(0)), Delivery::Unclear(2));
    }

    #[test]
    fn growth_is_the_difference_and_never_negative() {
        assert_eq!(growth(&[1, 5, 7], &[2, 5, 3]), [1, 0, 0]);
    }
}
