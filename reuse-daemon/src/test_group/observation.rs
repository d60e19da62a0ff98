//! What the prober tells: probes, and what else came to light at the test group's sockets.

use std::net::SocketAddr;

use reuse_model::test_group::{Experiment, Probe, TestGroup as Key};

/// One thing the prober tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// A probe was answered or given up.
    Probe(Probe),
    /// Members of a group of its own came and went, and its flows were probed in between.
    Experiment(Experiment),
    /// Something that is not a probe.
    Finding {
        /// What; of several the last
        finding: Finding,
        /// How many it stands for: the first of a kind is told at once, further ones are summed over 10 s
        repeated: u64,
    },
}

/// Something that should not happen at the sockets of the test group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A connection or datagram came that the prober did not send. It was dropped, a connection reset.
    Stranger {
        /// The group it came to
        group: Key,
        /// Slot of the member it came to
        member: u32,
        /// Where it came from
        peer: SocketAddr,
    },
    /// While one probe was under way, the kernel's counts grew by more than that probe and the strangers seen.
    UnexplainedDeliveries {
        /// The group
        group: Key,
        /// Source port of the probe
        source_port: u16,
        /// By how much the count of each member grew
        grown: Vec<u64>,
    },
    /// The daemon itself could not send or receive a probe, which therefore counts as none.
    ProbeFailed {
        /// The group
        group: Key,
        /// What the system said
        reason: String,
    },
}

impl Finding {
    /// The group it is about.
    #[must_use]
    pub fn group(&self) -> Key {
        match self {
            Self::Stranger { group, .. }
            | Self::UnexplainedDeliveries { group, .. }
            | Self::ProbeFailed { group, .. } => *group,
        }
    }
}
