//! The socket table at the start: what was open before the daemon, in full and with every owner.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline,
    events::{assert_fields, keys},
    inventory::{CURRENT, find, owner_pids},
    namespace::Namespace,
    process::Forked,
    schema,
    sockets::{self, Transport},
    user,
};
use serde_json::{Value, json};
use socket2::Socket;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn bound(transport: Transport) -> Result<Socket> {
    sockets::bound(transport, SocketAddr::new(LOOPBACK, 0))
}

fn own_pid() -> u64 {
    u64::from(std::process::id())
}

#[test]
fn sockets_open_before_the_start_are_there_in_full() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("inventory")?;
    let tcp = bound(Transport::Tcp)?;
    let listener = sockets::member(Transport::Tcp, SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0))?;
    let mptcp = sockets::member(Transport::Mptcp, SocketAddr::new(LOOPBACK, 0))?;
    let udp = user::run_as(user::NOBODY, || bound(Transport::Udp))?;
    let inside = namespace.run(|| sockets::bound(Transport::Udp, "[::]:5353".parse()?))?;
    let daemon = launch.start()?;

    let cases = [
        (&tcp, "tcp", "ipv4", "bound", 0, "host"),
        (&listener, "tcp", "ipv6", "listen", 0, "host"),
        (&mptcp, "mptcp", "ipv4", "listen", 0, "host"),
        (&udp, "udp", "ipv4", "bound", user::NOBODY, "host"),
        (&inside, "udp", "ipv6", "bound", 0, namespace.name()),
    ];
    for (socket, protocol, family, state, uid, netns) in cases {
        let inode = sockets::inode(socket)?;
        let entry = find(&daemon, inode)?.with_context(|| format!("{protocol} {family} is not listed"))?;
        let address = sockets::local_address(socket)?;
        assert_fields(
            &entry,
            &json!({
                "address": address.ip().to_string(), "port": address.port(), "protocol": protocol, "family": family,
                "state": state, "socket_uid": uid, "netns_name": netns, "kernel": false, "reuseaddr": false,
                "reuseport": socket.reuse_port()?, "device": null, "expires_in_seconds": null,
            }),
        );
        assert_eq!(keys(&entry), schema::socket(), "{entry}");
        let owners = entry["owners"].as_array().context("owners")?;
        assert_eq!(owners.len(), 1, "{entry}");
        assert_eq!(owners[0]["pid"], own_pid(), "{entry}");
        assert_eq!(owners[0]["fds"], json!([socket.as_raw_fd()]), "{entry}");
        assert_eq!(keys(&owners[0]), schema::owner(), "no command line over HTTP: {entry}");
    }
    let entry = find(&daemon, sockets::inode(&udp)?)?.context("listed")?;
    assert_eq!(entry["user"], "nobody", "{entry}");
    Ok(())
}

#[test]
fn every_owner_is_named() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let socket = bound(Transport::Tcp)?;
    let duplicate = socket.try_clone()?;
    let children = [Forked::new()?, Forked::new()?];
    let daemon = launch.start()?;
    let entry = find(&daemon, sockets::inode(&socket)?)?.context("listed")?;
    let expected: BTreeSet<u64> =
        children.iter().map(|child| u64::from(child.pid().cast_unsigned())).chain([own_pid()]).collect();
    assert_eq!(owner_pids(&entry), expected, "{entry}");
    let mut descriptors = [socket.as_raw_fd(), duplicate.as_raw_fd()];
    descriptors.sort_unstable();
    for owner in entry["owners"].as_array().context("owners")? {
        let mut fds: Vec<i64> =
            owner["fds"].as_array().context("fds")?.iter().filter_map(Value::as_i64).collect();
        fds.sort_unstable();
        assert_eq!(fds, descriptors.map(i64::from), "{entry}");
    }
    Ok(())
}

#[test]
fn the_gauge_agrees_with_the_table() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let _kept = [bound(Transport::Tcp)?, bound(Transport::Udp)?];
    deadline::until("table and gauge agree", CURRENT, || {
        let before = daemon.sockets()?;
        let metrics = daemon.metrics()?;
        let after = daemon.sockets()?;
        let count = |list: &[Value], state: &str| {
            let is = |entry: &&Value| {
                entry["state"] == state && entry["protocol"] == "udp" && entry["family"] == "ipv4"
            };
            list.iter().filter(is).count() as u64
        };
        let labels = [("protocol", "udp"), ("family", "ipv4"), ("state", "bound")];
        let gauge = metrics.count("reuse_sockets", &labels);
        Ok((count(&before, "bound") == gauge && count(&after, "bound") == gauge && gauge > 0).then_some(()))
    })
}
