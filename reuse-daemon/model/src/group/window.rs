//! Windows of time over which a group's flows are compared.
//!
//! They tumble: one ends at a change of members or selector, else after [`WINDOW`]. The counters are read now and then, a
//! change comes when it wants: what was counted from the last reading before a change to the first one after it belongs to
//! no window, for nobody can tell among which members it was spread.

use super::{Reading, SlotCounts, reading::FlowMemory};
use crate::event::Moment;

/// Nanoseconds after which a window ends.
pub const WINDOW: u64 = 600_000_000_000;

/// Closed windows that are kept: as many as a verdict takes.
pub(super) const CLOSED_MAX: usize = 2;

/// The window that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) began: Moment,
    /// What each slot had counted then
    base: Vec<SlotCounts>,
    /// Entered flows up to which it can be trusted; `None` until the first reading in it
    horizon: Option<u64>,
    /// Whether a reading in it could be trusted
    is_sampled: bool,
}

impl Window {
    /// A window from `began`, when the slots had counted `base` and, if it was read, so much was remembered.
    pub(super) fn new(began: Moment, base: Vec<SlotCounts>, memory: Option<FlowMemory>) -> Self {
        Self { began, base, horizon: memory.map(FlowMemory::horizon), is_sampled: false }
    }

    /// What the flows told by a reading are worth.
    pub(super) fn trust(&self, reading: Reading) -> Trust {
        match (reading.flows, self.horizon) {
            (None, _) => Trust::None,
            (Some(memory), Some(horizon)) if memory.entered > horizon => {
                if self.is_sampled {
                    Trust::Sampled
                } else {
                    Trust::None
                }
            }
            _ => Trust::Full,
        }
    }

    /// Takes in that there was a reading.
    pub(super) fn read(&mut self, reading: Reading) {
        self.is_sampled |= self.trust(reading) == Trust::Full;
        if let Some(memory) = reading.flows {
            self.horizon.get_or_insert(memory.horizon());
        }
    }

    /// Entered flows up to which a reading adds to it.
    pub(super) fn horizon(&self) -> Option<u64> {
        self.horizon
    }

    /// What a slot counted in it, which has `counts` now.
    pub(super) fn of(&self, slot: u32, counts: SlotCounts) -> SlotCounts {
        counts.since(self.base.get(slot as usize).copied().unwrap_or_default())
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self, now: Moment) -> bool {
        now.0.saturating_sub(self.began.0) >= WINDOW
    }
}

/// What the flows of a reading are worth to a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Each was counted once
    Full,
    /// Some may have been counted twice: those of the readings before are a sample of the window
    Sampled,
    /// Some may have been counted twice, and there was no reading before
    None,
}

/// A window that has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClosedWindow {
    /// When it began
    pub began: Moment,
    /// When the counters were last read in it
    pub ended: Moment,
    /// Members throughout
    pub members: usize,
    /// Flows of all members, `None` where they were not counted
    pub flows: Option<u64>,
    /// As [`crate::distribution::uniformity`]
    pub p_value: Option<f64>,
}
