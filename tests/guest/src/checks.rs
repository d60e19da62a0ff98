//! What is tried on each kernel: that every planned program is attached, and one of each thing the daemon traces, with
//! the counts compared exactly. Nothing but init and the daemon runs on this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context as _, Result, ensure};
use reuse_tests::{
    attempts::Tally,
    bpf,
    daemon::Daemon,
    deadline::{self, PROMPT},
    events::{self, assert_fields},
    generator::{Group, Share, Traffic, connections, datagrams},
    groups,
    sockets::{self, Transport},
};
use serde_json::json;

/// A check of the running daemon.
type Check = fn(&Daemon) -> Result<()>;

/// Every check with its name, in order.
pub(crate) const ALL: &[(&str, Check)] = &[
    ("programs_attached", programs_attached),
    ("bind_succeeds", bind_succeeds),
    ("bind_is_refused", bind_is_refused),
    ("holders_are_read", holders_are_read),
    ("listen_succeeds", listen_succeeds),
    ("tcp_selections", |daemon| selections(daemon, Transport::Tcp, Ipv4Addr::LOCALHOST.into())),
    ("tcp6_selections", |daemon| selections(daemon, Transport::Tcp, Ipv6Addr::LOCALHOST.into())),
    ("mptcp_selections", |daemon| selections(daemon, Transport::Mptcp, Ipv4Addr::LOCALHOST.into())),
    ("udp_selections", |daemon| selections(daemon, Transport::Udp, Ipv4Addr::LOCALHOST.into())),
    ("udp6_selections", |daemon| selections(daemon, Transport::Udp, Ipv6Addr::LOCALHOST.into())),
    ("close_is_seen", close_is_seen),
    ("nothing_lost", nothing_lost),
];

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const MEMBERS: usize = 4;

fn programs_attached(daemon: &Daemon) -> Result<()> {
    const FAMILY: &str = "reuse_daemon_ebpf_program_attached";
    let metrics = daemon.metrics()?;
    let programs: Vec<_> = metrics.series(FAMILY, &[]).collect();
    ensure!(!programs.is_empty(), "{FAMILY} has no series");
    let detached: Vec<_> =
        programs.iter().filter(|(_, value)| *value < 1.0).map(|(labels, _)| labels).collect();
    ensure!(detached.is_empty(), "not attached: {detached:?}");
    Ok(())
}

fn bind_succeeds(daemon: &Daemon) -> Result<()> {
    for (transport, family) in
        [(Transport::Tcp, "ipv4"), (Transport::Udp, "ipv4"), (Transport::Mptcp, "ipv4")]
    {
        let before = daemon.bind_attempts()?;
        let socket = sockets::bound(transport, SocketAddr::new(LOOPBACK, 0))?;
        let event = events::wait_for(daemon, &socket, "bind", "bind")?;
        let port = sockets::local_address(&socket)?.port();
        assert_fields(
            &event["contender"],
            &json!({ "protocol": transport.name(), "address": "127.0.0.1", "port": 0, "bound_port": port }),
        );
        let mut expected = Tally::default();
        expected.add(family, transport.name(), "success", 1);
        same_attempts(&expected, &daemon.bind_attempts()?.since(&before))?;
    }
    Ok(())
}

fn bind_is_refused(daemon: &Daemon) -> Result<()> {
    for transport in [Transport::Tcp, Transport::Udp] {
        let holder = sockets::bound(transport, SocketAddr::new(LOOPBACK, 0))?;
        let address = sockets::local_address(&holder)?;
        let bound = events::wait_for(daemon, &holder, "bind", "bind")?;
        let before = daemon.bind_attempts()?;
        let contender = sockets::open(transport, LOOPBACK)?;
        ensure!(contender.bind(&address.into()).is_err(), "{address} was given away twice");
        let event = events::wait_for(daemon, &contender, "conflict", "bind")?;
        assert_fields(
            &event,
            &json!({ "result": "EADDRINUSE", "rule": "exclusive", "confidence": "exact", "truncated": false }),
        );
        assert_fields(
            &event["holders"][0],
            &json!({
                "inode": bound["contender"]["inode"], "state": "bound", "rule": "exclusive",
                "overlap": "same_address", "socket_uid": 0,
            }),
        );
        assert_fields(&event["holders"][0]["owners"][0], &json!({ "pid": std::process::id() }));
        assert_fields(
            &event["contender"],
            &json!({ "protocol": transport.name(), "address": "127.0.0.1", "port": address.port(), "bound_port": 0 }),
        );
        let mut expected = Tally::default();
        expected.add("ipv4", transport.name(), "EADDRINUSE", 1);
        same_attempts(&expected, &daemon.bind_attempts()?.since(&before))?;
    }
    Ok(())
}

