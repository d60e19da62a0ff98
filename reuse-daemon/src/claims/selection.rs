//! How the kernel chooses among the sockets of a group.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd as _,
};

use anyhow::Context as _;
use reuse_model::{claim::agrees, distribution};
use socket2::Socket;

use super::{
    finding::Finding,
    group::{Clients, Group, Member, flows},
    namespace::Private,
    tcp_flows,
};

const MEMBERS: usize = 4;
/// Enough that a member with a tenth too much would show, few enough that a slow machine sends them in a second
const FLOWS: u16 = 4_000;
const CONNECTIONS: u32 = 2_000;
/// A fair kernel is called uneven once in a million runs
const UNEVEN: f64 = 1e-6;

pub(super) fn even(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    let clients = Clients::open(namespace)?;
    let at = namespace.address();
    let group = Group::open(at, MEMBERS)?;
    let delivered = group.deliver(&clients, &flows(FLOWS), at)?;
    judge(&mut finding, &format!("{FLOWS} udp flows"), &counts(&group, &delivered));
    let accepted = tcp_flows::accepted(namespace.address(), MEMBERS, CONNECTIONS)?;
    judge(&mut finding, &format!("{CONNECTIONS} tcp connections"), &accepted);

    let one_flow: Vec<_> = flows(1).into_iter().cycle().take(500).collect();
    let per_member = counts(&group, &group.deliver(&clients, &one_flow, at)?);
    finding.exception(
        per_member.contains(&500),
        format!("500 datagrams of one flow: {}; flows are spread, not datagrams", shares(&per_member)),
    );
    select_first(group.first().context("the group is empty")?)?;
    let per_member = counts(&group, &group.deliver(&clients, &flows(500), at)?);
    finding.exception(
        per_member.first() == Some(&500),
        format!("500 flows with a program that selects the first: {}", shares(&per_member)),
    );
    Ok(finding)
}

fn judge(finding: &mut Finding, what: &str, per_member: &[u64]) {
    let p_value = distribution::uniformity(per_member).map_or(0.0, |seen| seen.p_value);
    finding.claimed(p_value >= UNEVEN, format!("{what}: {} (p = {p_value:.2})", shares(per_member)));
}

pub(super) fn four_tuple(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    let clients = Clients::open(namespace)?;
    let at = namespace.address();
    let group = Group::open(at, MEMBERS)?;
    let flows = flows(1_000);
    let before = group.deliver(&clients, &flows, at)?;
    let moved =
        |after: &[Member]| before.iter().zip(after).filter(|(one, other)| one != other).count() as u64;
    let again = moved(&group.deliver(&clients, &flows, at)?);
    finding.claimed(again == 0, format!("1000 flows again: {again} to another member"));
    // A new hash chooses the same member once in MEMBERS times.
    let elsewhere = 1.0 - 1.0 / MEMBERS as f64;
    let other_port: Vec<_> = flows.iter().map(|flow| flow.with_other_port()).collect();
    let other_address: Vec<_> = flows.iter().map(|flow| flow.with_other_address()).collect();
    for (what, changed) in [("source port", other_port), ("source address", other_address)] {
        let moved = moved(&group.deliver(&clients, &changed, at)?);
        finding.claimed(
            agrees(moved, 1_000, elsewhere),
            format!("with another {what}: {moved} to another member, {:.0} expected", 1_000.0 * elsewhere),
        );
    }

    // The wildcard is what the lookup hashes as the local address (net/ipv4/udp.c, `__udp4_lib_lookup`).
    let port = namespace.address().port();
    let wildcard = Group::open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port), MEMBERS)?;
    let deliver =
        |last| wildcard.deliver(&clients, &flows, SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), port));
    let (one, other) = (deliver(1)?, deliver(2)?);
    let moved = one.iter().zip(&other).filter(|(one, other)| one != other).count();
    finding.exception(
        moved == 0,
        format!("a group on 0.0.0.0, asked at 127.0.0.1 and at 127.0.0.2: {moved} of 1000 to another member"),
    );
    Ok(finding)
}

/// Datagrams of each member.
fn counts(group: &Group, delivered: &[Member]) -> Vec<u64> {
    let of = |member| delivered.iter().filter(|got| **got == member).count() as u64;
    group.members().map(of).collect()
}

/// `1002, 998, 1010 and 990`
fn shares(per_member: &[u64]) -> String {
    let numbers: Vec<_> = per_member.iter().map(u64::to_string).collect();
    numbers.join(" / ")
}

/// Attaches a classic program to the socket's group that returns 0: the first of the array is selected (socket(7),
/// SO_ATTACH_REUSEPORT_CBPF).
fn select_first(member: &Socket) -> anyhow::Result<()> {
    const RETURN: u16 = 0x06;
    let mut instruction = libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut instruction };
    // SAFETY: the kernel copies the program, of whose length and place the argument tells.
    let result = unsafe {
        libc::setsockopt(
            member.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot attach a program to a group");
    }
    Ok(())
}
