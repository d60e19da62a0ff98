//! Puts command lines into reports that the tracer made without them.

use std::collections::BTreeMap;

use reuse_model::{
    event::Moment,
    report::{ConflictList, GroupList, OwnerReport, Record, RecordBody, SignalList, SocketList},
};

use crate::owner::command_lines::{ByPid, CommandLines};

/// The processes whose command lines are wanted, and when they were there.
pub type Wanted = BTreeMap<u32, Moment>;

/// A report that shows processes.
pub trait ShowsProcesses {
    /// Adds its processes.
    fn want(&self, wanted: &mut Wanted);
    /// Takes in the command lines that were found.
    fn fill(&mut self, found: &ByPid);
}

/// Puts the command lines that can be read into a report.
pub async fn add(report: &mut impl ShowsProcesses, lines: &CommandLines) {
    let mut wanted = Wanted::new();
    report.want(&mut wanted);
    report.fill(&lines.read(wanted).await);
}

/// Owners of a socket at the moment of the answer.
const NOW: Moment = Moment(u64::MAX);

impl ShowsProcesses for SocketList {
    fn want(&self, wanted: &mut Wanted) {
        let owners = self.sockets.iter().flat_map(|socket| &socket.owners);
        wanted.extend(owners.map(|owner| (owner.pid, NOW)));
    }

    fn fill(&mut self, found: &ByPid) {
        fill(self.sockets.iter_mut().flat_map(|socket| &mut socket.owners), found);
    }
}

impl ShowsProcesses for GroupList {
    fn want(&self, wanted: &mut Wanted) {
        let members = self.groups.iter().flat_map(|group| &group.members);
        wanted.extend(members.flat_map(|member| &member.owners).map(|owner| (owner.pid, NOW)));
    }

    fn fill(&mut self, found: &ByPid) {
        let members = self.groups.iter_mut().flat_map(|group| &mut group.members);
        fill(members.flat_map(|member| &mut member.owners), found);
    }
}

impl ShowsProcesses for Record {
    fn want(&self, wanted: &mut Wanted) {
        let mut want = |pid: u32, at: Moment| {
            // The earliest decides: a process that was there then is there for the later ones.
            wanted.entry(pid).and_modify(|known| *known = at.min(*known)).or_insert(at);
        };
        let at = Moment(self.boottime_ns);
        match &self.body {
            RecordBody::Conflict(event) => {
                let owners = event.holders.iter().flat_map(|holder| &holder.owners).map(|owner| owner.pid);
                owners.chain([event.contender.pid]).for_each(|pid| want(pid, at));
            }
            RecordBody::Signal(event) => {
                // What lasts has the owners of now.
                let at = if event.until.is_some() { at } else { NOW };
                let owners = event.parties.iter().flat_map(|party| &party.socket.owners);
                owners.for_each(|owner| want(owner.pid, at));
            }
            _ => {}
        }
    }

    fn fill(&mut self, found: &ByPid) {
        match &mut self.body {
            RecordBody::Conflict(event) => {
                event.contender.cmdline = found.get(&event.contender.pid).cloned();
                fill(event.holders.iter_mut().flat_map(|holder| &mut holder.owners), found);
            }
            RecordBody::Signal(event) => {
                fill(event.parties.iter_mut().flat_map(|party| &mut party.socket.owners), found);
            }
            _ => {}
        }
    }
}

impl<T: ShowsProcesses> ShowsProcesses for Vec<T> {
    fn want(&self, wanted: &mut Wanted) {
        self.iter().for_each(|one| one.want(wanted));
    }

    fn fill(&mut self, found: &ByPid) {
        self.iter_mut().for_each(|one| one.fill(found));
    }
}

fn fill<'a>(owners: impl Iterator<Item = &'a mut OwnerReport>, found: &ByPid) {
    for owner in owners {
        owner.cmdline = found.get(&owner.pid).cloned();
    }
}

impl ShowsProcesses for ConflictList<Record> {
    fn want(&self, wanted: &mut Wanted) {
        self.conflicts.want(wanted);
    }

    fn fill(&mut self, found: &ByPid) {
        self.conflicts.fill(found);
    }
}

impl ShowsProcesses for SignalList<Vec<Record>> {
    fn want(&self, wanted: &mut Wanted) {
        self.signals.want(wanted);
    }

    fn fill(&mut self, found: &ByPid) {
        self.signals.fill(found);
    }
}
