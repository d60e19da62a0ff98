//! Refused bind() and listen() calls, one errno after the other: each is one conflict event with what was asked for.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::Daemon,
    events::{self, assert_fields},
    metrics::Metrics,
    sockets::{self, Transport, result_name},
    user,
};
use serde_json::{Value, json};
use socket2::{SockAddr, Socket};

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Checks what every refusal says.
#[track_caller]
fn assert_refused(event: &Value, phase: &str, errno: &str) {
    assert_fields(
        event,
        &json!({
            "type": "conflict", "phase": phase, "result": errno, "repeated": 1, "confidence": "exact",
            "truncated": false,
        }),
    );
    assert!(event["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "no remedy: {event}");
    if phase == "bind" {
        assert_eq!(event["contender"]["bound_port"], 0, "0 after a refusal: {event}");
    }
}

/// Checks the rule of a refusal that no socket caused.
#[track_caller]
fn assert_no_holder(event: &Value, rule: &str) {
    assert_fields(event, &json!({ "rule": rule, "holders": [], "decided_by": null }));
}

/// Checks the rule and the one holder of a refusal: a socket of this process.
#[track_caller]
fn assert_holder(event: &Value, rule: &str, transport: Transport, holder: &Socket) -> Result<()> {
    let inode = sockets::inode(holder)?;
    let decided_by = if transport == Transport::Udp { json!(inode) } else { Value::Null };
    assert_fields(event, &json!({ "rule": rule, "decided_by": decided_by }));
    let told = only(&event["holders"]);
    let address = sockets::local_address(holder)?;
    assert_fields(
        told,
        &json!({
            "inode": inode, "rule": rule, "overlap": "same_address", "protocol": transport.name(),
            "address": address.ip().to_string(), "port": address.port(),
        }),
    );
    assert_eq!(only(&told["owners"])["pid"], std::process::id(), "{event}");
    Ok(())
}

#[track_caller]
fn only(list: &Value) -> &Value {
    match list.as_array().map(Vec::as_slice) {
        Some([one]) => one,
        _ => panic!("not a list of one: {list}"),
    }
}

fn refused_bind(daemon: &Daemon, socket: &Socket, address: SocketAddr, errno: &str) -> Result<Value> {
    let outcome = socket.bind(&SockAddr::from(address));
    assert_eq!(result_name(&outcome), errno, "bind {address}");
    let event = events::wait_for(daemon, socket, "conflict", "bind")?;
    assert_refused(&event, "bind", errno);
    assert_fields(
        &event["contender"],
        &json!({ "address": address.ip().to_string(), "port": address.port() }),
    );
    Ok(event)
}

/// bind() with arguments no safe wrapper would pass.
fn raw_bind(descriptor: i32, address: *const libc::sockaddr, length: u32) -> io::Result<()> {
    // SAFETY: the kernel copies from the address itself and answers EFAULT where it cannot; nothing is written.
    if unsafe { libc::bind(descriptor, address, length) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[test]
fn eaddrinuse_shows_the_address_and_port_asked_for() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for transport in [Transport::Tcp, Transport::Udp, Transport::Mptcp] {
        for ip in [LOOPBACK.into(), Ipv6Addr::LOCALHOST.into()] {
            let labels = [
                ("protocol", transport.name()),
                ("phase", "bind"),
                ("errno", "EADDRINUSE"),
                ("rule", "exclusive"),
            ];
            let count = |metrics: &Metrics| metrics.count("reuse_bind_refusals_total", &labels);
            let before = count(&daemon.metrics()?);
            let holder = sockets::bound(transport, SocketAddr::new(ip, 0))?;
            let contender = sockets::open(transport, ip)?;
            let event = refused_bind(&daemon, &contender, sockets::local_address(&holder)?, "EADDRINUSE")?;
            assert_holder(&event, "exclusive", transport, &holder)?;
            assert_fields(
                &event["contender"],
                &json!({
                    "protocol": transport.name(), "family": sockets::family_name(ip),
                    "pid": std::process::id(), "tid": events::thread_id(), "via": "syscall",
                }),
            );
            daemon.metrics_until("the refusal by rule", |now| (count(now) > before).then_some(()))?;
        }
    }
    Ok(())
}

#[test]
fn eaddrnotavail_is_an_address_that_is_not_local() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for text in ["192.0.2.7:8080", "[2001:db8::7]:8080", "[::ffff:192.0.2.7]:8080"] {
        let address: SocketAddr = text.parse()?;
        let socket = sockets::open(Transport::Tcp, address.ip())?;
        let event = refused_bind(&daemon, &socket, address, "EADDRNOTAVAIL")?;
        assert_no_holder(&event, "address_not_local");
    }
    Ok(())
}

#[test]
fn eacces_is_a_privileged_port_asked_for_without_the_right() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let address = SocketAddr::from((LOOPBACK, 80));
    let event = user::run_as(user::NOBODY, || {
        refused_bind(&daemon, &sockets::open(Transport::Tcp, LOOPBACK.into())?, address, "EACCES")
    })?;
    assert_no_holder(&event, "privileged_port");
    assert_fields(&event["contender"], &json!({ "uid": user::NOBODY, "socket_uid": user::NOBODY }));
    Ok(())
}

#[test]
fn einval_is_a_second_bind() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let socket = sockets::bound(Transport::Tcp, SocketAddr::from((LOOPBACK, 0)))?;
    let outcome = socket.bind(&SockAddr::from(SocketAddr::from((LOOPBACK, 4321))));
    assert_eq!(result_name(&outcome), "EINVAL");
    let event = events::wait_for(&daemon, &socket, "conflict", "bind")?;
    assert_refused(&event, "bind", "EINVAL");
    assert_fields(&event["contender"], &json!({ "address": "127.0.0.1", "port": 4321 }));
    assert_no_holder(&event, "already_bound");
    Ok(())
}

