//! What waits at each member of a group: connections not accepted, bytes not read, as of the scrape.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::Daemon,
    generator::Group,
    groups,
    metrics::Metrics,
    sockets::{self, Transport},
};
use serde_json::Value;
use socket2::{SockAddr, Socket};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const CLIENTS: u64 = 40;

/// A family's values over all members of the group.
fn over_members(metrics: &Metrics, family: &str, group: &Value) -> Result<Vec<u64>> {
    let members = groups::members(group)?;
    members.values().map(|member| groups::member_metric(metrics, family, group, &member.number)).collect()
}

fn clients(group: &Group, transport: Transport) -> Result<Vec<Socket>> {
    (0..CLIENTS)
        .map(|_| {
            let client = sockets::open(transport, LOOPBACK)?;
            client.connect(&SockAddr::from(group.address()))?;
            Ok(client)
        })
        .collect()
}

#[test]
fn connections_that_wait_to_be_accepted() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for transport in [Transport::Tcp, Transport::Mptcp] {
        let group = Group::open(transport, LOOPBACK, 2)?;
        let _clients = clients(&group, transport)?;
        let shown = groups::of_inode(&daemon, group.inode()?)?;
        daemon.metrics_until("every connection is in a queue", |metrics| {
            let lengths = over_members(metrics, "reuse_group_accept_queue_length", &shown).ok()?;
            (lengths.iter().sum::<u64>() == CLIENTS).then_some(())
        })?;
        let limits = over_members(&daemon.metrics()?, "reuse_group_accept_queue_limit", &shown)?;
        assert_eq!(limits, [4_096, 4_096], "{transport:?}");
    }
    Ok(())
}

#[test]
fn bytes_that_wait_to_be_read() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let group = Group::open(Transport::Udp, LOOPBACK, 2)?;
    for client in clients(&group, Transport::Udp)? {
        client.send(&[0; 100])?;
    }
    let shown = groups::of_inode(&daemon, group.inode()?)?;
    let waiting = |metrics: &Metrics| over_members(metrics, "reuse_group_receive_queue_bytes", &shown);
    daemon.metrics_until("every datagram is in a queue", |metrics| {
        let bytes: u64 = waiting(metrics).ok()?.iter().sum();
        // The kernel counts the buffers, not the payload alone.
        (bytes >= 100 * CLIENTS).then_some(())
    })?;
    let mut buffer = [std::mem::MaybeUninit::uninit(); 128];
    for member in group.members() {
        while member.recv(&mut buffer).is_ok() {}
    }
    daemon
        .metrics_until("the queues are empty", |metrics| {
            (waiting(metrics).ok()?.iter().sum::<u64>() == 0).then_some(())
        })
        .context("all was read")
}
