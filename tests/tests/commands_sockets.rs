//! `sockets`: the same answer with a daemon and without, filtered, as a table and as JSON.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{fd::AsRawFd, unix::fs::PermissionsExt, unix::process::CommandExt},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    events::{assert_fields, keys},
    inventory::owner_pids,
    local::{self, run},
    namespace::Namespace,
    schema,
    scratch::Scratch,
    sockets::{self, Transport},
    user,
};
use serde_json::{Value, json};

/// The command asking nobody.
fn alone(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["sockets", "--socket", "/nonexistent/api.sock"]);
    command
}

fn list(answer: &Value) -> Result<&Vec<Value>> {
    assert_eq!(answer["schema"], 1, "{answer}");
    assert_eq!(keys(answer), BTreeSet::from(["schema", "sockets"]));
    answer["sockets"].as_array().context("sockets")
}

fn of_inode(answer: &Value, inode: u64) -> Result<Value> {
    let found = list(answer)?.iter().find(|socket| socket["inode"] == inode);
    found.cloned().with_context(|| format!("inode {inode} in {answer}"))
}

#[test]
fn every_field_is_there_and_true() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let socket = sockets::member(Transport::Tcp, SocketAddr::from((Ipv6Addr::LOCALHOST, 0)))?;
    let (inode, address) = (sockets::inode(&socket)?, sockets::local_address(&socket)?);
    let ran = run(daemon.command("sockets").arg("--json"))?;
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let entry = of_inode(&ran.json()?, inode)?;
    assert_eq!(keys(&entry), schema::socket(), "{entry}");
    assert_fields(
        &entry,
        &json!({
            "address": "::1", "port": address.port(), "family": "ipv6", "protocol": "tcp", "state": "listen",
            "reuseaddr": false, "reuseport": true, "v6only": true, "device": null, "socket_uid": 0, "user": "root",
            "netns_name": "host", "expires_in_seconds": null, "kernel": false, "queue": 0, "queue_limit": 4096,
        }),
    );
    assert!(entry["since"].is_string(), "the daemon saw the bind: {entry}");
    let [owner] = &entry["owners"].as_array().context("owners")?[..] else {
        panic!("one owner: {entry}");
    };
    assert_eq!(keys(owner), schema::owner_in_full(), "{owner}");
    let words: Vec<String> = std::env::args().collect();
    let exe = std::env::current_exe()?;
    assert_fields(owner, &json!({"pid": std::process::id(), "exe": exe, "cmdline": words, "uid": 0}));
    Ok(())
}

/// A socket without what only a daemon knows.
fn comparable(mut socket: Value) -> Value {
    socket["since"] = Value::Null;
    // Not in the event of a bind: known from the next snapshot on.
    socket["queue"] = Value::Null;
    socket["queue_limit"] = Value::Null;
    if let Some(owners) = socket["owners"].as_array_mut() {
        for owner in owners.iter_mut() {
            // Of the last bind or listen, where a daemon saw it; found by a snapshot, or by that bind.
            owner["comm"] = Value::Null;
            owner["fds"] = Value::Null;
            // Of the thread that bound it, or of the process.
            owner["uid"] = Value::Null;
            owner["user"] = Value::Null;
        }
        owners.sort_by_key(|owner| owner["pid"].as_u64());
    }
    socket
}

#[test]
fn a_daemon_and_a_look_of_its_own_agree() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("agree")?;
    let binary = launch.binary_path().to_owned();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let before = sockets::member(Transport::Udp, loopback)?;
    let daemon = launch.start()?;
    let after = [
        sockets::bound(Transport::Tcp, loopback)?,
        sockets::member(Transport::Mptcp, loopback)?,
        user::run_as(user::NOBODY, || {
            sockets::bound(Transport::Udp, SocketAddr::from((Ipv6Addr::LOCALHOST, 0)))
        })?,
        namespace.run(|| sockets::member(Transport::Tcp, "0.0.0.0:80".parse()?))?,
    ];
    let asked = run(daemon.command("sockets").arg("--json"))?;
    let looked = run(alone(&binary).arg("--json"))?;
    assert_eq!((asked.status, looked.status), (Some(0), Some(0)), "{asked:?} {looked:?}");
    let (asked, looked) = (asked.json()?, looked.json()?);
    for socket in after.iter().chain([&before]) {
        let inode = sockets::inode(socket)?;
        let one = comparable(of_inode(&asked, inode)?);
        let other = of_inode(&looked, inode)?;
        assert_eq!(other["owners"][0]["fds"], json!([socket.as_raw_fd()]), "{other}");
        assert_eq!(one, comparable(other));
    }
    // Others' come and go between the two looks.
    let inodes = |answer: &Value| -> Result<BTreeSet<u64>> {
        let own =
            list(answer)?.iter().filter(|socket| owner_pids(socket).contains(&std::process::id().into()));
        Ok(own.filter_map(|socket| socket["inode"].as_u64()).collect())
    };
    assert_eq!(inodes(&asked)?, inodes(&looked)?);
    Ok(())
}

