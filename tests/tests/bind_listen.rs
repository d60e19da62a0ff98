//! Calls of bind() and listen() that succeed: each is one event with all its fields, and one attempt.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::Daemon,
    events::{self, assert_fields},
    namespace,
    sockets::{self, Transport, family_name},
};
use serde_json::json;
use socket2::{SockAddr, Socket};

const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Mptcp];
const ADDRESSES: [&str; 5] = ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"];

fn address(text: &str) -> Result<IpAddr> {
    text.parse().with_context(|| text.to_owned())
}

/// Opens a socket with one option set, and gives it with the name events have for the option.
fn with_option(name: &str, ip: IpAddr) -> Result<Socket> {
    let socket = sockets::open(Transport::Tcp, ip)?;
    let (level, option) = match (name, ip.is_ipv4()) {
        ("reuseaddr", _) => (libc::SOL_SOCKET, libc::SO_REUSEADDR),
        ("reuseport", _) => (libc::SOL_SOCKET, libc::SO_REUSEPORT),
        ("freebind", true) => (libc::IPPROTO_IP, libc::IP_FREEBIND),
        ("freebind", false) => (libc::IPPROTO_IPV6, libc::IPV6_FREEBIND),
        ("transparent", true) => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
        ("transparent", false) => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
        ("bind_address_no_port", _) => (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT),
        (_, _) => (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
    };
    sockets::set(&socket, level, option, 1).with_context(|| format!("setting {name}"))?;
    Ok(socket)
}

#[test]
fn every_protocol_and_family_is_seen_in_full() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for transport in TRANSPORTS {
        for text in ADDRESSES {
            let ip = address(text)?;
            let port = sockets::free_port(transport, ip)?;
            let socket = sockets::bound(transport, SocketAddr::new(ip, port))?;
            let event = events::wait_for(&daemon, &socket, "bind", "bind")?;
            assert_fields(&event, &json!({ "result": "success", "repeated": 1 }));
            assert_fields(
                &event["contender"],
                &json!({
                    "pid": std::process::id(), "tid": events::thread_id(), "uid": 0, "socket_uid": 0, "via": "syscall",
                    "protocol": transport.name(), "family": family_name(ip), "netns": namespace::inode()?, "netns_name": "host",
                    "address": text, "port": port, "bound_port": port,
                }),
            );
            assert_fields(&event["contender"], &events::flags(&socket)?);
        }
    }
    Ok(())
}

#[test]
fn port_zero_shows_the_port_the_kernel_chose() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for transport in TRANSPORTS {
        for text in ["127.0.0.1", "::1"] {
            let socket = sockets::bound(transport, SocketAddr::new(address(text)?, 0))?;
            let event = events::wait_for(&daemon, &socket, "bind", "bind")?;
            let chosen = sockets::local_address(&socket)?.port();
            assert_fields(&event["contender"], &json!({ "address": text, "port": 0, "bound_port": chosen }));
        }
    }
    Ok(())
}

#[test]
fn every_flag_is_shown_as_the_socket_has_it() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let cases = [
        ("reuseaddr", "127.0.0.1"),
        ("reuseaddr", "::1"),
        ("reuseport", "127.0.0.1"),
        ("reuseport", "::1"),
        ("v6only", "::"),
        // No host has these two addresses: without the option the kernel refuses them.
        ("freebind", "192.0.2.1"),
        ("freebind", "2001:db8::1"),
        ("transparent", "192.0.2.1"),
        ("transparent", "2001:db8::1"),
        ("bind_address_no_port", "127.0.0.1"),
        ("bind_address_no_port", "::1"),
    ];
    for (name, text) in cases {
        let ip = address(text)?;
        let socket = with_option(name, ip)?;
        socket.bind(&SockAddr::from(SocketAddr::new(ip, 0))).with_context(|| format!("{name}, {text}"))?;
        let event = events::wait_for(&daemon, &socket, "bind", "bind")?;
        assert_eq!(event["contender"][name], true, "{name} in {event}");
        assert_fields(&event["contender"], &events::flags(&socket)?);
        if name == "bind_address_no_port" {
            assert_eq!(event["contender"]["bound_port"], 0, "no port is chosen before connect(): {event}");
        }
    }
    Ok(())
}

