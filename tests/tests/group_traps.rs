//! What is easily taken for a selection and is none, and what is one though it looks otherwise: each case against what the
//! members' own sockets got, difference 0, all under one daemon.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    effort,
    generator::Group,
    group_members::{self, drain, selections},
    kernel,
    namespace::Namespace,
    skip,
    sockets::{self, Transport},
};
use socket2::{SockAddr, Socket};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const WILDCARD: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const MEMBERS: usize = 3;
const SENT: u64 = 60;
/// Bytes of a receive buffer that a few datagrams fill.
const SMALL: usize = 4_096;
/// include/uapi/linux/udp.h
const UDP_SEGMENT: i32 = 103;
const UDP_GRO: i32 = 104;
/// Bytes of a datagram among those that are put together.
const SEGMENT: i32 = 100;

/// Datagrams, each from a flow of its own.
fn send(target: SocketAddr, count: u64) -> Result<()> {
    for _ in 0..count {
        sockets::open(Transport::Udp, target.ip())?.send_to(b"x", &SockAddr::from(target))?;
    }
    Ok(())
}

/// What each member got by its own count, and what it dropped, once all together are `count`.
fn arrived(group: &Group, count: u64) -> Result<(Vec<u64>, Vec<u64>)> {
    let (mut taken, mut dropped) = (vec![0; group.members().len()], Vec::new());
    deadline::until("every datagram", PROMPT, || {
        for (member, taken) in group.members().iter().zip(&mut taken) {
            *taken += drain(member)?;
        }
        dropped = group
            .members()
            .iter()
            .map(|member| Ok(sockets::drops(member)?.into()))
            .collect::<Result<Vec<u64>>>()?;
        Ok((taken.iter().chain(&dropped).sum::<u64>() == count).then_some(()))
    })
    .with_context(|| format!("{} of {count} taken", taken.iter().sum::<u64>()))?;
    Ok((taken, dropped))
}

/// The same where nothing is dropped.
fn taken(group: &Group, count: u64) -> Result<Vec<u64>> {
    let (taken, dropped) = arrived(group, count)?;
    ensure!(dropped.iter().all(|dropped| *dropped == 0), "dropped: {dropped:?}");
    Ok(taken)
}

fn filtered(daemon: &Daemon) -> Result<()> {
    let group = Group::open(Transport::Udp, LOOPBACK, MEMBERS)?;
    // A socket filter that takes nothing.
    sockets::attach_zero(&group.members()[0], libc::SO_ATTACH_FILTER)?;
    send(group.address(), SENT)?;
    let (taken, dropped) = arrived(&group, SENT)?;
    ensure!(dropped[0] > 0 && taken[0] == 0, "the filter took {dropped:?} and let {taken:?} pass");
    assert_eq!(selections(daemon, &group)?, taken, "a datagram that is filtered was selected by nobody");
    // Who was never selected is looked at with the inventory, every 10 s.
    deadline::until("what the filter took among the drops", 3 * PROMPT, || {
        let shown = group_members::shown(daemon, &group)?;
        Ok(shown.iter().map(|member| member.drops).eq(dropped.iter().copied()).then_some(()))
    })
}

fn full(daemon: &Daemon) -> Result<()> {
    let group = Group::open(Transport::Udp, LOOPBACK, MEMBERS)?;
    for member in group.members() {
        member.set_recv_buffer_size(SMALL)?;
    }
    for _ in 0..SENT {
        sockets::open(Transport::Udp, LOOPBACK)?.send_to(&[0; 512], &SockAddr::from(group.address()))?;
    }
    let (taken, dropped) = arrived(&group, SENT)?;
    ensure!(dropped.iter().sum::<u64>() > 0, "the buffers did not fill");
    let selected: Vec<u64> = taken.iter().zip(&dropped).map(|(taken, dropped)| taken + dropped).collect();
    assert_eq!(selections(daemon, &group)?, selected, "a full buffer was selected");
    Ok(())
}

