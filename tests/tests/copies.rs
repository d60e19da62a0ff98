//! Multicast and broadcast: every member of a group gets a copy, and none of them is a selection.

use std::{
    io::ErrorKind,
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context, Result, bail};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    generator::{Group, Share},
    groups,
    namespace::Namespace,
    sockets::{self, Transport},
};
use socket2::{InterfaceIndexOrAddress, SockAddr, Socket};

const COPIES: u64 = 200;
const UNICAST: u64 = 500;
/// Administratively scoped (RFC 2365) and site-local (RFC 4291) multicast groups.
const MULTICAST_IPV4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const MULTICAST_IPV6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0x4242, 1);

fn device(name: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(name).with_context(|| name.to_owned())
}

/// Sends `count` datagrams, each from a socket of its own so that flows differ, and drains all members in between.
fn send(group: &Group, target: SocketAddr, count: u64, shares: &mut [Share]) -> Result<()> {
    for _ in 0..count {
        let sender = sockets::open(Transport::Udp, target.ip())?;
        sender.set_broadcast(true)?;
        match target.ip() {
            IpAddr::V4(_) => sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?,
            IpAddr::V6(_) => sender.set_multicast_if_v6(device("veth-a")?)?,
        }
        // A device that has just come up has its routes a moment later.
        deadline::until(&format!("a route to {target}"), PROMPT, || {
            Ok(sender.send_to(b"copy", &SockAddr::from(target)).ok())
        })?;
        drain(group, shares)?;
    }
    Ok(())
}

fn drain(group: &Group, shares: &mut [Share]) -> Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 16];
    for (member, share) in group.members().iter().zip(shares) {
        loop {
            match member.recv(&mut buffer) {
                Ok(_) => share.taken += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => bail!("receiving: {error}"),
            }
        }
    }
    Ok(())
}

fn empty_shares(group: &Group) -> Result<Vec<Share>> {
    let share = |socket: &Socket| Ok(Share { inode: sockets::inode(socket)?, taken: 0, dropped: 0 });
    group.members().iter().map(share).collect()
}

fn taken(shares: &[Share]) -> u64 {
    shares.iter().map(|share| share.taken).sum()
}

/// Copies first, then unicast, in the calling thread's namespace; gives what each member got of the latter.
fn copies_then_unicast(group: &Group, target: IpAddr, unicast: IpAddr) -> Result<Vec<Share>> {
    let port = group.address().port();
    let mut copies = empty_shares(group)?;
    send(group, SocketAddr::new(target, port), COPIES, &mut copies)?;
    deadline::until("every member got every copy", PROMPT, || {
        drain(group, &mut copies)?;
        Ok(copies.iter().all(|share| share.taken >= COPIES).then_some(()))
    })?;

    let mut selected = empty_shares(group)?;
    send(group, SocketAddr::new(unicast, port), UNICAST, &mut selected)?;
    deadline::until("every datagram arrived", PROMPT, || {
        drain(group, &mut selected)?;
        Ok((taken(&selected) == UNICAST).then_some(()))
    })?;
    Ok(selected)
}

/// Only unicast may appear, exactly, at the member that got it.
fn assert_only(daemon: &Daemon, group: &Group, selected: &[Share]) -> Result<()> {
    let shown = groups::of_inode(daemon, group.inode()?)?;
    let members = groups::members(&shown)?;
    for share in selected {
        let member = members.get(&share.inode).with_context(|| format!("no {share:?} in {shown}"))?;
        assert_eq!(member.selections, share.taken, "{share:?} got {COPIES} copies beside: {shown}");
    }
    Ok(())
}

#[test]
fn broadcast_copies_are_not_selections() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("broadcast")?;
    let daemon = launch.start()?;
    let (group, selected) = namespace.run(|| {
        let group = Group::open(Transport::Udp, Ipv4Addr::UNSPECIFIED.into(), 3)?;
        let target = Ipv4Addr::new(127, 255, 255, 255).into();
        let selected = copies_then_unicast(&group, target, Ipv4Addr::LOCALHOST.into())?;
        Ok((group, selected))
    })?;
    assert_only(&daemon, &group, &selected)
}

#[test]
fn multicast_copies_of_ipv4_are_not_selections() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("multicast")?;
    let daemon = launch.start()?;
    let (group, selected) = namespace.run(|| {
        let group = Group::open(Transport::Udp, Ipv4Addr::UNSPECIFIED.into(), 3)?;
        for member in group.members() {
            member.join_multicast_v4_n(&MULTICAST_IPV4, &InterfaceIndexOrAddress::Index(device("lo")?))?;
        }
        let selected = copies_then_unicast(&group, MULTICAST_IPV4.into(), Ipv4Addr::LOCALHOST.into())?;
        Ok((group, selected))
    })?;
    assert_only(&daemon, &group, &selected)
}

#[test]
fn multicast_copies_of_ipv6_are_not_selections() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("multicast")?;
    // Loopback delivers no IPv6 multicast; the sending host's own copy on any other device will do.
    namespace.ip(&["link", "add", "veth-a", "up", "type", "veth", "peer", "name", "veth-b"])?;
    namespace.ip(&["link", "set", "veth-b", "up"])?;
    namespace.ip(&["address", "add", "fd00::1/64", "dev", "veth-a", "nodad"])?;
    let daemon = launch.start()?;
    let (group, selected) = namespace.run(|| {
        let group = Group::open(Transport::Udp, Ipv6Addr::UNSPECIFIED.into(), 3)?;
        for member in group.members() {
            member.join_multicast_v6(&MULTICAST_IPV6, device("veth-a")?)?;
        }
        let selected = copies_then_unicast(&group, MULTICAST_IPV6.into(), Ipv6Addr::LOCALHOST.into())?;
        Ok((group, selected))
    })?;
    assert_only(&daemon, &group, &selected)
}
