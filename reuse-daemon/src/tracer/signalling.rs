//! Signals: what the model asks to be read anew, and what it has to tell then.

use std::time::{Duration, Instant};

use reuse_model::{
    event::{Event, Moment, Scope, Snapshot, Touched},
    inventory::Correction,
    signal::{Told, World},
};

use super::Tracer;
use crate::clock::Clock;

/// A port whose time comes within so many nanoseconds is waited for.
const SOON: u64 = 500_000_000;

/// Of the time, one part in so many goes into reading sockets anew, and as much into reading processes.
const SHARE: u32 = 20;

/// Counts so young are not read again, however fast somebody sets options.
const COUNTED_LATELY: Duration = Duration::from_millis(200);

/// How much the reading of sockets has cost lately.
#[derive(Debug)]
pub(super) struct ReadingBudget {
    not_before: Instant,
}

impl Default for ReadingBudget {
    fn default() -> Self {
        Self { not_before: Instant::now() }
    }
}

impl ReadingBudget {
    fn allows(&self) -> bool {
        Instant::now() >= self.not_before
    }

    fn spend(&mut self, took: Duration) {
        self.not_before = Instant::now() + took * (SHARE - 1);
    }
}

/// What signals are judged by, of a tracer whose other parts are in use.
macro_rules! world {
    ($tracer:ident, $now:expr) => {
        World {
            inventory: &$tracer.inventory,
            groups: &$tracer.groups,
            context: &$tracer.names,
            options_are_told: !$tracer.is_blind("setsockopt"),
            now: $now,
        }
    };
}

impl Tracer {
    /// Takes in an event, which the inventory has already.
    pub(super) fn note_event(&mut self, event: &Event) {
        match event {
            Event::Call(_) | Event::Attempt(_) | Event::Close { .. } => return,
            // Whether anything was selected before decides how it is judged.
            Event::Touch(touch)
                if matches!(touch.what, Touched::AttachProgram | Touched::IncomingCpu)
                    && self.counted_at.elapsed() >= COUNTED_LATELY =>
            {
                self.count_selections();
            }
            Event::Exec { pid, .. } => self.processes.renew(*pid),
            _ => {}
        }
        self.signals.event(event, world!(self, Clock::now()));
    }

    /// Whether [`Self::judge`] is to be called soon.
    #[must_use]
    pub fn has_signals_to_judge(&self) -> bool {
        self.signals.is_due(Moment(Clock::now().0 + SOON))
    }

    /// Judges what is due, and tells what began and what ended. Every record that arrived must have been taken in.
    pub fn judge(&mut self) {
        let now = Clock::now();
        if !self.inventory.is_backfilled() || !self.signals.is_due(now) {
            return;
        }
        if self.process_budget.allows() {
            self.read_processes(now);
        }
        let due = self.signals.due(&self.inventory, now);
        if due.is_empty() {
            return;
        }
        let wanted = self.signals.to_read(&due, world!(self, now));
        if !wanted.is_empty() {
            if !self.reading_budget.allows() {
                return self.signals.postpone(&due, now);
            }
            let began = Instant::now();
            let read = self.possessions.read(|finder| finder.find(&wanted, None));
            self.take_in_part(Scope::Sockets, read);
            self.reading_budget.spend(began.elapsed());
        }
        if !wanted.is_empty() || self.signals.concern(&due) {
            self.count_selections();
        }
        let mut told = Vec::new();
        self.signals.judge(&due, world!(self, Clock::now()), &mut told);
        for told in told {
            self.tell_signal(&told);
        }
        self.watch();
    }

    /// Reads the processes that may have got sockets.
    fn read_processes(&mut self, now: Moment) {
        let began = Instant::now();
        let due = self.signals.processes_due(now);
        for pid in &due {
            let read = self.possessions.read(|finder| finder.process(*pid));
            self.take_in_part(Scope::Process(*pid), read);
        }
        if !due.is_empty() {
            self.process_budget.spend(began.elapsed());
        }
    }

    /// Judges what was there before the daemon.
    pub(super) fn judge_found(&mut self) {
        self.count_selections();
        self.signals.begin(world!(self, Clock::now()));
        let found = self.signals.active().count();
        if found > 0 {
            log::warn!("{found} signals were there before the daemon: see reuse-daemon signals");
        }
        self.watch();
    }

    /// Looks at everything soon, since the sockets of the host were read.
    pub(super) fn judge_all(&mut self) {
        self.signals.look_at_all(&self.inventory, Clock::now());
    }

    /// Asks whether the sockets that were refused are still there.
    pub(super) fn look_for_refused(&mut self) {
        let asked: Vec<_> = self.signals.refused_sockets().collect();
        for (inode, pid) in asked {
            let is_gone = match self.possessions.read(|finder| finder.find(&[inode], Some(pid))) {
                Ok(read) => read.is_some_and(|(_, holdings)| holdings.is_empty()),
                // There is no such process.
                Err(_) => true,
            };
            if is_gone {
                self.signals.refused_gone(inode, Clock::now());
            }
        }
    }

    fn tell_signal(&mut self, told: &Told) {
        self.told_signals.tell(told, Clock::now(), &self.outlet, &self.names);
    }

    /// Has the kernel count for the sockets that signals are about.
    fn watch(&mut self) {
        if let Err(error) = self.watched.set(self.signals.watched()) {
            log::warn!("the traffic of some sockets that signals are about is not counted: {error}");
        }
        self.were_watched.extend(self.signals.watched());
    }

    /// Takes in what was read of some sockets or of one process. Owners that came or went are no corrections: it was known
    /// that they might.
    fn take_in_part(&mut self, scope: Scope, read: std::io::Result<super::possessions::Read>) {
        let (began, holdings) = match read {
            Ok(Some(read)) => read,
            Ok(None) => return,
            Err(error) => {
                log::debug!("cannot read sockets anew: {error}");
                return;
            }
        };
        let snapshot = Snapshot { began, ended: Clock::now(), scope, holdings };
        let found = self.inventory.reconcile(&snapshot, &mut self.processes);
        let foreseen = [Correction::OwnerAdded, Correction::OwnerRemoved];
        self.correct(found.kinds.into_iter().filter(|kind| !foreseen.contains(kind)));
        self.changes.extend(found.changes);
        self.regroup(snapshot.ended);
    }
}