/// One wake-up for ten datagrams that were put together, one for each where they are not.
fn batches(daemon: &Daemon) -> Result<()> {
    const SEGMENTS: usize = 10;
    let group = Group::open(Transport::Udp, LOOPBACK, MEMBERS)?;
    for member in &group.members()[..MEMBERS - 1] {
        sockets::set(member, libc::SOL_UDP, UDP_GRO, 1)?;
    }
    let payload = [0; SEGMENT as usize * SEGMENTS];
    let mut sent = 0;
    for number in 1..=SENT as usize {
        let sender = sockets::open(Transport::Udp, LOOPBACK)?;
        sockets::set(&sender, libc::SOL_UDP, UDP_SEGMENT, SEGMENT)?;
        let segments = number % SEGMENTS + 1;
        sender.send_to(&payload[..SEGMENT as usize * segments], &SockAddr::from(group.address()))?;
        sent += segments as u64;
    }
    let bytes = |member: &Socket| group_members::drain_bytes(member).map(|bytes| bytes / SEGMENT as u64);
    let mut taken = vec![0; MEMBERS];
    deadline::until("every datagram", PROMPT, || {
        for (member, taken) in group.members().iter().zip(&mut taken) {
            *taken += bytes(member)?;
        }
        Ok((taken.iter().sum::<u64>() == sent).then_some(()))
    })?;
    assert_eq!(selections(daemon, &group)?, taken, "every datagram that was put together is one selection");
    Ok(())
}

/// What a connected member gets is delivered to it by whom it is connected to, and not by the hash. Since 6.13 it leaves
/// its group for that (net/ipv4/udp.c, `udp_lib_hash4`), and nothing that it gets is a selection.
fn connected(daemon: &Daemon) -> Result<()> {
    let taken_out = || -> Result<u64> {
        let kind = [("kind", "missed_close")];
        Ok(daemon.metrics()?.count("reuse_daemon_reconciliation_corrections_total", &kind))
    };
    let before = taken_out()?;
    let outcome = one_connected(daemon);
    // A snapshot of 6.1 has no connected datagram socket: one that falls into the test takes the member out of the table,
    // and the next is ten seconds away.
    if outcome.is_err() && !kernel::is_at_least(6, 2)? && taken_out()? > before {
        return one_connected(daemon);
    }
    outcome
}

fn one_connected(daemon: &Daemon) -> Result<()> {
    let group = Group::open(Transport::Udp, LOOPBACK, MEMBERS)?;
    let peer = sockets::bound(Transport::Udp, SocketAddr::new(LOOPBACK, 0))?;
    group.members()[0].connect(&SockAddr::from(sockets::local_address(&peer)?))?;
    for _ in 0..SENT {
        peer.send_to(b"x", &SockAddr::from(group.address()))?;
    }
    send(group.address(), SENT)?;
    let taken = taken(&group, 2 * SENT)?;
    assert_eq!(taken[0], SENT, "its peer's datagrams and no others");
    let left = usize::from(kernel::is_at_least(6, 13)?);
    assert_eq!(group_members::selections_of(daemon, &group.members()[left..])?, taken[left..]);
    Ok(())
}

/// Data on accepted connections wakes sockets that inherited their listener's options.
fn children(daemon: &Daemon, transport: Transport, address: IpAddr) -> Result<()> {
    let group = Group::open(transport, address, MEMBERS)?;
    let target = SocketAddr::new(LOOPBACK, group.address().port());
    let mut accepted = vec![0; MEMBERS];
    for _ in 0..SENT / 4 {
        let client = sockets::open(Transport::Tcp, LOOPBACK)?;
        client.connect(&target.into())?;
        let (place, connection) = deadline::until("a connection", PROMPT, || {
            let found = group
                .members()
                .iter()
                .enumerate()
                .find_map(|(place, member)| Some((place, member.accept().ok()?.0)));
            Ok(found)
        })?;
        accepted[place] += 1;
        connection.set_nonblocking(false)?;
        for _ in 0..3 {
            client.send(b"data")?;
            ensure!(connection.recv(&mut [std::mem::MaybeUninit::uninit(); 4])? == 4, "no data");
        }
        client.set_linger(Some(Duration::ZERO))?;
    }
    assert_eq!(selections(daemon, &group)?, accepted, "{}", transport.name());
    Ok(())
}