#[test]
fn filters_choose_and_the_status_says_whether_anything_is_left() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let namespace = Namespace::new("filters")?;
    let socket = namespace
        .run(|| user::run_as(user::NOBODY, || sockets::bound(Transport::Udp, "127.0.0.1:5353".parse()?)))?;
    let (inode, pid) = (sockets::inode(&socket)?, std::process::id().to_string());
    let netns = format!("/run/netns/{}", namespace.name());
    let cases: [(&[&str], bool); 11] = [
        (&["--port", "5353"], true),
        (&["--port", "53", "--port", "5353"], true),
        (&["--port", "54"], false),
        (&["--address", "127.0.0.1"], true),
        (&["--address", "127.0.0.9"], false),
        (&["--uid", "65534"], true),
        (&["--pid", &pid], true),
        (&["--pid", "1", "--port", "5353"], false),
        (&["--netns", "all"], true),
        (&["--executable", "no-such-program"], false),
        (&["--service", "no-such.service"], false),
    ];
    for (filter, wanted) in cases {
        // Other tests' and the host's sockets are in other namespaces.
        let mut command = daemon.command("sockets");
        command.args(["--json", "--netns", &netns]).args(filter);
        let ran = run(&mut command)?;
        assert_eq!(
            ran.stderr.contains("no bound socket of this kind"),
            !wanted,
            "{filter:?}: {}",
            ran.stderr
        );
        assert_eq!(ran.status, Some(if wanted { 0 } else { 1 }), "{filter:?}: {ran:?}");
        let answer = ran.json()?;
        if filter == ["--netns", "all"] {
            assert!(list(&answer)?.len() > 1, "every namespace: {answer}");
        } else {
            let found: Vec<_> = list(&answer)?.iter().map(|socket| socket["inode"].as_u64()).collect();
            assert_eq!(found, if wanted { vec![Some(inode)] } else { vec![] }, "{filter:?}");
        }
    }
    let elsewhere = run(daemon.command("sockets").args(["--json", "--netns", &pid, "--port", "5353"]))?;
    assert_eq!(elsewhere.status, Some(1), "{elsewhere:?}");
    Ok(())
}

#[test]
fn the_table_is_for_people() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let socket = sockets::member(Transport::Tcp, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = sockets::local_address(&socket)?;
    let port = address.port().to_string();
    let ran = run(daemon.command("sockets").args(["--port", &port]))?;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let lines: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["PROTO", "ADDRESS", "STATE", "FLAGS", "QUEUE", "USER", "OWNERS"], "{ran:?}");
    let (local, pid) = (address.to_string(), format!("[{}]", std::process::id()));
    assert_eq!(lines[1][..6], ["tcp", local.as_str(), "listen", "RP", "0/4096", "root"], "{ran:?}");
    assert!(lines[1][6].ends_with(&pid), "{ran:?}");
    drop(socket);
    let namespace = Namespace::new("table")?;
    let _inside =
        namespace.run(|| sockets::bound(Transport::Udp, SocketAddr::from((Ipv4Addr::LOCALHOST, 7))))?;
    let netns = format!("/run/netns/{}", namespace.name());
    // A namespace that is a moment old may have no name yet.
    deadline::until("the table names the namespace", PROMPT, || {
        let ran = run(daemon.command("sockets").args(["--netns", &netns]))?;
        assert!(ran.stdout.contains("  NETNS  "), "{ran:?}");
        Ok(ran.stdout.contains(namespace.name()).then_some(()))
    })
}

#[test]
fn what_cannot_be_said_has_a_reason_and_status_2() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let ran = run(alone(launch.binary_path()).args(["--netns", "/nowhere"]))?;
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("no network namespace at /nowhere"), "{ran:?}");
    let ran = run(alone(launch.binary_path()).args(["--rule", "exclusive"]))?;
    assert_eq!(ran.status, Some(2), "a socket has no rule: {ran:?}");
    // Another user may not reach the build directory.
    let scratch = Scratch::new("sockets-unprivileged")?;
    let copy = scratch.path().join("reuse-daemon");
    fs::copy(launch.binary_path(), &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    let ran = run(alone(&copy).uid(user::NOBODY).gid(user::NOBODY))?;
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("no daemon answers") && ran.stderr.contains("root"), "{ran:?}");
    let daemon = launch.start()?;
    let mut command = Command::new(&copy);
    command.args(["sockets", "--socket"]).arg(daemon.socket()).uid(user::NOBODY).gid(user::NOBODY);
    let ran = run(&mut command)?;
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("only root and the daemon's own user may ask"), "{ran:?}");
    assert_eq!(local::ask(daemon.socket(), r#"{"ask":"status"}"#)?["ready"], true);
    Ok(())
}
