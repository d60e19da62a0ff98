//! The socket table as things change: binds, listens, closes, forks and exits.

use std::{
    collections::BTreeSet,
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::Daemon,
    deadline,
    events::assert_fields,
    inventory::{CURRENT, RECONCILED, find, gone, owner_pids, shown},
    process::Forked,
    sockets::{self, Transport},
};
use serde_json::{Value, json};
use socket2::{SockAddr, Socket};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn bound(transport: Transport) -> Result<Socket> {
    sockets::bound(transport, SocketAddr::new(LOOPBACK, 0))
}

fn own_pid() -> u64 {
    u64::from(std::process::id())
}

#[test]
fn bind_listen_and_close_are_followed() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
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
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let holder = bound(Transport::Tcp)?;
    let contender = sockets::open(Transport::Tcp, LOOPBACK)?;
    contender.bind(&SockAddr::from(sockets::local_address(&holder)?)).err().context("the port is held")?;
    shown(&daemon, sockets::inode(&holder)?, CURRENT, "the holder is shown", |_| true)?;
    assert!(find(&daemon, sockets::inode(&contender)?)?.is_none(), "the refused socket holds nothing");
    Ok(())
}

#[test]
fn the_accept_queue_is_shown_with_its_limit() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
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
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
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
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
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
