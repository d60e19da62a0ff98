//! One reading of the kernel's counters.

use crate::event::Moment;

/// When the counters were read, and how far their flows can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When
    pub at: Moment,
    /// The kernel's memory of flows, `None` where it cannot be read or there is none: flows are then not counted
    pub flows: Option<FlowMemory>,
}

/// What the kernel side remembers of flows, for all sockets of the host together. It has limited room: a flow that was
/// forgotten counts again when it is seen again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowMemory {
    /// Flows entered since the daemon started
    pub entered: u64,
    /// As long as not more than these were entered since a window began, none of its flows was forgotten
    pub trusted: u64,
}

impl FlowMemory {
    /// Up to how many entered flows a window can be trusted that begins now.
    pub(super) fn horizon(self) -> u64 {
        self.entered + self.trusted
    }
}
