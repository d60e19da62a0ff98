//! Calls that bind without being asked to, and find no port: connect, listen, and what sends a datagram.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr},
    os::fd::AsRawFd as _,
};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    daemon::{Daemon, Shared},
    events::{self, assert_fields},
    metrics::Metrics,
    sockets::{self, Transport, result_name},
    ways::{
        Way, agreement,
        compat::Door,
        implicit::{self, SameTuple},
        io_uring::Style,
        ledger::Refusal,
        stage,
    },
};
use serde_json::json;
use socket2::{SockAddr, Socket};

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const EVERY_PORT: [&str; 2] = ["bound('::', 0)", "bound('::', 0, kind=SOCK_DGRAM)"];
const NO_PORT: &str = "ephemeral_ports_exhausted";
const DISCARD: u16 = 9;

/// The ways a connect or listen can come.
const WAYS: [Way; 5] = [
    Way::Call,
    Way::Compat(Door::Direct),
    Way::Compat(Door::Socketcall),
    Way::Ring(Style::Plain),
    Way::Ring(Style::Worker),
];

fn launch(flags: &[&str]) -> Result<Option<Shared>> {
    Daemon::shared(&[&["--events.repeats", "all"], flags].concat())
}

fn explained(metrics: &Metrics) -> u64 {
    metrics.count("reuse_daemon_explained_total", &[])
}

#[test]
fn a_connect_that_finds_no_port_is_told() -> Result<()> {
    let Some(daemon) = launch(&[])? else { return Ok(()) };
    let (namespace, _holders) = implicit::exhausted(&EVERY_PORT)?;
    let labels = [("phase", "connect"), ("errno", "EADDRNOTAVAIL"), ("rule", NO_PORT)];
    let counted = |metrics: &Metrics| metrics.count("reuse_bind_refusals_total", &labels);
    let attempts = daemon.bind_attempts()?;
    let stage = (namespace, daemon);
    for way in WAYS {
        let before = stage.1.metrics()?;
        stage::each(&[way], &stage, |ledger| {
            for transport in [Transport::Tcp, Transport::Mptcp] {
                for ip in LOOPBACKS {
                    let socket = sockets::open(transport, ip)?;
                    let why = Refusal::alone("EADDRNOTAVAIL", NO_PORT);
                    ledger.refused_connect(&socket, SocketAddr::new(ip, DISCARD), why)?;
                }
            }
            Ok(())
        })?;
        if way.open()?.is_none() {
            continue;
        }
        let now = stage.1.metrics()?;
        ensure!(counted(&now) - counted(&before) == 4, "{way:?}: refusals by rule");
        ensure!(explained(&now) - explained(&before) >= 4, "{way:?}: explained");
    }
    let connects = stage.1.bind_attempts()?.since(&attempts).total(|result| result == "EADDRNOTAVAIL");
    ensure!(connects == 0, "{connects} connects among the attempts to bind");
    Ok(())
}

#[test]
fn a_connect_whose_addresses_and_ports_are_taken_is_told() -> Result<()> {
    let Some(stage) = stage::begin("tuple", &[])? else { return Ok(()) };
    for transport in [Transport::Tcp, Transport::Mptcp] {
        for way in WAYS {
            for ip in LOOPBACKS {
                let same = stage.0.run(|| SameTuple::new(transport, ip))?;
                let local = sockets::local_address(&same.second)?;
                let Some(mut caller) = way.open()? else { continue };
                let outcome = caller.connect(&same.second, same.peer);
                ensure!(result_name(&outcome) == "EADDRNOTAVAIL", "{way:?} {ip}: {outcome:?}");
                let event = events::wait_for(&stage.1, &same.second, "conflict", "connect")
                    .with_context(|| format!("{transport:?} {way:?} {ip}"))?;
                assert_fields(
                    &event,
                    &json!({ "result": "EADDRNOTAVAIL", "rule": "no_free_tuple", "repeated": 1 }),
                );
                assert_fields(
                    &event["contender"],
                    &json!({
                        "via": "implicit", "protocol": transport.name(), "pid": std::process::id(),
                        "address": local.ip().to_string(), "port": local.port(),
                    }),
                );
            }
        }
    }
    agreement::settle(&stage.1).map(drop)
}

