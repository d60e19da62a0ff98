//! Calls whose result comes later or never, and binds that nothing told: what the model makes of them, at the right time.

use reuse_model::{
    cross_check::ByWay,
    event::{Call, Event, Phase, Via},
    inventory::Correction,
    process::Processes as _,
};

use super::Tracer;
use crate::clock::Clock;

/// Most sockets that are looked at in one turn.
const LOOKED_AT: usize = 16;

impl Tracer {
    pub(super) fn take_in(&mut self, event: Event) {
        if self.attempts.is_idle() && !matches!(event, Event::Attempt(_)) {
            return self.event(&event);
        }
        if let Event::Attempt(attempt) = &event {
            // By the time that its result is known it may have ended, and with it its name.
            self.recognise(attempt);
            self.processes.caller(&attempt.caller);
        }
        let mut known = std::mem::take(&mut self.known);
        self.attempts.sort_out(event, &mut known);
        self.events(known);
    }

    /// Whether an attempt waits for its result: [`Self::settle`] is to be called soon.
    #[must_use]
    pub fn has_open_attempts(&self) -> bool {
        !self.attempts.is_settled()
    }

    /// Gives up waiting for results that are overdue. Every record that arrived must have been taken in.
    pub fn settle(&mut self) {
        if self.attempts.is_settled() {
            return;
        }
        let mut known = std::mem::take(&mut self.known);
        self.find_listening(&mut known);
        self.attempts.expire(Clock::now(), &mut known);
        self.events(known);
    }

    pub(super) fn events(&mut self, mut known: Vec<Event>) {
        for mut event in known.drain(..) {
            if let Event::Call(call) = &mut event {
                self.find_port(call);
            }
            self.event(&event);
        }
        self.known = known;
    }

    /// A socket that was to get its port on the way to listening is looked at: what it has then is the result.
    fn find_listening(&mut self, known: &mut Vec<Event>) {
        let waiting: Vec<_> = self.attempts.without_port().take(LOOKED_AT).collect();
        for (inode, pid) in waiting {
            if let Some(now) = self.possessions.socket(inode, pid) {
                self.attempts.look(now, known);
            }
        }
    }

    /// A `listen` that was seen before it was decided may have got its port only then.
    fn find_port(&mut self, call: &mut Call) {
        if call.phase == Phase::Listen
            && call.errno == 0
            && let Some(socket) = &mut call.socket
            && socket.local.port == 0
            && let Some(now) = self.possessions.socket(socket.inode, call.caller.pid)
        {
            *socket = now;
        }
    }

    /// Looks whether the hooks of the root cgroup counted binds that nothing told.
    pub(super) fn cross_check(&mut self) {
        let Some(counted) = self.passed.read() else { return };
        let found = self.cross_check.look(Clock::now(), self.attempts.is_settled(), counted);
        let missed: u64 = found.iter().sum();
        if missed > 0 {
            log::warn!("{missed} binds went by unseen: {}", by_way(&found));
            *self.corrections.entry(Correction::UnseenBind).or_default() += missed;
        }
    }
}

fn by_way(found: &ByWay) -> String {
    let ways = Via::EXPLICIT.iter().zip(found).filter(|(_, missed)| **missed > 0);
    ways.map(|(via, missed)| format!("{missed} by {}", via.as_str())).collect::<Vec<_>>().join(", ")
}
