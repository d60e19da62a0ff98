//! Whether two sockets can share, and the rule by which they cannot.

use super::{Contender, Kernel};
use crate::{
    endpoint::Transport,
    port::{Occupant, Tenure},
    refusal::Rule,
    socket::State,
};

/// A contender and a socket whose address and device overlap with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) contender: &'a Contender,
    pub(super) occupant: &'a Occupant,
}

impl Pair<'_> {
    /// Whether the two coexist by SO_REUSEADDR: both set it, and the holder does not listen.
    fn shares_address(&self) -> bool {
        self.contender.reuse.is_set() && self.occupant.reuse.is_set() && !self.holder_listens()
    }

    /// Whether the two coexist by SO_REUSEPORT.
    fn shares_port(&self) -> bool {
        self.contender.reuseport && self.occupant.reuseport && self.may_group()
    }

    /// Whether they share only as long as their uids agree.
    pub(super) fn shares_by_uid(&self) -> bool {
        self.shares_port() && !self.shares_address() && self.occupant.state != State::TimeWait
    }

    /// Whether all but the option itself is there for SO_REUSEPORT.
    fn may_group(&self) -> bool {
        self.same_uid() && !self.contender.group_forbids()
    }

    pub(super) fn same_uid(&self) -> bool {
        self.contender.same_uid(self.kernel, self.occupant)
    }

    pub(super) fn holder_listens(&self) -> bool {
        self.contender.transport == Transport::Tcp && self.occupant.state == State::Listen
    }

    /// Whether `inet_bind_conflict` (TCP) or a scan that meets this socket first (UDP) lets the contender pass.
    pub(super) fn coexists(&self) -> bool {
        self.shares_address() || self.shares_port()
    }

    /// The rule by which this socket alone refuses the contender; `None` exactly where the two coexist.
    pub(super) fn rule(&self) -> Option<Rule> {
        if self.coexists() {
            return None;
        }
        let (contender, occupant) = (self.contender, self.occupant);
        let time_wait = occupant.state == State::TimeWait;
        let live = !time_wait && (occupant.tenure != Tenure::Orphan || occupant.is_being_closed());
        let both_reuseport = contender.reuseport && occupant.reuseport;
        let reuseport_one_away = contender.reuseport != occupant.reuseport && self.may_group();
        let (ours, theirs) = (contender.reuse.is_set(), occupant.reuse.is_set());
        Some(if both_reuseport && !self.same_uid() {
            Rule::ReuseportUidMismatch
        } else if both_reuseport {
            Rule::ReuseportProgramAttached
        } else if self.holder_listens() && !reuseport_one_away {
            Rule::HolderIsListening
        } else if time_wait {
            Rule::TimeWait
        } else if !live {
            Rule::HolderIsClosing
        } else if reuseport_one_away && contender.reuseport {
            Rule::HolderLacksReuseport
        } else if reuseport_one_away {
            Rule::ContenderLacksReuseport
        } else if !ours && !theirs {
            Rule::Exclusive
        } else if ours {
            Rule::HolderLacksReuseaddr
        } else {
            Rule::ContenderLacksReuseaddr
        })
    }
}
