//! A group's members side by side, in the order of their sockets: what the daemon shows of each, and what each has waiting.

use std::{io::ErrorKind, mem::MaybeUninit};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use socket2::Socket;

use crate::{
    daemon::Daemon,
    generator::Group,
    groups::{self, Member},
    sockets,
};

/// Room for the longest datagram that the members of a test get.
const LONGEST: usize = 65_536;

/// What the daemon shows of each member of a group.
///
/// # Errors
/// When it does not know one.
pub fn shown(daemon: &Daemon, group: &Group) -> Result<Vec<Member>> {
    in_groups(&daemon.groups()?, group.members())
}

/// Selections of each member of a group.
///
/// # Errors
/// As [`shown`].
pub fn selections(daemon: &Daemon, group: &Group) -> Result<Vec<u64>> {
    selections_of(daemon, group.members())
}

/// Selections of each of some members of one group.
///
/// # Errors
/// As [`shown`].
pub fn selections_of(daemon: &Daemon, members: &[Socket]) -> Result<Vec<u64>> {
    selections_in(&daemon.groups()?, members)
}

/// The same in groups that were read before.
///
/// # Errors
/// As [`shown`].
pub fn selections_in(groups: &[Value], members: &[Socket]) -> Result<Vec<u64>> {
    Ok(in_groups(groups, members)?.into_iter().map(|member| member.selections).collect())
}

/// The group of that socket, among groups that were read before.
///
/// # Errors
/// When there is none.
pub fn group_of<'a>(groups: &'a [Value], member: &Socket) -> Result<&'a Value> {
    let inode = sockets::inode(member)?;
    let has = |group: &&Value| {
        group["members"]
            .as_array()
            .is_some_and(|members| members.iter().any(|member| member["inode"] == inode))
    };
    groups.iter().find(has).with_context(|| format!("no group with inode {inode}"))
}

fn in_groups(groups: &[Value], members: &[Socket]) -> Result<Vec<Member>> {
    let first = members.first().context("a group has a member")?;
    let shown = groups::members(group_of(groups, first)?)?;
    members
        .iter()
        .map(|member| {
            let inode = sockets::inode(member)?;
            shown.get(&inode).cloned().with_context(|| format!("no member with inode {inode}"))
        })
        .collect()
}

/// Reads all that waits at a non-blocking member; gives how many datagrams.
///
/// # Errors
/// The kernel's.
pub fn drain(member: &Socket) -> Result<u64> {
    let mut datagrams = 0;
    read_all(member, |_| datagrams += 1)?;
    Ok(datagrams)
}

/// The same in bytes.
///
/// # Errors
/// The kernel's.
pub fn drain_bytes(member: &Socket) -> Result<u64> {
    let mut bytes = 0;
    read_all(member, |length| bytes += length as u64)?;
    Ok(bytes)
}

fn read_all(member: &Socket, mut each: impl FnMut(usize)) -> Result<()> {
    let mut buffer = vec![MaybeUninit::uninit(); LONGEST];
    loop {
        match member.recv(&mut buffer) {
            Ok(length) => each(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => bail!("receiving: {error}"),
        }
    }
}
