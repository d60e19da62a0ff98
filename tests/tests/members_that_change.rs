//! Members whose socket changes or goes: what they got counts on.

use std::{
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    daemon::Daemon,
    generator::Group,
    groups,
    sockets::{self, Transport},
};
use socket2::SockAddr;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Datagrams from a new source port each, so that every member gets some.
fn send(group: &Group, count: u64) -> Result<()> {
    for _ in 0..count {
        let sender = sockets::open(Transport::Udp, LOOPBACK)?;
        sender.send_to(&[0; 64], &SockAddr::from(group.address()))?;
    }
    Ok(())
}

#[test]
fn a_member_that_cleared_the_option_is_still_selected() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let group = Group::open(Transport::Udp, LOOPBACK, 4)?;
    let cleared = group.members().first().context("four members")?;
    sockets::set(cleared, libc::SOL_SOCKET, libc::SO_REUSEPORT, 0)?;
    send(&group, 400)?;
    let shown = groups::members(&groups::of_inode(&daemon, group.inode()?)?)?;
    let mut buffer = [MaybeUninit::uninit(); 128];
    for member in group.members() {
        let received = std::iter::from_fn(|| member.recv(&mut buffer).ok()).count();
        let counted = shown.get(&sockets::inode(member)?).context("a member")?.selections;
        ensure!(received > 0, "400 flows leave no member out");
        assert_eq!(counted, received as u64);
    }
    Ok(())
}

#[test]
fn drops_since_the_last_scrape_are_told_with_the_close() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let group = Group::open(Transport::Udp, LOOPBACK, 2)?;
    for member in group.members() {
        member.set_recv_buffer_size(1)?;
    }
    let port = group.address().port().to_string();
    daemon.metrics_until("the group is there and dropped nothing", |metrics| {
        (metrics.sum("reuse_group_drops_total", &[("port", &port)])? == 0.0).then_some(())
    })?;
    send(&group, 300)?;
    let drops = group.members().iter().map(sockets::drops).collect::<Result<Vec<_>>>()?;
    ensure!(drops.iter().all(|drops| *drops > 0), "buffers of the least size are full: {drops:?}");
    drop(group);
    let all: u32 = drops.iter().sum();
    daemon.metrics_until("every drop is counted", |metrics| {
        let counted = metrics.sum("reuse_group_drops_total", &[("port", &port)])?;
        (counted == f64::from(all)).then_some(())
    })
}
