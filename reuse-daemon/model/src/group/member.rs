//! A socket in a slot of a group.

use std::sync::Arc;

use super::{SlotCounts, accepting::Accepting};
use crate::{
    endpoint::Transport,
    event::{Counter, MemberGauges, Moment},
    inventory::Socket,
    socket::GroupFacts,
};

/// A socket that is a member now.
#[derive(Clone, Debug)]
pub struct Member {
    /// The socket
    pub socket: Arc<Socket>,
    /// As [`crate::socket::SocketFacts::queue`]
    pub queue: u64,
    /// As [`crate::socket::SocketFacts::queue_limit`]
    pub queue_limit: u64,
    /// As [`GroupFacts::index`]: what the kernel said last, carried on by the changes since
    pub index: Option<u32>,
    /// As [`GroupFacts::incoming_cpu`]
    pub incoming_cpu: Option<u32>,
    /// Drops of this socket that its slot has counted
    drops: u64,
    /// Its counters in the kernel
    pub(super) counters: Vec<Counter>,
    /// `None` for UDP, where nothing is accepted
    accepting: Option<Accepting>,
}

impl Member {
    /// A socket that became a member, and was then at `index` if that is known.
    pub(super) fn new(socket: &Arc<Socket>, index: Option<u32>, counts: &mut SlotCounts) -> Self {
        let facts = &socket.facts;
        let is_tcp = facts.protocol.transport() == Some(Transport::Tcp);
        counts.drops += facts.drops;
        counts.drops_found += facts.drops;
        Self {
            socket: Arc::clone(socket),
            queue: facts.queue,
            queue_limit: facts.queue_limit,
            index,
            incoming_cpu: facts.group.and_then(|group| group.incoming_cpu),
            drops: facts.drops,
            counters: Vec::new(),
            accepting: is_tcp.then(|| Accepting::new(facts.queue)),
        }
    }

    /// TCP: connections accepted since it became a member.
    #[must_use]
    pub fn accepted(&self) -> Option<u64> {
        self.accepting.as_ref().map(Accepting::accepted)
    }

    /// TCP: whether its queue is full and it accepted nothing for [`super::STALLED_AFTER`].
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.accepting.as_ref().is_some_and(Accepting::is_stalled)
    }

    /// TCP: whether no connection more can wait, as far as was looked.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.accepting.is_some() && self.queue > self.queue_limit
    }

    /// Takes the newest version of the socket. What it says of its group where that is news.
    pub(super) fn renew(&mut self, socket: &Arc<Socket>, counts: &mut SlotCounts) -> Option<GroupFacts> {
        let before = self.socket.facts.group;
        self.socket = Arc::clone(socket);
        let facts = &socket.facts;
        (self.queue, self.queue_limit) = (facts.queue, facts.queue_limit);
        self.drop_up_to(facts.drops, counts);
        // A version made for another reason repeats what was read long ago.
        facts.group.filter(|_| facts.group != before).inspect(|group| self.place(group))
    }

    /// Takes in what the socket says of itself `now`.
    pub(super) fn gauge(&mut self, gauges: &MemberGauges, now: Moment, counts: &mut SlotCounts) {
        (self.queue, self.queue_limit) = (gauges.queue, gauges.queue_limit);
        self.drop_up_to(gauges.drops, counts);
        if let Some(accepting) = &mut self.accepting {
            accepting.look(gauges.queue, gauges.queue_limit, now);
        }
        if let Some(group) = &gauges.group {
            self.place(group);
        }
    }

    /// Takes in that the kernel selected it, as one of its counters says.
    pub(super) fn select(&mut self, counter: Counter, selections: u64) {
        if !self.counters.contains(&counter) {
            self.counters.push(counter);
        }
        if let Some(accepting) = &mut self.accepting {
            accepting.select(selections);
        }
    }

    /// Adds what the socket dropped since the last time to its slot. Less than before is an older reading: a socket's
    /// drops only grow.
    pub(super) fn drop_up_to(&mut self, drops: u64, counts: &mut SlotCounts) {
        counts.drops += drops.saturating_sub(self.drops);
        self.drops = self.drops.max(drops);
    }

    fn place(&mut self, group: &GroupFacts) {
        self.index = group.index.or(self.index);
        self.incoming_cpu = group.incoming_cpu;
    }
}
