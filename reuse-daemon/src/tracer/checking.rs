//! Claims about socket options that a process of the daemon's own tries: what it does is nobody's traffic.

use std::collections::HashMap;

use reuse_model::{
    claim::CheckReport,
    event::Call,
    inventory::Change,
    socket::{Inode, NetNs},
};

use super::Tracer;

/// Readings of the selection counters after which a socket that closed is in none any more: one may come before the kernel
/// has let go of it, and the next two are what [`Tracer::count_selections`] takes to believe that it is gone.
const READINGS: u8 = 3;

/// What is being tried, and what is left of it.
#[derive(Debug, Default)]
pub(super) struct Checking {
    /// The network namespace that the process has for itself
    namespace: Option<NetNs>,
    /// Who acts there, by its process id in the initial pid namespace, which only its calls tell
    pid: Option<u32>,
    /// Sockets of the daemon's own that closed, and how often the selection counters were read since
    closed: HashMap<Inode, u8>,
}

impl Checking {
    /// Whether selections of a socket that is gone were the daemon's own.
    pub(super) fn had(&self, inode: Inode) -> bool {
        self.closed.contains_key(&inode)
    }

    /// The selection counters were read.
    pub(super) fn counted(&mut self) {
        self.closed.retain(|_, readings| {
            *readings += 1;
            *readings < READINGS
        });
    }
}

impl Tracer {
    /// A process of the daemon's own will try claims in this network namespace, where nobody else is.
    pub fn check_begins(&mut self, namespace: NetNs) {
        self.checking.namespace = Some(namespace);
        self.inventory.seclude(Some(namespace));
    }

    /// It is gone. Every event up to its end must have been taken in before.
    pub fn check_ended(&mut self, report: Option<&CheckReport>) {
        self.checking.namespace = None;
        self.inventory.seclude(None);
        if let Some(pid) = self.checking.pid.take() {
            self.processes.forget(pid);
        }
        if let Some(report) = report {
            self.metrics.take_in_claims(report);
        }
    }

    /// Knows who calls for the daemon's own, if it is.
    pub(super) fn recognise(&mut self, call: &Call) {
        let there = call.socket.as_ref().is_some_and(|socket| Some(socket.netns) == self.checking.namespace);
        if there && self.checking.pid != Some(call.caller.pid) {
            self.checking.pid = Some(call.caller.pid);
            self.processes.add_own(call.caller.pid);
        }
    }

    /// Remembers which sockets of the daemon's own closed.
    pub(super) fn note_own_closes(&mut self) {
        for change in &self.changes {
            if let Change::Removed(socket) = change
                && socket.is_own()
            {
                self.checking.closed.insert(socket.facts.inode, 0);
            }
        }
    }
}
