//! One probe, its three answers and what they say together.

use crate::{
    endpoint::{Family, Transport},
    event::Moment,
};

/// One of the groups: there is one for each transport and family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TestGroup {
    /// Transport of its sockets
    pub transport: Transport,
    /// Family of its sockets
    pub family: Family,
}

/// What is known of one probe once it is answered or given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The group it was sent to
    pub group: TestGroup,
    /// When it was sent
    pub at: Moment,
    /// Source port of the probe
    pub source_port: u16,
    /// Members of the group then
    pub members: u32,
    /// Hash the kernel computed, `None` where the program that tells it did not see the probe
    pub hash: Option<u32>,
    /// Member the kernel selected
    pub delivered: Option<u32>,
    /// Member whose socket accepted or received it
    pub accepted: Option<u32>,
    /// From sending to receipt, nanoseconds
    pub took: Option<u64>,
}

impl Probe {
    /// The member that the hash selects: `reciprocal_scale` of Linux 5.15 to 6.19.
    #[must_use]
    pub fn predicted(&self) -> Option<u32> {
        // The product shifted is below `members`, so it fits.
        self.hash.map(|hash| ((u64::from(hash) * u64::from(self.members)) >> 32) as u32)
    }

    /// Whether the three answers agree.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match (self.predicted(), self.delivered, self.accepted) {
            (Some(predicted), Some(delivered), Some(accepted)) => {
                if predicted == delivered && delivered == accepted {
                    Outcome::Match
                } else {
                    Outcome::Mismatch
                }
            }
            // Two answers that contradict each other are a mismatch whatever the third is.
            (Some(one), Some(other), None)
            | (Some(one), None, Some(other))
            | (None, Some(one), Some(other))
                if one != other =>
            {
                Outcome::Mismatch
            }
            _ => Outcome::Lost,
        }
    }
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// All three answers are the same
    Match,
    /// Two answers differ
    Mismatch,
    /// An answer is missing and those there are agree
    Lost,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Match, Self::Mismatch, Self::Lost];

    /// The label value and JSON word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Mismatch => "mismatch",
            Self::Lost => "lost",
        }
    }
}
