//! Calls whose result no program sees: an attempt is seen, and what comes after it tells how it ended.
//!
//! Before a bind is decided a hook tells the attempt, once the port is taken another tells the success; a refusal shows only
//! in that no success follows. A listen is the other way round: its refusal is told, its success is not. Both happen under
//! the socket's lock, in microseconds.

mod inference;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use crate::{
    event::{Call, Event, Moment, Phase, Via},
    rulebook::Kernel,
    socket::{Inode, SocketFacts, State},
};

/// How long a result may take. A call that is held up longer between its two hooks, by a debugger for instance, is taken
/// for refused. Time in which the whole machine was held up does not count.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// How often [`Attempts::expire`] is to be called while something is open.
pub const LOOK: Duration = Duration::from_millis(100);

/// Looks so far apart mean that the machine was held up: it has more to do than it can, or was stopped.
const HELD_UP: u64 = 3 * LOOK.as_nanos() as u64;

/// Inferred refusals that are remembered in case that the kernel tells them after all.
const REMEMBERED: usize = 1024;

/// Attempts that are not settled.
#[derive(Debug)]
pub struct Attempts {
    kernel: Kernel,
    /// By socket: a socket is bound by one task at a time
    open: HashMap<Inode, Call>,
    /// In order of time; those no longer in `open` were settled
    order: VecDeque<(Moment, Inode)>,
    /// Of [`Self::expire`], or the first attempt since there was none
    looked: Moment,
    /// Until when the machine was held up
    held_up: Moment,
    /// Sockets of io_uring whose refusal was inferred: an application may fetch completions as late as it likes
    inferred: VecDeque<Inode>,
}

