//! The test group is a tripwire: nobody else has business on its ports.

use std::{net::Ipv4Addr, time::Instant};

use anyhow::{Result, ensure};
use reuse_tests::{
    actor::Actor,
    daemon::{Daemon, Launch},
    deadline,
    events::assert_fields,
    signals::{SOON, TAKER, counted},
    sockets::{Transport, free_port},
};
use serde_json::{Value, json};

/// A daemon whose test group has this port.
fn start() -> Result<Option<(Daemon, u16)>> {
    let Some(launch) = Launch::prepare()? else { return Ok(None) };
    let port = free_port(Transport::Tcp, Ipv4Addr::LOCALHOST.into())?;
    let daemon = launch.flags(["--test-group.port".to_owned(), port.to_string()]).start()?;
    Ok(Some((daemon, port)))
}

/// The first signal that `accept` picks, told within [`SOON`].
fn event(daemon: &Daemon, what: &str, accept: impl Fn(&Value) -> bool) -> Result<Value> {
    let begun = Instant::now();
    let found = daemon.wait_event(what, |event| event["type"] == "signal" && accept(event))?;
    deadline::ensure_within(what, SOON, begun.elapsed())?;
    Ok(found)
}

/// Waits for the begin of a signal about the socket `s` of the intruder, then for its end.
fn assert_trapped(
    daemon: &Daemon,
    port: u16,
    intruder: &mut Actor,
    role: &str,
    protocol: &str,
) -> Result<()> {
    let facts = intruder.facts("s")?;
    let party_of = |event: &Value| {
        let parties = event["parties"].as_array().cloned().unwrap_or_default();
        parties.into_iter().find(|party| party["inode"] == facts["inode"])
    };
    let began =
        event(daemon, "the intruder is told", |event| party_of(event).is_some() && event["until"].is_null())?;
    assert_fields(
        &began,
        &json!({ "signal": "test_group_intruder", "severity": "critical", "protocol": protocol, "port": port, "found": false }),
    );
    let party = party_of(&began).unwrap_or_default();
    assert_fields(&party, &json!({ "role": role, "socket_uid": facts["socket_uid"], "port": port }));
    let owner = &party["owners"][0];
    assert_fields(owner, &json!({ "pid": intruder.pid(), "comm": intruder.comm() }));
    let victim = &began["parties"][0];
    assert_eq!(victim["owners"][0]["pid"], daemon.pid(), "the victim is the daemon: {began}");
    let port = port.to_string();
    let labels = [
        ("signal", "test_group_intruder"),
        ("severity", "critical"),
        ("protocol", protocol),
        ("port", port.as_str()),
    ];
    daemon.metrics_until("it is active", |metrics| {
        (metrics.sum("reuse_signal_active", &labels)? >= 1.0).then_some(())
    })?;

    intruder.run("s.close()")?;
    event(daemon, "the intruder has gone", |event| party_of(event).is_some() && !event["until"].is_null())?;
    daemon.metrics_until("it is active no more", |metrics| {
        metrics.sum("reuse_signal_active", &labels).is_none().then_some(())
    })?;
    counted(daemon)
}

/// Signals of other ports than the test group's, which this test did not stage, are of others on this host.
fn assert_told(daemon: &Daemon, port: u16, count: usize) -> Result<()> {
    let events = daemon.events()?;
    let begins = events
        .iter()
        .filter(|event| event["type"] == "signal" && event["port"] == port && event["until"].is_null());
    let begins: Vec<_> = begins.map(|begin| format!("{} {}", begin["signal"], begin["seen"])).collect();
    assert_eq!(begins.len(), count, "{begins:#?}");
    Ok(())
}

#[test]
fn who_asks_for_its_port_is_told() -> Result<()> {
    let Some((daemon, port)) = start()? else { return Ok(()) };
    let mut intruder = Actor::start("rt-intruder")?;
    intruder.run(&format!("os.setresuid({TAKER}, {TAKER}, {TAKER})"))?;
    let rows = [
        ("127.0.0.1", "", "tcp"),
        ("127.0.0.1", "RP", "tcp"),
        ("0.0.0.0", "", "tcp"),
        ("::1", "RP", "tcp"),
        ("::", "", "tcp"),
        ("127.0.0.1", "RP, kind=SOCK_DGRAM", "udp"),
        ("0.0.0.0", "kind=SOCK_DGRAM", "udp"),
        ("::1", "kind=SOCK_DGRAM", "udp"),
    ];
    for (host, options, protocol) in rows {
        intruder.run(&format!("s = opened('{host}', {options})"))?;
        ensure!(intruder.refused(&format!("s.bind(('{host}', {port}))"))? == "EADDRINUSE");
        assert_trapped(&daemon, port, &mut intruder, "contender", protocol)?;
    }
    // Its neighbours are anybody's.
    intruder.run(&format!("s = bound('127.0.0.2', {port})"))?;
    assert_told(&daemon, port, rows.len())
}

/// Root's sockets are let in: the kernel compares uids.
#[test]
fn who_gets_its_port_is_told() -> Result<()> {
    let Some((daemon, port)) = start()? else { return Ok(()) };
    let mut intruder = Actor::start("rt-intruder")?;
    let rows = [
        ("listening", "127.0.0.1", "RP", "tcp"),
        ("listening", "0.0.0.0", "RP", "tcp"),
        ("listening", "::1", "RP", "tcp"),
        ("listening", "::", "RP, V6ONLY", "tcp"),
        ("listening", "127.0.0.1", "RP, through('lo')", "tcp"),
        ("bound", "127.0.0.1", "RP, kind=SOCK_DGRAM", "udp"),
        ("bound", "0.0.0.0", "RP, kind=SOCK_DGRAM", "udp"),
        ("bound", "::1", "RP, kind=SOCK_DGRAM", "udp"),
    ];
    for (call, host, options, protocol) in rows {
        intruder.run(&format!("s = {call}('{host}', {port}, {options})"))?;
        assert_trapped(&daemon, port, &mut intruder, "taker", protocol)?;
    }
    assert_told(&daemon, port, rows.len())
}
