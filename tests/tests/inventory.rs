//! The socket table: what was open before the daemon started, and how it follows binds, listens, closes and exits.

use std::{
    collections::BTreeSet,
    io::Read,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
    time::Duration,
};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline,
    events::{assert_fields, keys},
    namespace::Namespace,
    process::Forked,
    sockets::{self, Transport},
    user,
};
use serde_json::{Value, json};
use socket2::{SockAddr, Socket};

/// How soon a change that the kernel tells must be in the table.
const CURRENT: Duration = Duration::from_secs(2);
/// How soon one that it does not tell: fork() and a close() that leaves the socket open elsewhere are found by the
/// periodic reconciliation.
const RECONCILED: Duration = Duration::from_secs(15);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const SOCKET_KEYS: [&str; 21] = [
    "address",
    "port",
    "family",
    "protocol",
    "state",
    "reuseaddr",
    "reuseport",
    "v6only",
    "device",
    "socket_uid",
    "user",
    "inode",
    "cookie",
    "netns",
    "netns_name",
    "since",
    "expires_in_seconds",
    "kernel",
    "owners",
    "queue",
    "queue_limit",
];
const OWNER_KEYS: [&str; 9] =
    ["pid", "comm", "executable", "uid", "user", "service", "unit", "container", "pod"];

fn bound(transport: Transport) -> Result<Socket> {
    sockets::bound(transport, SocketAddr::new(LOOPBACK, 0))
}

fn find(daemon: &Daemon, inode: u64) -> Result<Option<Value>> {
    let mut found: Vec<Value> =
        daemon.sockets()?.into_iter().filter(|socket| socket["inode"] == inode).collect();
    assert!(found.len() <= 1, "inode {inode} listed {} times: {found:?}", found.len());
    Ok(found.pop())
}

/// Waits until the table shows the socket as `accept` wants it.
fn shown(
    daemon: &Daemon,
    inode: u64,
    limit: Duration,
    what: &str,
    accept: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let mut last = Value::Null;
    let outcome = deadline::until(what, limit, || {
        last = find(daemon, inode)?.unwrap_or_default();
        Ok((!last.is_null() && accept(&last)).then(|| last.clone()))
    });
    outcome.with_context(|| format!("inode {inode}, shown as {last}"))
}

fn gone(daemon: &Daemon, inode: u64) -> Result<()> {
    deadline::until("the socket leaves the table", CURRENT, || {
        Ok(find(daemon, inode)?.is_none().then_some(()))
    })
    .with_context(|| format!("inode {inode}"))
}

fn owner_pids(socket: &Value) -> BTreeSet<u64> {
    let owners = socket["owners"].as_array().map(Vec::as_slice).unwrap_or_default();
    owners.iter().filter_map(|owner| owner["pid"].as_u64()).collect()
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
        assert_eq!(keys(&entry), BTreeSet::from(SOCKET_KEYS), "{entry}");
        let owners = entry["owners"].as_array().context("owners")?;
        assert_eq!(owners.len(), 1, "{entry}");
        assert_eq!(owners[0]["pid"], own_pid(), "{entry}");
        assert_eq!(owners[0]["fds"], json!([socket.as_raw_fd()]), "{entry}");
        let mut expected = BTreeSet::from(OWNER_KEYS);
        expected.insert("fds");
        assert_eq!(keys(&owners[0]), expected, "no command line over HTTP: {entry}");
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
fn bind_listen_and_close_are_followed() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    for transport in [Transport::Tcp, Transport::Mptcp, Transport::Udp] {
        let socket = bound(transport)?;
        let inode = sockets::inode(&socket)?;
        let port = sockets::local_address(&socket)?.port();
        let entry = shown(&daemon, inode, CURRENT, "the bind is shown", |entry| entry["state"] == "bound")?;
        assert_fields(&entry, &json!({ "address": "127.0.0.1", "port": port, "protocol": transport.name() }));
        assert_eq!(owner_pids(&entry), BTreeSet::from([own_pid()]), "{entry}");
        if transport != Transport::Udp {
            socket.listen(5)?;
            shown(&daemon, inode, CURRENT, "the listen is shown", |entry| entry["state"] == "listen")?;
        }
        drop(socket);
        gone(&daemon, inode).with_context(|| format!("{transport:?} closed"))?;
    }
    Ok(())
}

