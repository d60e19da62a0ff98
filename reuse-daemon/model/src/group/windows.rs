//! A group's running window and the closed ones.

use std::collections::VecDeque;

use super::{
    ClosedWindow, FlowMemory, Group, Pick, Reading, SlotCounts, Verdict,
    window::{CLOSED_MAX, Trust, Window},
};
use crate::{
    distribution::Spread,
    endpoint::Transport,
    event::{Counter, Moment},
};

/// Nanoseconds within which a server opens its sockets. What is selected meanwhile is too little to look uneven, and a
/// window that waited for the next reading would miss the first flows of every group.
const STARTING: u64 = 100_000_000;

/// The windows of one group.
#[derive(Clone, Debug, Default)]
pub(super) struct Windows {
    /// When the first of the members joined that are there now or since
    opened: Option<Moment>,
    /// `None` from a change to the next reading
    running: Option<Window>,
    closed: VecDeque<ClosedWindow>,
    /// When the counters were last read
    read: Option<Moment>,
    /// Whether the kernel ever told flows apart here; TCP needs no telling
    tells_flows: bool,
}

impl Windows {
    pub(super) fn open(&mut self, now: Moment) {
        self.opened = Some(now);
    }

    pub(super) fn is_starting(&self, now: Moment) -> bool {
        self.opened.is_some_and(|opened| now.0.saturating_sub(opened.0) <= STARTING)
    }

    pub(super) fn closed(&self) -> impl DoubleEndedIterator<Item = &ClosedWindow> {
        self.closed.iter()
    }

    /// Takes in that the counters were read.
    pub(super) fn read(&mut self, reading: Reading) {
        self.read = Some(reading.at);
        if let Some(window) = &mut self.running {
            window.read(reading);
        }
    }

    /// What the flows of a reading are worth. Where no window runs they go into none.
    pub(super) fn trust(&self, reading: Reading) -> Trust {
        self.running.as_ref().map_or(Trust::Full, |window| window.trust(reading))
    }

    /// Takes in whether flows of a member were told apart.
    pub(super) fn tell_flows(&mut self, told: bool) {
        self.tells_flows |= told;
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }
}

impl Group {
    /// When the running window began, `None` while none runs.
    #[must_use]
    pub fn window_began(&self) -> Option<Moment> {
        self.windows.running.as_ref().map(|window| window.began)
    }

    /// What a slot, which has `counts`, counted in the running window.
    #[must_use]
    pub fn in_window(&self, slot: u32, counts: SlotCounts) -> Option<SlotCounts> {
        self.windows.running.as_ref().map(|window| window.of(slot, counts))
    }

    /// Flows of a member, of what it counted in some time; `None` where flows are not counted.
    #[must_use]
    pub fn flows_of(&self, counts: SlotCounts) -> Option<u64> {
        match self.key().transport {
            // Each connection is one.
            Transport::Tcp => Some(counts.selections),
            Transport::Udp => (self.windows.tells_flows && counts.untold == 0).then_some(counts.flows),
        }
    }

    /// Whether it has no window although there is something to compare.
    pub(super) fn awaits_reading(&self) -> bool {
        self.len() > 1 && !self.windows.is_running()
    }

    /// How the flows of the running window are spread over the members, `None` where they are not counted.
    #[must_use]
    pub fn spread(&self) -> Option<Spread> {
        let window = self.windows.running.as_ref()?;
        let flows: Option<Vec<u64>> =
            self.members().map(|(slot, _, counts)| self.flows_of(window.of(slot, counts))).collect();
        Some(Spread::of(&flows?))
    }

    /// Share of the flows that each member gets on average, `None` where the hash does not decide alone or that is not
    /// known.
    #[must_use]
    pub fn expected_share(&self) -> Option<f64> {
        let known = self.pick.is_some_and(Pick::is_by_hash_alone) && self.is_live();
        known.then(|| 1.0 / self.len() as f64)
    }

    /// What the last two closed windows say.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        Verdict::of(self.len(), self.pick, self.closed_windows())
    }

    /// Takes in how a member is picked. Another selector ends the window, and what was judged under the last one says
    /// nothing about this one.
    pub(super) fn learn(&mut self, pick: Pick) {
        if self.pick.is_some_and(|before| before != pick) {
            self.windows.running = None;
            self.windows.closed.clear();
        }
        self.pick = Some(pick);
        self.first_pick.get_or_insert(pick);
    }

    /// Ends the running window, if one runs. The next begins with the next reading.
    pub(super) fn end_window(&mut self) {
        let spread = self.spread();
        let Some(Window { began, .. }) = self.windows.running.take() else { return };
        // A window without a reading has nothing to say.
        let Some(ended) = self.windows.read.filter(|read| *read > began) else { return };
        if self.windows.closed.len() == CLOSED_MAX {
            self.windows.closed.pop_front();
        }
        self.windows.closed.push_back(ClosedWindow {
            began,
            ended,
            members: self.len(),
            flows: spread.map(|spread| spread.flows),
            p_value: spread.and_then(|spread| spread.p_value),
        });
    }

    /// Begins a window. `memory`: of the last reading, if there was one.
    pub(super) fn begin_window(&mut self, now: Moment, memory: Option<FlowMemory>) {
        let base = self.slots.iter().map(|slot| slot.counts).collect();
        self.windows.running = Some(Window::new(now, base, memory));
    }

    /// Entered flows up to which readings add to the running window; `None` where they add to none.
    pub(super) fn flow_horizon(&self) -> Option<u64> {
        self.windows.running.as_ref().filter(|_| self.windows.tells_flows)?.horizon()
    }

    /// Ends the window if its time is over and begins one if none runs, right after a reading. Adds to `turned` the counters
    /// whose flows the kernel must count anew.
    pub(super) fn turn_window(&mut self, reading: Reading, turned: &mut Vec<Counter>) {
        if self.windows.running.as_ref().is_some_and(|window| window.is_over(reading.at)) {
            self.end_window();
        }
        if self.windows.running.is_none() {
            self.begin_window(reading.at, reading.flows);
            if self.windows.tells_flows {
                turned.extend(self.members().flat_map(|(_, member, _)| &member.counters));
            }
        }
    }
}
