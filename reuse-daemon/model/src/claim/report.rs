//! The claims as tried, for people and programs; read back by the daemon that has them tried.

use serde::{Deserialize, Serialize};

use super::{Claim, Verdict};

/// What one run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Version of this form
    pub schema: u32,
    /// Release of the kernel
    pub kernel: String,
    /// Each claim asked for
    pub claims: Vec<ClaimReport>,
    /// Accepted connections by who waits for them, where that was asked for
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Vec<Comparison>>,
}

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimReport {
    /// Which
    pub claim: Claim,
    /// Its sentence
    pub says: String,
    /// What became of it
    pub verdict: Verdict,
    /// Whether kernels of this version are known to do so; true also where it was not tried, for nothing speaks against it
    pub expected_for_kernel: bool,
    /// What this kernel did, a sentence each
    pub evidence: Vec<String>,
}

/// How many connections each worker accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// How workers wait
    pub waiting: Waiting,
    /// How connections come
    pub arrival: Arrival,
    /// Connections of each worker, the busiest first
    pub accepted: Vec<u64>,
    /// The busiest worker's over the idlest one's; `null` where that has none
    pub max_to_min: Option<f64>,
}

/// How several workers wait for connections to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// One listener, each worker in accept()
    SharedAccept,
    /// One listener, each worker with an epoll instance
    SharedEpoll,
    /// One listener, each worker with an epoll instance and EPOLLEXCLUSIVE
    SharedEpollExclusive,
    /// A listener each, with SO_REUSEPORT
    Reuseport,
}

/// How connections come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// One after the other, with a pause
    Paced,
    /// As fast as they can be made
    Burst,
}

impl Comparison {
    /// Numbers of all workers, in any order.
    #[must_use]
    pub fn new(waiting: Waiting, arrival: Arrival, mut accepted: Vec<u64>) -> Self {
        accepted.sort_unstable_by(|one, other| other.cmp(one));
        let bounds = accepted.first().zip(accepted.last().filter(|least| **least > 0));
        let max_to_min = bounds.map(|(most, least)| *most as f64 / *least as f64);
        Self { waiting, arrival, accepted, max_to_min }
    }
}

impl Waiting {
    /// All, in the order of the history of the thing.
    pub const ALL: [Self; 4] =
        [Self::SharedAccept, Self::SharedEpoll, Self::SharedEpollExclusive, Self::Reuseport];

    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::SharedAccept => "shared listener, accept()",
            Self::SharedEpoll => "shared listener, epoll",
            Self::SharedEpollExclusive => "shared listener, EPOLLEXCLUSIVE",
            Self::Reuseport => "SO_REUSEPORT, a listener each",
        }
    }
}

impl Arrival {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Paced, Self::Burst];

    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Paced => "paced",
            Self::Burst => "burst",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_ordered_and_an_idle_one_has_no_ratio() {
        let uneven = Comparison::new(Waiting::SharedEpoll, Arrival::Paced, vec![10, 30, 20]);
        assert_eq!((uneven.accepted, uneven.max_to_min), (vec![30, 20, 10], Some(3.0)));
        assert_eq!(Comparison::new(Waiting::Reuseport, Arrival::Burst, vec![0, 4]).max_to_min, None);
    }
}