#[test]
fn the_device_is_shown_by_name() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let ip = address("127.0.0.1")?;
    for transport in TRANSPORTS {
        let socket = sockets::open(transport, ip)?;
        socket.bind_device(Some(b"lo"))?;
        socket.bind(&SockAddr::from(SocketAddr::new(ip, 0)))?;
        let event = events::wait_for(&daemon, &socket, "bind", "bind")?;
        assert_eq!(event["contender"]["device"], "lo", "{event}");
    }
    Ok(())
}

#[test]
fn listen_shows_what_the_socket_is_bound_to() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for transport in [Transport::Tcp, Transport::Mptcp] {
        for text in ["127.0.0.1", "::", "::ffff:127.0.0.1"] {
            let before = daemon.metrics()?;
            let socket = sockets::bound(transport, SocketAddr::new(address(text)?, 0))?;
            socket.listen(16)?;
            let port = sockets::local_address(&socket)?.port();
            let event = events::wait_for(&daemon, &socket, "listen", "listen")?;
            assert_fields(&event, &json!({ "result": "success", "repeated": 1 }));
            assert_fields(
                &event["contender"],
                &json!({
                    "protocol": transport.name(), "family": family_name(address(text)?),
                    "address": text, "port": port, "bound_port": port,
                }),
            );
            let labels = [
                ("protocol", transport.name()),
                ("family", family_name(address(text)?)),
                ("result", "success"),
            ];
            let count = |metrics: &reuse_tests::metrics::Metrics| {
                metrics.count("reuse_listen_attempts_total", &labels)
            };
            daemon
                .metrics_until("the listen is counted", |now| (count(now) > count(&before)).then_some(()))?;
        }
    }
    Ok(())
}

#[test]
fn one_thread_s_calls_come_in_call_order() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let tid = events::thread_id();
    let mut expected = Vec::new();
    let mut sockets_kept = Vec::new();
    for _ in 0..200 {
        let socket = sockets::bound(Transport::Tcp, SocketAddr::new(address("127.0.0.1")?, 0))?;
        expected.push(("bind".to_owned(), sockets::inode(&socket)?));
        socket.listen(1)?;
        expected.push(("listen".to_owned(), sockets::inode(&socket)?));
        sockets_kept.push(socket);
    }
    let last = sockets_kept.last().context("sockets were made")?;
    events::wait_for(&daemon, last, "listen", "listen")?;
    let own: Vec<_> = daemon.events()?.into_iter().filter(|event| events::by_thread(event, tid)).collect();
    let seen: Vec<_> = own
        .iter()
        .filter(|event| event["type"] == "bind" || event["type"] == "listen")
        .map(|event| {
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            (kind, event["contender"]["inode"].as_u64().unwrap_or_default())
        })
        .collect();
    assert_eq!(seen, expected);
    let times: Vec<_> = own.iter().filter_map(|event| event["boottime_ns"].as_u64()).collect();
    assert!(times.is_sorted(), "boottime_ns goes back: {times:?}");
    Ok(())
}

#[test]
fn other_families_are_counted_and_nothing_more() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    // A refusal nobody else is likely to meet meanwhile: a UNIX socket below a directory that is not there.
    let labels = [("family", "other"), ("protocol", "other"), ("result", "ENOENT")];
    let before = daemon.metrics()?.count("reuse_bind_attempts_total", &labels);
    let socket = Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    for _ in 0..3 {
        let outcome = socket.bind(&SockAddr::unix("/nonexistent/reuse-tests.sock")?);
        assert_eq!(sockets::result_name(&outcome), "ENOENT");
    }
    daemon.metrics_until("three refused binds of a UNIX socket", |now| {
        (now.count("reuse_bind_attempts_total", &labels) >= before + 3).then_some(())
    })?;
    assert_eq!(daemon.metrics()?.count("reuse_bind_attempts_total", &labels), before + 3);
    let inode = sockets::inode(&socket)?;
    let events = daemon.events()?;
    assert!(!events.iter().any(|event| events::of_inode(event, inode)), "an event of another family");
    Ok(())
}
