//! Who asked: users, thread names of every kind of bytes, executables and network namespaces.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr},
    os::unix::ffi::OsStrExt,
    process::Command,
    thread,
};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::{Daemon, Launch},
    deadline::{self, PROMPT},
    events::{self, assert_fields},
    namespace::{self, Namespace},
    process,
    scratch::Scratch,
    sockets::{self, Transport},
    user,
};
use serde_json::json;
use socket2::{SockAddr, Socket};

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// A thread name that would break a line, a JSON string and a terminal, were it written as it is.
const HOSTILE: &[u8] = b"a\nb\"c\\d\xffe\x1b[m";
const HOSTILE_ESCAPED: &str = r#"a\x0ab"c\x5cd\xffe\x1b[m"#;

fn bound() -> Result<Socket> {
    sockets::bound(Transport::Tcp, SocketAddr::from((LOOPBACK, 0)))
}

/// Runs `work` on a thread with that name in the kernel.
fn named<T: Send>(comm: &[u8], work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            process::set_comm(comm)?;
            work()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn the_caller_s_uid_and_the_socket_s_are_told_apart() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let made_by_root = sockets::open(Transport::Tcp, LOOPBACK.into())?;
    user::run_as(user::NOBODY, || {
        made_by_root.bind(&SockAddr::from(SocketAddr::from((LOOPBACK, 0))))?;
        Ok(())
    })?;
    let event = events::wait_for(&daemon, &made_by_root, "bind", "bind")?;
    assert_fields(&event["contender"], &json!({ "uid": user::NOBODY, "socket_uid": 0 }));

    let made_by_nobody = user::run_as(user::NOBODY, || sockets::open(Transport::Udp, LOOPBACK.into()))?;
    made_by_nobody.bind(&SockAddr::from(SocketAddr::from((LOOPBACK, 0))))?;
    let event = events::wait_for(&daemon, &made_by_nobody, "bind", "bind")?;
    assert_fields(&event["contender"], &json!({ "uid": 0, "socket_uid": user::NOBODY }));
    Ok(())
}

#[test]
fn a_hostile_thread_name_is_escaped() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let socket = named(HOSTILE, bound)?;
    let event = events::wait_for(&daemon, &socket, "bind", "bind")?;
    assert_eq!(event["contender"]["comm"], HOSTILE_ESCAPED, "{event}");
    Ok(())
}

#[test]
fn a_hostile_thread_name_breaks_no_line_of_text() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let daemon = launch.events("text").start()?;
    let port = named(HOSTILE, || {
        let holder = bound()?;
        let address = sockets::local_address(&holder)?;
        let contender = sockets::open(Transport::Tcp, LOOPBACK.into())?;
        contender.bind(&SockAddr::from(address)).err().context("the port is held")?;
        Ok(address.port())
    })?;
    let wanted = format!("127.0.0.1:{port}");
    deadline::until("the refusal as text", PROMPT, || {
        let text = String::from_utf8(daemon.stdout_lines()?.join(&b'\n')).context("text events are UTF-8")?;
        Ok(text.contains(&wanted).then_some(()))
    })?;
    let lines = daemon.stop_cleanly()?.stdout;
    for line in lines {
        let line = String::from_utf8(line)?;
        assert!(!line.chars().any(char::is_control), "control character in {line:?}");
        // A raw newline in the name would leave this rest at the start of a line.
        assert!(!line.starts_with("b\"c"), "broken line {line:?}");
    }
    Ok(())
}

/// A file may have any name; what stands for the service in labels may not.
#[test]
fn a_hostile_executable_s_name_is_made_harmless() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let scratch = Scratch::new("hostile")?;
    let python = std::fs::canonicalize("/usr/bin/python3").context("python3")?;
    let copy = scratch.path().join(OsStr::from_bytes(b"a\nb\"c\\d\xffe{f=} and much more than 32 bytes"));
    std::fs::copy(python, &copy).context("copying python3")?;
    let (pid, ended) = Command::new(&copy)
        .args(["-c", "import socket\nsocket.socket().bind(('127.0.0.1', 0))"])
        .env("PYTHONHOME", "/usr")
        .spawn()
        .and_then(|mut child| Ok((child.id(), child.wait()?)))?;
    assert!(ended.success(), "{ended}");
    let event = daemon.wait_event("the child's bind", |event| event["contender"]["pid"] == pid)?;
    for key in ["executable", "service"] {
        let name = event["contender"][key].as_str().context("a name")?;
        let harmless = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
        assert!(!name.is_empty() && name.len() <= 32 && name.chars().all(harmless), "{key} {name:?}");
    }
    Ok(())
}

#[test]
fn the_executable_names_the_service() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let socket = named(b"worker 7", bound)?;
    let event = events::wait_for(&daemon, &socket, "bind", "bind")?;
    let own = std::env::current_exe()?;
    let own: String = own.file_name().context("a name")?.to_string_lossy().chars().take(32).collect();
    assert_fields(&event["contender"], &json!({ "comm": "worker 7", "executable": own, "service": own }));
    Ok(())
}

#[test]
fn a_named_namespace_is_shown_by_name() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("contender")?;
    let daemon = launch.start()?;
    let expected = json!({ "netns_name": namespace.name(), "netns": namespace.run(namespace::inode)? });
    let holder = namespace.run(bound)?;
    let event = events::wait_for(&daemon, &holder, "bind", "bind")?;
    assert_fields(&event["contender"], &expected);

    let contender = namespace.run(|| {
        let contender = sockets::open(Transport::Tcp, LOOPBACK.into())?;
        contender
            .bind(&SockAddr::from(sockets::local_address(&holder)?))
            .err()
            .context("the port is held")?;
        Ok(contender)
    })?;
    let event = events::wait_for(&daemon, &contender, "conflict", "bind")?;
    assert_fields(&event["contender"], &expected);
    Ok(())
}

/// Names are read at most once a second, so the first events from a namespace that has just been made may lack its own.
#[test]
fn a_namespace_named_later_is_shown_by_name_soon() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let namespace = Namespace::new("contender")?;
    deadline::until("an event with the name", PROMPT, || {
        let socket = namespace.run(bound)?;
        let event = events::wait_for(&daemon, &socket, "bind", "bind")?;
        Ok((event["contender"]["netns_name"] == namespace.name()).then_some(()))
    })
}

#[test]
fn a_namespace_without_a_name_is_another_than_the_host_s() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let (socket, inode) = namespace::unnamed(|| Ok((bound()?, namespace::inode()?)))?;
    let event = events::wait_for(&daemon, &socket, "bind", "bind")?;
    assert_fields(&event["contender"], &json!({ "netns_name": "other", "netns": inode }));
    Ok(())
}
