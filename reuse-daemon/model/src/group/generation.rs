//! Which members belong to an earlier generation of their service: a process that was to be replaced, is still there, and
//! still gets its share of the flows.

use std::collections::HashMap;

use crate::{
    event::Moment,
    inventory::Socket,
    process::{INIT, Process},
};

/// Nanoseconds between two starts that are not one start of several processes.
const APART: u64 = 2_000_000_000;

/// The process that started last of each service in a group.
#[derive(Debug, Default)]
pub(crate) struct Generations<'a> {
    latest: HashMap<&'a str, &'a Process>,
}

impl<'a> Generations<'a> {
    /// Of these members.
    pub(crate) fn of(members: impl IntoIterator<Item = &'a Socket>) -> Self {
        let mut generations = Self::default();
        for owner in members.into_iter().flat_map(|member| &member.owners) {
            let latest = generations.latest.entry(&owner.process.service).or_insert(&owner.process);
            if owner.process.started > latest.started {
                *latest = &owner.process;
            }
        }
        generations
    }

    /// Whether a member is of an earlier generation: its processes started at least [`APART`] before the last one of their
    /// service, and are neither its parent nor its siblings under a common master, as workers are. A worker is of its
    /// master's generation, whenever it started.
    pub(crate) fn is_earlier(&self, member: &Socket) -> bool {
        let latest = |process: &Process| self.latest.get(&*process.service).copied();
        let is_replaced = |process: &Process| latest(process).is_some_and(|latest| replaces(latest, process));
        let master = |worker: &Process| worker.parent.and_then(|parent| member.owner(parent));
        let is_earlier = |process: &Process| {
            let is_latest = latest(process).is_some_and(|latest| latest.pid == process.pid);
            is_replaced(process)
                || !is_latest && master(process).is_some_and(|master| is_replaced(&master.process))
        };
        !member.owners.is_empty() && member.owners.iter().all(|owner| is_earlier(&owner.process))
    }
}

/// Whether `later` was started in place of `earlier`.
fn replaces(later: &Process, earlier: &Process) -> bool {
    let (Some(started), Some(before)) = (later.started, earlier.started) else { return false };
    is_apart(before, started) && later.parent != Some(earlier.pid) && !have_common_master(later, earlier)
}

fn is_apart(before: Moment, after: Moment) -> bool {
    after.0.saturating_sub(before.0) >= APART
}

/// Children of one process that is not the system's own.
fn have_common_master(one: &Process, other: &Process) -> bool {
    one.parent == other.parent && one.parent.is_some_and(|parent| parent > INIT)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        fixtures::{comm, facts},
        inventory::Owner,
    };

    const SECOND: u64 = 1_000_000_000;

    fn socket(inode: u64, owners: &[(u32, u32, u64)]) -> Socket {
        let owners = owners.iter().map(|(pid, parent, started)| Owner {
            process: Arc::new(Process {
                parent: Some(*parent),
                started: Some(Moment(*started)),
                ..Process::from_comm(*pid, comm("web"), 0)
            }),
            comm: comm("web"),
            fds: Vec::new(),
            seen: Moment(1),
        });
        let owners = owners.collect();
        Socket { owners, ..Socket::found(facts(inode, 80), Moment(1)) }
    }

    fn earlier(members: &[Socket]) -> Vec<bool> {
        let generations = Generations::of(members);
        members.iter().map(|member| generations.is_earlier(member)).collect()
    }

    #[test]
    fn who_started_well_before_another_of_its_service_is_earlier() {
        let old = || socket(1, &[(10, 1, SECOND)]);
        assert_eq!(earlier(&[old(), socket(2, &[(20, 1, 3 * SECOND)])]), [true, false]);
        assert_eq!(earlier(&[old(), socket(2, &[(20, 1, 3 * SECOND - 1)])]), [false, false], "one start");
    }

    #[test]
    fn a_master_and_its_workers_are_one_generation() {
        let master = socket(1, &[(10, 1, SECOND)]);
        let worker = socket(2, &[(20, 10, 9 * SECOND)]);
        let respawned = socket(3, &[(30, 10, 99 * SECOND)]);
        assert_eq!(earlier(&[master, worker, respawned]), [false; 3]);
    }

    #[test]
    fn a_worker_is_of_its_masters_generation() {
        let old = || socket(1, &[(10, 1, SECOND), (11, 10, 8 * SECOND)]);
        assert_eq!(earlier(&[old(), socket(2, &[(20, 1, 9 * SECOND)])]), [true, false]);
        assert_eq!(earlier(&[old(), socket(2, &[(20, 10, 9 * SECOND)])]), [false, false], "another worker");
    }

    #[test]
    fn another_service_and_an_unknown_start_say_nothing() {
        let old = || socket(1, &[(10, 1, SECOND)]);
        let new = |change: fn(&mut Process)| {
            let mut new = socket(2, &[(20, 1, 9 * SECOND)]);
            let mut process = Process::clone(&new.owners[0].process);
            change(&mut process);
            new.owners[0].process = Arc::new(process);
            new
        };
        assert_eq!(earlier(&[old(), new(|_| ())]), [true, false]);
        assert_eq!(earlier(&[old(), new(|process| process.service = "other".into())]), [false, false]);
        assert_eq!(earlier(&[old(), new(|process| process.started = None)]), [false, false]);
        assert_eq!(earlier(&[old(), socket(2, &[])]), [false, false], "nobody has it");
    }

    #[test]
    fn a_socket_that_the_new_process_has_too_is_handed_over() {
        let shared = socket(1, &[(10, 1, SECOND), (20, 1, 9 * SECOND)]);
        assert_eq!(earlier(&[shared, socket(2, &[(20, 1, 9 * SECOND)])]), [false, false]);
    }
}
