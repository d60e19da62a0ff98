//! Who has the holders open, for the report.

use std::collections::{BTreeMap, BTreeSet};

use procfs::process::{FDTarget, all_processes};
use reuse_model::{
    conflict::Possession,
    endpoint::Protocol,
    event::{Comm, Moment},
    inventory::Owner,
    process::Processes as _,
    socket::Inode,
};

use super::source::Source;
use crate::{
    clock::Clock,
    owner::{
        command_lines::{ByPid, CommandLines},
        processes::ProcessTable,
    },
};

/// Who has each socket, by inode number, and the command lines of all of them.
#[derive(Default)]
pub(super) struct Owners {
    possessions: BTreeMap<u64, Possession>,
    lines: ByPid,
}

/// A descriptor that refers to a socket.
struct Found {
    inode: u64,
    /// What its owner asked for, where that is known
    protocol: Option<Protocol>,
    pid: u32,
    comm: Comm,
    uid: u32,
    fd: u32,
}

impl Owners {
    /// The owners of each socket, in the order of their process ids.
    pub(super) fn of(inodes: &[Inode], source: &mut Source) -> Self {
        let inodes: Vec<Inode> = inodes.iter().copied().filter(|inode| inode.0 != 0).collect();
        if inodes.is_empty() {
            return Self::default();
        }
        let found = in_kernel(&inodes, source).unwrap_or_else(|| in_procfs(&inodes));
        let mut table = ProcessTable::new("/proc", []);
        let now = Clock::now();
        let mut by_socket: BTreeMap<u64, (Option<Protocol>, BTreeMap<u32, Owner>)> = BTreeMap::new();
        for Found { inode, protocol, pid, comm, uid, fd } in found {
            let (known, owners) = by_socket.entry(inode).or_default();
            *known = known.or(protocol);
            let new = || Owner { process: table.process(pid, comm, uid), comm, fds: Vec::new(), seen: now };
            owners.entry(pid).or_insert_with(new).fds.push(fd);
        }
        let pids = by_socket.values().flat_map(|(_, owners)| owners.keys()).copied().collect();
        let possession = |(protocol, owners): (Option<Protocol>, BTreeMap<u32, Owner>)| Possession {
            owners: owners.into_values().collect(),
            protocol,
            ..Possession::default()
        };
        Self {
            lines: command_lines(pids, now),
            possessions: by_socket.into_iter().map(|(inode, found)| (inode, possession(found))).collect(),
        }
    }

    /// Who has a socket.
    pub(super) fn possession(&self, inode: Inode) -> Possession {
        self.possessions.get(&inode.0).cloned().unwrap_or_default()
    }

    /// The command line of an owner, where it could be read.
    pub(super) fn command_line(&self, pid: u32) -> Option<Vec<String>> {
        self.lines.get(&pid).cloned()
    }
}

/// Every process of the host, where the source can walk them.
fn in_kernel(inodes: &[Inode], source: &mut Source) -> Option<Vec<Found>> {
    let holdings =
        source.owners_of(inodes)?.inspect_err(|error| log::warn!("owners are left to procfs: {error}"));
    let found = holdings.ok()?.into_iter().map(|holding| Found {
        inode: holding.socket.inode.0,
        protocol: Some(holding.socket.protocol),
        pid: holding.pid,
        comm: holding.comm,
        uid: holding.uid,
        fd: holding.fd,
    });
    Some(found.collect())
}

/// The processes that this one may look at.
fn in_procfs(inodes: &[Inode]) -> Vec<Found> {
    let wanted: BTreeSet<u64> = inodes.iter().map(|inode| inode.0).collect();
    let mut found = Vec::new();
    for process in all_processes().into_iter().flatten().flatten() {
        let Some(descriptors) = process.fd().ok() else { continue };
        let fds: Vec<_> = descriptors
            .flatten()
            .filter_map(|descriptor| match descriptor.target {
                FDTarget::Socket(inode) if wanted.contains(&inode) => Some((inode, descriptor.fd)),
                _ => None,
            })
            .collect();
        if fds.is_empty() {
            continue;
        }
        let Ok(status) = process.status() else { continue };
        let mut comm = Comm::default();
        // The last byte stays NUL.
        comm.0.iter_mut().take(15).zip(status.name.bytes()).for_each(|(to, from)| *to = from);
        let Ok(pid) = u32::try_from(process.pid()) else { continue };
        found.extend(fds.into_iter().filter_map(|(inode, fd)| {
            let fd = u32::try_from(fd).ok()?;
            Some(Found { inode, protocol: None, pid, comm, uid: status.euid, fd })
        }));
    }
    found
}

/// Command lines of processes that are there now.
fn command_lines(pids: BTreeSet<u32>, now: Moment) -> ByPid {
    let asked = pids.into_iter().map(|pid| (pid, now)).collect();
    match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime.block_on(CommandLines::new("/proc").read(asked)),
        Err(error) => {
            log::debug!("command lines are left out: {error}");
            ByPid::new()
        }
    }
}