/// How a connection ends that waits for an answer, other than by a refusal.
const ENDS: [fn(Socket) -> io::Result<()>; 3] = [
    |socket| socket.shutdown(Shutdown::Both),
    |socket| {
        drop(socket);
        Ok(())
    },
    // What takes back a connect is one to no address.
    |socket| {
        // SAFETY: all zero is an address of no family.
        let nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer and the length describe `nowhere`, which lives through the call.
        let outcome = unsafe {
            libc::connect(socket.as_raw_fd(), &raw const nowhere, size_of_val(&nowhere) as libc::socklen_t)
        };
        if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    },
];

/// Connections that the peer refuses, or that the caller gives up, had their port.
#[test]
fn other_ends_of_a_connection_are_not_told() -> Result<()> {
    let Some((namespace, daemon)) = stage::begin("ends", &[])? else { return Ok(()) };
    let inodes = namespace.run(|| {
        let mut inodes = Vec::new();
        for ip in LOOPBACKS {
            let refused = sockets::open(Transport::Tcp, ip)?;
            let outcome = refused.connect(&SockAddr::from(SocketAddr::new(ip, DISCARD)));
            ensure!(result_name(&outcome) == "ECONNREFUSED", "{outcome:?}");
            inodes.push(sockets::inode(&refused)?);
            // A listener whose queue is full does not answer.
            let listener = sockets::bound(Transport::Tcp, SocketAddr::new(ip, 0))?;
            listener.listen(0)?;
            let peer = SockAddr::from(sockets::local_address(&listener)?);
            let first = sockets::open(Transport::Tcp, ip)?;
            first.connect(&peer)?;
            for end in ENDS {
                let waiting = sockets::open(Transport::Tcp, ip)?;
                waiting.set_nonblocking(true)?;
                let outcome = waiting.connect(&peer);
                ensure!(result_name(&outcome) == "EINPROGRESS", "{outcome:?}");
                inodes.push(sockets::inode(&waiting)?);
                end(waiting).context("ending a connection that waits")?;
            }
        }
        Ok(inodes)
    })?;
    assert_untold(&daemon, &inodes)
}

/// Nothing is told of these sockets, and nothing is missing from what is told of others.
fn assert_untold(daemon: &Daemon, inodes: &[u64]) -> Result<()> {
    let told = agreement::settle(daemon)?;
    let told: Vec<_> = told
        .iter()
        .filter(|event| event["type"] == "conflict")
        .filter(|event| inodes.iter().any(|inode| events::of_inode(event, *inode)))
        .collect();
    ensure!(told.is_empty(), "{told:#?}");
    Ok(())
}

#[test]
fn a_listen_that_finds_no_port_is_told() -> Result<()> {
    let Some(daemon) = launch(&[])? else { return Ok(()) };
    let (namespace, _holders) = implicit::exhausted(&EVERY_PORT)?;
    stage::each(&WAYS, &(namespace, daemon), |ledger| {
        for transport in [Transport::Tcp, Transport::Mptcp] {
            for ip in LOOPBACKS {
                let socket = sockets::open(transport, ip)?;
                let why = Refusal::alone("EADDRINUSE", NO_PORT);
                ledger.refused_listen("autobind", &socket, why)?;
            }
        }
        Ok(())
    })
}

