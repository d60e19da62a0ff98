//! What the kernel keeps of a group, as the daemon shows it: what picks a member, in which order they stand.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    generator::Group,
    group_members::group_of,
    sockets::{self, Transport},
};
use serde_json::Value;
use socket2::{SockAddr, Socket};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const MEMBERS: usize = 4;
const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Mptcp];

/// Has a classic program pick the first member.
fn attach_classic(member: &Socket) -> Result<()> {
    sockets::attach_zero(member, libc::SO_ATTACH_REUSEPORT_CBPF)
}

/// Has every member selected, so that the daemon reads the group at each look and need not wait for its next snapshot.
fn touch(group: &Group) -> Result<()> {
    for _ in 0..16 * MEMBERS {
        match group.transport() {
            Transport::Udp => {
                sockets::open(Transport::Udp, LOOPBACK)?.send_to(b"x", &SockAddr::from(group.address()))?;
            }
            Transport::Tcp | Transport::Mptcp => {
                sockets::open(Transport::Tcp, LOOPBACK)?.connect(&SockAddr::from(group.address()))?;
            }
        }
    }
    Ok(())
}

/// Waits until the daemon shows of the group what `holds` says.
fn until_shown(daemon: &Daemon, group: &Group, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    deadline::until(what, PROMPT, || {
        last = group_of(&daemon.groups()?, &group.members()[0])?.clone();
        Ok(holds(&last).then(|| last.clone()))
    })
    .with_context(|| format!("last: {last}"))
}

/// Each member's field, in the order of their sockets.
fn of_members(shown: &Value, group: &Group, field: &str) -> Result<Vec<Value>> {
    let members = shown["members"].as_array().context("members")?;
    group
        .members()
        .iter()
        .map(|member| {
            let inode = sockets::inode(member)?;
            let found = members.iter().find(|member| member["inode"] == inode);
            Ok(found.with_context(|| format!("no {inode} in {shown}"))?[field].clone())
        })
        .collect()
}

#[test]
fn what_picks_a_member_is_shown_as_it_changes() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    // One program or CPU is there before the daemon.
    let early = Group::open(Transport::Udp, LOOPBACK, MEMBERS)?;
    attach_classic(&early.members()[0])?;
    let daemon = launch.start()?;
    until_shown(&daemon, &early, "the program that was there", |shown| shown["selector"] == "cbpf")?;
    for transport in TRANSPORTS {
        let group = Group::open(transport, LOOPBACK, MEMBERS)?;
        touch(&group)?;
        let name = transport.name();
        until_shown(&daemon, &group, &format!("{name} by hash"), |shown| shown["selector"] == "hash")?;
        if transport != Transport::Mptcp {
            attach_classic(&group.members()[1])?;
            until_shown(&daemon, &group, &format!("{name} by program"), |shown| shown["selector"] == "cbpf")?;
        }
    }
    let group = Group::open(Transport::Udp, LOOPBACK, MEMBERS)?;
    touch(&group)?;
    sockets::set(&group.members()[2], libc::SOL_SOCKET, libc::SO_INCOMING_CPU, 0)?;
    let shown =
        until_shown(&daemon, &group, "the CPU of a member", |shown| shown["selector"] == "incoming_cpu")?;
    let cpus = of_members(&shown, &group, "incoming_cpu")?;
    assert_eq!(cpus, [Value::Null, Value::Null, 0.into(), Value::Null], "{shown}");
    Ok(())
}

#[test]
fn the_order_of_members_is_the_kernels() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let daemon = launch.start()?;
    for transport in TRANSPORTS {
        let mut group = Group::open(transport, LOOPBACK, MEMBERS)?;
        touch(&group)?;
        let name = transport.name();
        let indexes = |wanted: &'static [u32]| {
            let group = &group;
            until_shown(&daemon, group, &format!("{name} in the order {wanted:?}"), move |shown| {
                of_members(shown, group, "index").is_ok_and(|indexes| indexes == wanted)
            })
        };
        indexes(&[0, 1, 2, 3])?;
        // The last takes the place of the one that leaves.
        group.leave(0);
        let group = &group;
        until_shown(&daemon, group, &format!("{name} in the new order"), |shown| {
            of_members(shown, group, "index").is_ok_and(|indexes| indexes == [1, 2, 0])
        })?;
    }
    Ok(())
}

#[test]
fn a_connected_member_shows() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let group = Group::open(Transport::Udp, LOOPBACK, MEMBERS)?;
    let peer = sockets::bound(Transport::Udp, SocketAddr::new(LOOPBACK, 0))?;
    group.members()[1].connect(&SockAddr::from(sockets::local_address(&peer)?))?;
    let daemon = launch.start()?;
    until_shown(&daemon, &group, "a connected member", |shown| shown["has_connected"] == true)?;
    Ok(())
}