/// A group on the wildcard address, which gets datagrams to any of the host's.
fn wildcard(daemon: &Daemon) -> Result<()> {
    let group = Group::open(Transport::Udp, WILDCARD, MEMBERS)?;
    for last in 1..=4 {
        send((Ipv4Addr::new(127, 0, 0, last), group.address().port()).into(), SENT / 4)?;
    }
    let taken = taken(&group, SENT)?;
    assert_eq!(selections(daemon, &group)?, taken);
    Ok(())
}

/// Members in another namespace with the same address and port are another group.
fn other_namespace(daemon: &Daemon) -> Result<()> {
    let group = Group::open(Transport::Udp, LOOPBACK, MEMBERS)?;
    let namespace = Namespace::new("traps")?;
    let (other, taken_there) = namespace.run(|| {
        let mut other = Vec::new();
        for _ in 0..2 {
            other.push(sockets::member(Transport::Udp, group.address())?);
        }
        send(group.address(), SENT / 2)?;
        let mut got = Vec::new();
        for member in &other {
            member.set_nonblocking(true)?;
            got.push(drain(member)?);
        }
        Ok((other, got))
    })?;
    send(group.address(), SENT)?;
    let taken = taken(&group, SENT)?;
    assert_eq!(taken_there.iter().sum::<u64>(), SENT / 2);
    assert_eq!(selections(daemon, &group)?, taken, "of this namespace");
    assert_eq!(group_members::selections_of(daemon, &other)?, taken_there, "of the other");
    Ok(())
}

#[test]
fn what_looks_like_a_selection_is_counted_for_what_it_is() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let daemon = launch.start()?;
    filtered(&daemon).context("filtered")?;
    full(&daemon).context("full")?;
    batches(&daemon).context("batches")?;
    connected(&daemon).context("connected")?;
    children(&daemon, Transport::Tcp, LOOPBACK).context("children")?;
    children(&daemon, Transport::Tcp, WILDCARD).context("children of a wildcard")?;
    children(&daemon, Transport::Mptcp, LOOPBACK).context("children of MPTCP")?;
    wildcard(&daemon).context("wildcard")?;
    other_namespace(&daemon).context("other namespace")?;
    let metrics = daemon.metrics()?;
    for stage in ["batch", "flow_map", "selection_map"] {
        let lost = metrics.sum("reuse_daemon_events_lost_total", &[("stage", stage)]);
        assert_eq!(lost, Some(0.0), "lost at {stage}");
    }
    Ok(())
}

/// As many members and groups as a large host has.
#[test]
fn a_thousand_members_and_a_thousand_groups_are_counted() -> Result<()> {
    const LARGE: usize = 1_024;
    const GROUPS: usize = 1_000;
    if deadline::slowness() > 1 {
        skip::skip("a thousand members take too long on a machine this slow");
        return Ok(());
    }
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let daemon = launch.start()?;
    let large = Group::open(Transport::Udp, LOOPBACK, LARGE)?;
    // A port that the kernel chooses for a socket with SO_REUSEPORT may be one of another group of the same user.
    let mut many = BTreeMap::new();
    while many.len() < GROUPS {
        let group = Group::open(Transport::Udp, LOOPBACK, 2)?;
        if group.address() != large.address() {
            many.entry(group.address()).or_insert(group);
        }
    }
    let sent = effort::fewer(4_000_u64, "datagrams");
    send(large.address(), sent)?;
    let got = taken(&large, sent)?;
    assert_eq!(selections(&daemon, &large)?, got, "of {LARGE} members");
    for group in many.values() {
        send(group.address(), 3)?;
    }
    let all = daemon.groups()?;
    for group in many.values() {
        let got = taken(group, 3)?;
        assert_eq!(group_members::selections_in(&all, group.members())?, got, "of {GROUPS} groups");
    }
    Ok(())
}
