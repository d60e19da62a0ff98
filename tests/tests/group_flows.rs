//! Flows of datagrams: told apart at the socket that gets them, each once in a window, whatever wakes the socket.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    generator::Group,
    group_members::{self, drain},
    sockets::{self, Transport},
};
use serde_json::Value;
use socket2::{SockAddr, Socket};

const MEMBERS: usize = 2;
const FLOWS: usize = 24;
/// Longer than a tick of any kernel's clock, in which only so many datagrams are looked at.
const TICK: Duration = Duration::from_millis(11);
/// Fewer than a CPU looks at in one tick of the fastest clock.
const AT_ONCE: usize = 8;

/// Each with what a daemon must do without to come to it.
const MECHANISMS: [(&str, &str); 3] =
    [("btf_tracepoint", ""), ("fentry", "sk_data_ready"), ("kprobe", "sk_data_ready,fentry")];

/// A daemon that tells flows apart by this mechanism, or `None` where this kernel has it not.
fn start(mechanism: &str, avoided: &str) -> Result<Option<Daemon>> {
    let mut launch = Launch::prepare()?.context("no daemon")?;
    if !avoided.is_empty() {
        launch = launch.flags(["--trace.avoid", avoided]);
    }
    let daemon = launch.start()?;
    let tier = [("tier", "flows"), ("mechanism", mechanism)];
    let active = daemon.metrics()?.sum("reuse_daemon_tier_active", &tier).is_some_and(|active| active >= 1.0);
    Ok(active.then_some(daemon))
}

/// A field of what the daemon shows of the group.
fn shown(daemon: &Daemon, group: &Group, field: &str) -> Result<Value> {
    let groups = daemon.groups()?;
    Ok(group_members::group_of(&groups, &group.members()[0])?[field].clone())
}

/// Sends some datagrams of each flow, slowly enough that each is looked at; nothing is read before all were sent.
fn send(senders: &[Socket], target: SocketAddr, rounds: usize) -> Result<()> {
    for _ in 0..rounds {
        for some in senders.chunks(AT_ONCE) {
            for sender in some {
                sender.send_to(b"x", &SockAddr::from(target))?;
            }
            thread::sleep(TICK);
        }
    }
    Ok(())
}

fn senders(address: IpAddr, count: usize) -> Result<Vec<Socket>> {
    (0..count).map(|_| sockets::bound(Transport::Udp, SocketAddr::new(address, 0))).collect()
}

fn take_all(group: &Group, count: usize) -> Result<()> {
    let mut taken = 0;
    deadline::until("every datagram", PROMPT, || {
        for member in group.members() {
            taken += drain(member)?;
        }
        Ok((taken == count as u64).then_some(()))
    })
}

/// A new group gets several datagrams of each flow; the daemon tells as many flows, not as many datagrams.
fn told_once(daemon: &Daemon, bound: IpAddr, target: IpAddr) -> Result<()> {
    const ROUNDS: usize = 3;
    let group = Group::open(Transport::Udp, bound, MEMBERS)?;
    deadline::until("the window of the group", PROMPT, || {
        Ok((!shown(daemon, &group, "window_since")?.is_null()).then_some(()))
    })?;
    let senders = senders(target, FLOWS)?;
    let target = SocketAddr::new(target, group.address().port());
    send(&senders, target, ROUNDS)?;
    take_all(&group, ROUNDS * FLOWS)?;
    assert_eq!(shown(daemon, &group, "flows")?, FLOWS, "of {} datagrams to {target}", ROUNDS * FLOWS);
    Ok(())
}

#[test]
fn a_flow_is_told_once_by_every_mechanism() -> Result<()> {
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if reuse_tests::skip::daemon_binary()?.is_none() {
        return Ok(());
    }
    let mut seen = 0;
    for (mechanism, avoided) in MECHANISMS {
        let Some(daemon) = start(mechanism, avoided)? else { continue };
        seen += 1;
        for (bound, target) in [
            (v4, v4),
            (v6, v6),
            (Ipv4Addr::UNSPECIFIED.into(), v4),
            (Ipv6Addr::UNSPECIFIED.into(), v6),
            (Ipv6Addr::UNSPECIFIED.into(), v4),
        ] {
            told_once(&daemon, bound, target).with_context(|| format!("{mechanism}, {bound} by {target}"))?;
        }
    }
    ensure!(seen > 0, "no mechanism tells flows apart");
    Ok(())
}

/// A member that is connected gets its peer's datagrams whatever the hash says: they are no sample of it.
#[test]
fn what_a_connected_member_gets_is_no_flow() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let group = Group::open(Transport::Udp, address, MEMBERS)?;
    let peer = sockets::bound(Transport::Udp, SocketAddr::new(address, 0))?;
    group.members()[MEMBERS - 1].connect(&SockAddr::from(sockets::local_address(&peer)?))?;
    let daemon = launch.start()?;
    send(std::slice::from_ref(&peer), group.address(), 3)?;
    take_all(&group, 3)?;
    let flows = shown(&daemon, &group, "flows")?;
    assert!(flows.is_null() || flows == 0, "{flows} flows");
    Ok(())
}

/// Without what it takes, flows are not guessed: they are not told at all.
#[test]
fn where_flows_are_not_told_apart_none_is_shown() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let daemon = launch.flags(["--trace.avoid", "flow_members"]).start()?;
    let group = Group::open(Transport::Udp, Ipv4Addr::LOCALHOST.into(), MEMBERS)?;
    send(&senders(Ipv4Addr::LOCALHOST.into(), AT_ONCE)?, group.address(), 1)?;
    take_all(&group, AT_ONCE)?;
    let selected: u64 = group_members::selections(&daemon, &group)?.iter().sum();
    assert_eq!(selected, AT_ONCE as u64, "selections are counted all the same");
    assert_eq!(shown(&daemon, &group, "flows")?, Value::Null);
    Ok(())
}