/// Tries both calls on datagram sockets for which there is no port: their inode numbers, under the phase of each.
fn datagrams(way: Way, ip: IpAddr) -> Result<Option<[(u64, &'static str); 2]>> {
    let Some(mut caller) = way.open()? else { return Ok(None) };
    let peer = SocketAddr::new(ip, DISCARD);
    let (sender, connecting) = (sockets::open(Transport::Udp, ip)?, sockets::open(Transport::Udp, ip)?);
    let sent = sender.send_to(b"x", &SockAddr::from(peer));
    ensure!(result_name(&sent) == "EAGAIN", "sendto: {sent:?}");
    let connected = caller.connect(&connecting, peer);
    ensure!(result_name(&connected) == "EAGAIN", "connect: {connected:?}");
    Ok(Some([(sockets::inode(&sender)?, "autobind"), (sockets::inode(&connecting)?, "connect")]))
}

#[test]
fn a_datagram_that_finds_no_port_is_told_where_asked_for() -> Result<()> {
    let Some(daemon) = launch(&["--trace.sendto=true"])? else { return Ok(()) };
    let (namespace, _holders) = implicit::exhausted(&EVERY_PORT)?;
    let blind = daemon.metrics()?.sum("reuse_daemon_blind_spot", &[("what", "implicit_sendto")]);
    ensure!(blind == Some(0.0), "blind spot: {blind:?}");
    for ip in LOOPBACKS {
        let Some(tried) = namespace.run(|| datagrams(Way::Call, ip))? else { continue };
        for (inode, phase) in tried {
            let event = daemon
                .wait_event(phase, |event| event["type"] == "conflict" && events::of_inode(event, inode))?;
            assert_fields(
                &event,
                &json!({
                    "phase": phase, "result": "EAGAIN", "rule": NO_PORT, "holders": [], "repeated": 1,
                }),
            );
            assert_fields(
                &event["contender"],
                &json!({
                    "via": "implicit", "protocol": "udp", "family": sockets::family_name(ip), "port": 0,
                    "bound_port": 0, "pid": std::process::id(), "uid": 0,
                }),
            );
        }
    }
    agreement::settle(&daemon).map(drop)
}

#[test]
fn a_datagram_that_finds_no_port_is_a_blind_spot_otherwise() -> Result<()> {
    let Some(daemon) = launch(&[])? else { return Ok(()) };
    let (namespace, _holders) = implicit::exhausted(&EVERY_PORT)?;
    let blind = daemon.metrics()?.sum("reuse_daemon_blind_spot", &[("what", "implicit_sendto")]);
    ensure!(blind == Some(1.0), "blind spot: {blind:?}");
    let Some(tried) = namespace.run(|| datagrams(Way::Call, LOOPBACKS[0]))? else { return Ok(()) };
    assert_untold(&daemon, &tried.map(|(inode, _)| inode))
}

/// A datagram socket that is bound already has its port, and a refused send of another kind is no refused bind.
#[test]
fn other_refused_sends_are_not_told() -> Result<()> {
    let Some((namespace, daemon)) = stage::begin("sends", &["--trace.sendto=true"])? else { return Ok(()) };
    let inodes = namespace.run(|| {
        let mut inodes = Vec::new();
        for ip in LOOPBACKS {
            // A stream socket that is not connected.
            let stream = sockets::open(Transport::Tcp, ip)?;
            let sent = stream.send_with_flags(b"x", libc::MSG_NOSIGNAL);
            ensure!(result_name(&sent) == "EPIPE", "{sent:?}");
            // No address given.
            let datagram = sockets::open(Transport::Udp, ip)?;
            let sent = datagram.send(b"x");
            ensure!(result_name(&sent) == "EDESTADDRREQ", "{sent:?}");
            // EAGAIN for want of room, not of a port.
            let pair = sockets::bound(Transport::Tcp, SocketAddr::new(ip, 0))?;
            pair.listen(1)?;
            let full = sockets::open(Transport::Tcp, ip)?;
            full.connect(&SockAddr::from(sockets::local_address(&pair)?))?;
            full.set_nonblocking(true)?;
            let chunk = vec![0; 1 << 16];
            let outcome = std::iter::repeat_with(|| full.send(&chunk)).find(std::result::Result::is_err);
            let outcome = outcome.context("sending to nobody who reads ends")?;
            ensure!(result_name(&outcome) == "EAGAIN", "{outcome:?}");
            for socket in [&stream, &datagram, &full] {
                inodes.push(sockets::inode(socket)?);
            }
        }
        Ok(inodes)
    })?;
    assert_untold(&daemon, &inodes)
}
