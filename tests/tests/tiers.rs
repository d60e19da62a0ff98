//! What is switched off is said to be, and the rest goes on.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use reuse_tests::{
    daemon::Daemon,
    generator::Group,
    groups,
    sockets::{self, Transport},
};
use socket2::SockAddr;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn without_system_calls_selections_go_on() -> Result<()> {
    let group = Group::open(Transport::Udp, LOOPBACK, 2)?;
    let Some(daemon) = Daemon::start(&["--trace.syscalls=false"])? else { return Ok(()) };
    let bound = sockets::bound(Transport::Tcp, (LOOPBACK, 0).into())?;
    for _ in 0..50 {
        let sender = sockets::open(Transport::Udp, LOOPBACK)?;
        sender.send_to(b"x", &SockAddr::from(group.address()))?;
    }
    let selected: u64 = groups::members(&groups::of_inode(&daemon, group.inode()?)?)?
        .values()
        .map(|member| member.selections)
        .sum();
    assert_eq!(selected, 50);
    let metrics = daemon.metrics()?;
    let active = |tier| metrics.sum("reuse_daemon_tier_active", &[("tier", tier)]);
    assert_eq!(
        ["bind", "listen", "selection", "close"].map(active),
        [Some(0.0), Some(0.0), Some(1.0), Some(1.0)]
    );
    let bound = sockets::inode(&bound)?;
    let told = daemon.events()?.into_iter().any(|event| event["contender"]["inode"] == bound);
    ensure!(!told, "a call was seen");
    let stopped = daemon.stop_cleanly()?;
    ensure!(stopped.stderr.contains("--trace.syscalls=false"), "{}", stopped.stderr);
    Ok(())
}
