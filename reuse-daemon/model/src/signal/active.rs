//! A signal while it lasts, with what its sockets are given.

use super::{
    Case, Severity,
    state::State,
    traffic::{Traffic, is_new},
};
use crate::{hash::NumberMap, socket::Inode};

/// A signal that lasts.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) case: Case,
    /// Before the operator's word on it
    severity: Severity,
    /// Whether its begin was told: else its end is not
    pub(super) is_told: bool,
    /// What its sockets had been given when it began; only of those that are watched
    before: NumberMap<Inode, u64>,
}

impl Active {
    /// One that begins. `severity`: before the operator's word on it.
    pub(super) fn begin(case: Case, severity: Severity, is_told: bool, traffic: &mut Traffic) -> Self {
        let mut active = Self { case, severity, is_told, before: NumberMap::default() };
        active.watch(traffic);
        active.fill(traffic);
        active
    }

    /// Watches its parties no longer.
    pub(super) fn unwatch(&self, traffic: &mut Traffic) {
        self.before.keys().for_each(|inode| traffic.unwatch(*inode));
    }

    /// Watches the parties that are not watched yet.
    fn watch(&mut self, traffic: &mut Traffic) {
        for party in &self.case.parties {
            let inode = party.socket.facts.inode;
            if self.before.contains_key(&inode) {
                continue;
            }
            if let Some(before) = traffic.watch(inode) {
                self.before.insert(inode, if is_new(party, &self.case) { 0 } else { before });
            }
        }
    }

    /// Takes in another look at the same state. Who left it is in it no longer.
    pub(super) fn renew(&mut self, state: &State, traffic: &mut Traffic) {
        self.case.parties = state.parties();
        self.case.seen.clone_from(&state.seen);
        let is_party =
            |inode: &Inode| self.case.parties.iter().any(|party| party.socket.facts.inode == *inode);
        for (inode, _) in self.before.extract_if(|inode, _| !is_party(inode)) {
            traffic.unwatch(inode);
        }
        self.watch(traffic);
        self.fill(traffic);
    }

    /// Brings up to date what its parties were given.
    pub(super) fn fill(&mut self, traffic: &Traffic) {
        for party in &mut self.case.parties {
            let inode = party.socket.facts.inode;
            let given = traffic.total(inode).zip(self.before.get(&inode));
            party.selections = given.map(|(total, before)| total.saturating_sub(*before));
        }
    }

    /// As it is before the operator's word on it.
    pub(super) fn case_by_itself(&self) -> Case {
        Case { severity: self.severity, ..self.case.clone() }
    }
}