#[test]
fn a_refused_bind_is_no_entry() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let holder = bound(Transport::Tcp)?;
    let contender = sockets::open(Transport::Tcp, LOOPBACK)?;
    contender.bind(&SockAddr::from(sockets::local_address(&holder)?)).err().context("the port is held")?;
    shown(&daemon, sockets::inode(&holder)?, CURRENT, "the holder is shown", |_| true)?;
    assert!(find(&daemon, sockets::inode(&contender)?)?.is_none(), "the refused socket holds nothing");
    Ok(())
}

#[test]
fn the_accept_queue_is_shown_with_its_limit() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let listener = bound(Transport::Tcp)?;
    listener.listen(7)?;
    let address = sockets::local_address(&listener)?;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let client = sockets::open(Transport::Tcp, LOOPBACK)?;
        client.connect(&SockAddr::from(address))?;
        clients.push(client);
    }
    let entry = shown(&daemon, sockets::inode(&listener)?, RECONCILED, "three in the queue", |entry| {
        entry["queue"] == 3
    })?;
    assert_eq!(entry["queue_limit"], 7, "{entry}");
    Ok(())
}

#[test]
fn a_socket_lives_as_long_as_its_last_owner() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let sockets = [bound(Transport::Tcp)?, bound(Transport::Udp)?, bound(Transport::Mptcp)?];
    let inodes: Vec<u64> = sockets.iter().map(sockets::inode).collect::<Result<_>>()?;
    let children = [Forked::new()?, Forked::new()?];
    let pids = children.each_ref().map(|child| u64::from(child.pid().cast_unsigned()));
    drop(sockets);
    let owned_by = |inode: u64, limit: Duration, what: &str, pids: &[u64]| {
        let pids = BTreeSet::from_iter(pids.iter().copied());
        shown(&daemon, inode, limit, what, |entry| owner_pids(entry) == pids)
    };
    for &inode in &inodes {
        owned_by(inode, RECONCILED, "the children are the owners", &pids)?;
    }
    let [first, second] = children;
    first.exit();
    for &inode in &inodes {
        owned_by(inode, CURRENT, "one child is left", &pids[1..])?;
    }
    second.exit();
    for inode in inodes {
        gone(&daemon, inode).context("the last owner exited")?;
    }
    Ok(())
}

#[test]
fn the_sockets_of_a_process_that_exits_go_with_it() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let script = "import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_STREAM)\n\
        s.bind(('127.0.0.1',0))\ns.listen()\nu=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
        u.bind(('127.0.0.1',0))\nprint(s.getsockname()[1],u.getsockname()[1],flush=True)\nsys.stdin.read()";
    let mut child = std::process::Command::new("python3")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .context("python3")?;
    let pid = u64::from(child.id());
    let owned = |sockets: &[Value]| sockets.iter().filter(|entry| owner_pids(entry).contains(&pid)).count();
    let outcome = (|| {
        let mut line = String::new();
        let mut byte = [0_u8; 1];
        let stdout = child.stdout.as_mut().context("stdout is piped")?;
        while !line.ends_with('\n') {
            stdout.read_exact(&mut byte)?;
            line.push(char::from(byte[0]));
        }
        deadline::until("both sockets are shown", CURRENT, || {
            Ok((owned(&daemon.sockets()?) == 2).then_some(()))
        })?;
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(child.id().cast_signed()),
            nix::sys::signal::SIGKILL,
        )?;
        child.wait()?;
        deadline::until("none is shown any more", CURRENT, || {
            Ok((owned(&daemon.sockets()?) == 0).then_some(()))
        })
    })();
    let _ = child.kill();
    child.wait()?;
    outcome
}

#[test]
fn the_gauge_agrees_with_the_table() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
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