/// A listener, a connection that waits for it, and one in TIME_WAIT, all in the way of all addresses.
fn holders_are_read(daemon: &Daemon) -> Result<()> {
    for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        let local = if any.is_ipv4() { LOOPBACK } else { Ipv6Addr::LOCALHOST.into() };
        let listener = TcpListener::bind((local, 0)).context("listen")?;
        let port = listener.local_addr()?.port();
        let gone = TcpStream::connect((local, port)).context("connect")?;
        drop(listener.accept()?);
        drop(gone);
        let _waiting = TcpStream::connect((local, port)).context("connect")?;
        let contender = sockets::open(Transport::Tcp, any)?;
        ensure!(contender.bind(&SocketAddr::new(any, port).into()).is_err(), "{port} was given away twice");
        let event = events::wait_for(daemon, &contender, "conflict", "bind")?;
        assert_fields(&event, &json!({ "rule": "holder_is_listening", "confidence": "exact" }));
        let states: Vec<_> =
            event["holders"].as_array().into_iter().flatten().map(|holder| &holder["state"]).collect();
        ensure!(states.first() == Some(&&json!("listen")), "{event}");
        for state in ["connected", "time_wait"] {
            ensure!(states.contains(&&json!(state)), "no holder is {state}: {event}");
        }
    }
    Ok(())
}

fn listen_succeeds(daemon: &Daemon) -> Result<()> {
    const FAMILY: &str = "reuse_listen_attempts_total";
    let before = Tally::of_scrape(&daemon.metrics()?, FAMILY);
    let socket = sockets::bound(Transport::Tcp, SocketAddr::new(LOOPBACK, 0))?;
    socket.listen(1).context("listen")?;
    let event = events::wait_for(daemon, &socket, "listen", "listen")?;
    let port = sockets::local_address(&socket)?.port();
    assert_fields(&event["contender"], &json!({ "address": "127.0.0.1", "port": port }));
    let mut expected = Tally::default();
    expected.add("ipv4", "tcp", "success", 1);
    same_attempts(&expected, &Tally::of_scrape(&daemon.metrics()?, FAMILY).since(&before))
}

fn same_attempts(made: &Tally, counted: &Tally) -> Result<()> {
    ensure!(made == counted, "made:\n{made}counted:\n{counted}");
    Ok(())
}

fn selections(daemon: &Daemon, transport: Transport, address: IpAddr) -> Result<()> {
    let group = Group::open(transport, address, MEMBERS)?;
    for member in group.members() {
        let kind = if transport == Transport::Udp { "bind" } else { "listen" };
        events::wait_for(daemon, member, kind, kind)?;
    }
    let shares = if transport == Transport::Udp {
        datagrams(&group, Traffic { count: 2_000, threads: 2, read_late: false })?
    } else {
        connections(&group, 200, 2)?
    };
    deadline::until("the counts agree", PROMPT, || Ok(compare(daemon, &shares)?.is_ok().then_some(())))
        .or_else(|_| compare(daemon, &shares)?)
}

/// Compares what each member got with what the daemon counted, in its JSON and in its metric. The outer result is that
/// of asking.
fn compare(daemon: &Daemon, shares: &[Share]) -> Result<Result<()>> {
    let first = shares.first().context("an empty group")?;
    let group = groups::of_inode(daemon, first.inode)?;
    let members = groups::members(&group)?;
    let metrics = daemon.metrics()?;
    for Share { inode, taken, dropped } in shares {
        let member =
            members.get(inode).with_context(|| format!("no member with inode {inode} in {group}"))?;
        let exported =
            groups::member_metric(&metrics, "reuse_group_selections_total", &group, &member.number)?;
        let got = taken + dropped;
        if (member.selections, exported) != (got, got) {
            let counted = member.selections;
            return Ok(Err(anyhow::anyhow!(
                "member {}: got {got}, counted {counted}, exported {exported}; all: {shares:?}",
                member.number
            )));
        }
    }
    Ok(Ok(()))
}

fn close_is_seen(daemon: &Daemon) -> Result<()> {
    for transport in [Transport::Tcp, Transport::Udp] {
        let socket = sockets::bound(transport, SocketAddr::new(LOOPBACK, 0))?;
        let inode = sockets::inode(&socket)?;
        let listed = || daemon.sockets().map(|all| all.iter().any(|socket| socket["inode"] == inode));
        let until = |what: &str, wanted: bool| {
            deadline::until(what, PROMPT, || Ok((listed()? == wanted).then_some(())))
        };
        until("a bound socket is listed", true)?;
        drop(socket);
        until("a closed socket is not listed", false)?;
    }
    Ok(())
}

fn nothing_lost(daemon: &Daemon) -> Result<()> {
    let lost = daemon.metrics()?.sum("reuse_daemon_events_lost_total", &[]);
    ensure!(lost == Some(0.0), "reuse_daemon_events_lost_total is {lost:?}");
    Ok(())
}

/// Stops the daemon and looks for what it left in the kernel.
///
/// # Errors
/// When it does not end with status 0 or leaves something attached.
pub(crate) fn stop(daemon: Daemon, before: &bpf::Objects) -> Result<()> {
    daemon.stop_cleanly()?;
    // The kernel frees programs and maps after the process that held them is gone, with a delay.
    deadline::until("nothing is left in the kernel", PROMPT, || {
        Ok(bpf::left_behind(before)?.is_empty().then_some(()))
    })
    .with_context(|| format!("left: {:?}", bpf::left_behind(before)))
}