#[test]
fn einval_is_an_address_too_short() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let socket = sockets::open(Transport::Udp, LOOPBACK.into())?;
    let address = SockAddr::from(SocketAddr::from((LOOPBACK, 4321)));
    let outcome = raw_bind(socket.as_raw_fd(), address.as_ptr().cast(), 8);
    assert_eq!(result_name(&outcome), "EINVAL");
    let event = events::wait_for(&daemon, &socket, "conflict", "bind")?;
    assert_refused(&event, "bind", "EINVAL");
    assert_no_holder(&event, "invalid_address");
    Ok(())
}

#[test]
fn eafnosupport_is_an_address_of_another_family() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let socket = sockets::open(Transport::Tcp, LOOPBACK.into())?;
    let outcome = socket.bind(&SockAddr::from(SocketAddr::from((Ipv6Addr::LOCALHOST, 4321))));
    assert_eq!(result_name(&outcome), "EAFNOSUPPORT");
    let event = events::wait_for(&daemon, &socket, "conflict", "bind")?;
    assert_refused(&event, "bind", "EAFNOSUPPORT");
    assert_no_holder(&event, "unsupported");
    assert_fields(&event["contender"], &json!({ "family": "ipv4", "protocol": "tcp" }));
    Ok(())
}

#[test]
fn efault_is_an_address_that_cannot_be_read() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let socket = sockets::open(Transport::Tcp, LOOPBACK.into())?;
    let outcome = raw_bind(socket.as_raw_fd(), std::ptr::without_provenance(8), 16);
    assert_eq!(result_name(&outcome), "EFAULT");
    let event = events::wait_for(&daemon, &socket, "conflict", "bind")?;
    assert_refused(&event, "bind", "EFAULT");
    assert_no_holder(&event, "bad_arguments");
    Ok(())
}

/// Descriptors that are no socket have no family and no inode: counted by result, told apart by thread.
#[test]
fn enotsock_and_ebadf_are_counted_and_told() -> Result<()> {
    // Neither has an address, so the two would be summed up as one refusal that repeats.
    let Some(daemon) = Daemon::start(&["--events.repeats", "all"])? else { return Ok(()) };
    let file = std::fs::File::open("/dev/null")?;
    let address = SockAddr::from(SocketAddr::from((LOOPBACK, 4321)));
    for (descriptor, errno) in [(file.as_raw_fd(), "ENOTSOCK"), (-1, "EBADF")] {
        let count = |metrics: &Metrics| metrics.count("reuse_bind_attempts_total", &[("result", errno)]);
        let before = count(&daemon.metrics()?);
        let outcome = raw_bind(descriptor, address.as_ptr().cast(), address.len());
        assert_eq!(result_name(&outcome), errno);
        let event = daemon.wait_event(errno, |event| {
            events::by_thread(event, events::thread_id()) && event["result"] == errno
        })?;
        assert_refused(&event, "bind", errno);
        assert_no_holder(&event, "bad_arguments");
        daemon.metrics_until("the attempt", |now| (count(now) == before + 1).then_some(()))?;
    }
    Ok(())
}

#[test]
fn a_conflict_that_only_listen_meets_shows_what_the_socket_is_bound_to() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for transport in [Transport::Tcp, Transport::Mptcp] {
        let [first, second] = [(), ()].map(|()| sockets::open(transport, LOOPBACK.into()));
        let (first, second) = (first?, second?);
        first.set_reuse_address(true)?;
        second.set_reuse_address(true)?;
        first.bind(&SockAddr::from(SocketAddr::from((LOOPBACK, 0))))?;
        let address = sockets::local_address(&first)?;
        second.bind(&SockAddr::from(address)).context("both set SO_REUSEADDR, neither listens")?;
        first.listen(1)?;
        assert_eq!(result_name(&second.listen(1)), "EADDRINUSE", "{transport:?}");
        let event = events::wait_for(&daemon, &second, "conflict", "listen")?;
        assert_refused(&event, "listen", "EADDRINUSE");
        assert_holder(&event, "holder_is_listening", transport, &first)?;
        assert_fields(
            &event["contender"],
            &json!({ "address": "127.0.0.1", "port": address.port(), "reuseaddr": true }),
        );
        let labels = [("family", "ipv4"), ("protocol", transport.name()), ("result", "EADDRINUSE")];
        daemon.metrics_until("the refused listen", |now| {
            (now.count("reuse_listen_attempts_total", &labels) >= 1).then_some(())
        })?;
    }
    Ok(())
}

#[test]
fn listen_on_a_datagram_socket_is_unsupported() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let socket = sockets::bound(Transport::Udp, SocketAddr::from((LOOPBACK, 0)))?;
    assert_eq!(result_name(&socket.listen(1)), "EOPNOTSUPP");
    let event = events::wait_for(&daemon, &socket, "conflict", "listen")?;
    assert_refused(&event, "listen", "EOPNOTSUPP");
    assert_no_holder(&event, "unsupported");
    Ok(())
}