impl Attempts {
    /// Infers by the rules of this kernel.
    #[must_use]
    pub fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            open: HashMap::new(),
            order: VecDeque::new(),
            looked: Moment(0),
            held_up: Moment(0),
            inferred: VecDeque::new(),
        }
    }

    /// Whether nothing waits for its result.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether calls can be taken as they come: none has anything to do with an attempt.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.inferred.is_empty()
    }

    /// Takes in an event and appends to `known` what is known now, in the order in which it happened: calls with their
    /// results, never an [`Event::Attempt`].
    pub fn sort_out(&mut self, event: Event, known: &mut Vec<Event>) {
        match event {
            Event::Attempt(attempt) => {
                self.move_on(&attempt, known);
                let inode = attempt.socket.as_ref().map_or(Inode(0), |socket| socket.inode);
                if let Some(earlier) = self.open.remove(&inode) {
                    known.push(self.conclude(earlier));
                }
                if self.open.is_empty() {
                    self.looked = attempt.at;
                }
                self.order.push_back((attempt.at, inode));
                self.open.insert(inode, *attempt);
            }
            Event::Call(call) => {
                let settled = self.settle(*call, known);
                known.extend(settled.map(|call| Event::Call(Box::new(call))));
            }
            Event::Close { inode, .. } => {
                if let Some(attempt) = self.open.remove(&inode) {
                    known.push(self.conclude(attempt));
                }
                known.push(event);
            }
            Event::Exit { pid, .. } => {
                self.conclude_where(|attempt| attempt.caller.pid == pid, known);
                known.push(event);
            }
            Event::Fork { .. }
            | Event::Exec { .. }
            | Event::Touch(_)
            | Event::Sent { .. }
            | Event::Took { .. } => known.push(event),
        }
    }

    /// Appends to `known` the attempts that have waited for long enough.
    pub fn expire(&mut self, now: Moment, known: &mut Vec<Event>) {
        let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        if now.0.saturating_sub(self.looked.0) > HELD_UP {
            self.held_up = now;
        }
        self.looked = now;
        let held_up = self.held_up;
        self.conclude_while(|at| now.0.saturating_sub(at.max(held_up).0) >= patience, known);
    }

    /// The listens whose sockets had no port before, each with who listens; not those of which io_uring will tell.
    pub fn without_port(&self) -> impl Iterator<Item = (Inode, u32)> {
        let listens = self.open.values().filter(|attempt| attempt.phase == Phase::Listen);
        listens.filter(|attempt| attempt.via != Via::IoUring).filter_map(|attempt| {
            let socket = attempt.socket.as_ref().filter(|socket| socket.local.port == 0)?;
            Some((socket.inode, attempt.caller.pid))
        })
    }

    /// Takes in how such a socket is now, and appends to `known` the listen if it listens: that succeeded. One that has no
    /// port yet is in the middle of it, one that does not listen may be refused still.
    pub fn look(&mut self, now: SocketFacts, known: &mut Vec<Event>) {
        if now.state != State::Listen || now.local.port == 0 {
            return;
        }
        if let Some(attempt) = self.open.remove(&now.inode) {
            let call = Call { socket: Some(now), ..attempt };
            known.extend([self.conclude(call)]);
        }
    }

    /// Appends to `known` every attempt: no result will be taken in any more.
    pub fn give_up(&mut self, known: &mut Vec<Event>) {
        self.conclude_while(|_| true, known);
    }

    /// Concludes the oldest attempts for as long as they are due.
    fn conclude_while(&mut self, is_due: impl Fn(Moment) -> bool, known: &mut Vec<Event>) {
        while let Some((at, inode)) = self.order.front().copied() {
            let waits = self.open.get(&inode).is_some_and(|attempt| attempt.at == at);
            if waits && !is_due(at) {
                return;
            }
            self.order.pop_front();
            if waits && let Some(attempt) = self.open.remove(&inode) {
                known.push(self.conclude(attempt));
            }
        }
    }

    /// A result came: completes it with what its attempt showed. `None` for one that was inferred before.
    fn settle(&mut self, call: Call, known: &mut Vec<Event>) -> Option<Call> {
        let inode = call.socket.as_ref().map(|socket| socket.inode);
        let attempt = inode.and_then(|inode| {
            let same = self.open.get(&inode).is_some_and(|attempt| attempt.phase == call.phase);
            same.then(|| self.open.remove(&inode)).flatten()
        });
        self.move_on(&call, known);
        let Some(attempt) = attempt else {
            let refused_by_io_uring = call.via == Via::IoUring && call.errno != 0;
            let place =
                self.inferred.iter().position(|inferred| refused_by_io_uring && Some(*inferred) == inode);
            return if place.and_then(|place| self.inferred.remove(place)).is_some() {
                None
            } else {
                Some(call)
            };
        };
        let read = call.evidence.as_ref().is_some_and(|evidence| evidence.port.is_some());
        Some(Call {
            requested: attempt.requested.or(call.requested),
            evidence: if read || call.errno == 0 {
                call.evidence
            } else {
                attempt.evidence.or(call.evidence)
            },
            ..call
        })
    }

    /// A thread that does something else has its answer. io_uring's threads do not wait for theirs to be told.
    fn move_on(&mut self, next: &Call, known: &mut Vec<Event>) {
        if self.open.is_empty() {
            return;
        }
        let inode = next.socket.as_ref().map(|socket| socket.inode);
        self.conclude_where(
            |attempt| {
                attempt.caller.tid == next.caller.tid
                    && attempt.via != Via::IoUring
                    && attempt.socket.as_ref().map(|socket| socket.inode) != inode
            },
            known,
        );
    }

    fn conclude_where(&mut self, is_over: impl Fn(&Call) -> bool, known: &mut Vec<Event>) {
        let over: Vec<_> =
            self.open.extract_if(|_, attempt| is_over(attempt)).map(|(_, attempt)| attempt).collect();
        for attempt in over {
            let concluded = self.conclude(attempt);
            known.push(concluded);
        }
    }

    /// Nothing came: a bind was refused, a listen was not.
    fn conclude(&mut self, attempt: Call) -> Event {
        let errno = match attempt.phase {
            Phase::Bind => inference::errno(&attempt, &self.kernel),
            Phase::Listen | Phase::Connect | Phase::Send => 0,
        };
        if errno != 0
            && attempt.via == Via::IoUring
            && let Some(socket) = &attempt.socket
        {
            self.inferred.push_back(socket.inode);
            if self.inferred.len() > REMEMBERED {
                self.inferred.pop_front();
            }
        }
        let evidence = attempt.evidence.filter(|_| errno != 0);
        Event::Call(Box::new(Call { errno, certain: errno == 0, evidence, ..attempt }))
    }
}
