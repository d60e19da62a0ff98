//! A refusal met in a loop: counted every time, told once and then as a sum.

use std::{
    borrow::Borrow,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use reuse_tests::{
    daemon::{Daemon, Launch, parse_events},
    deadline::{self, PROMPT},
    events,
    metrics::Metrics,
    sockets::{self, Transport},
};
use serde_json::Value;
use socket2::{SockAddr, Socket};

/// Sums come every ten seconds.
const SUM: Duration = Duration::from_secs(15);

/// Has the same bind refused `count` times.
fn refuse(holder: &Socket, count: usize) -> Result<SocketAddr> {
    let address = sockets::local_address(holder)?;
    for _ in 0..count {
        let contender = sockets::open(Transport::Tcp, address.ip())?;
        contender.bind(&SockAddr::from(address)).err().context("the port is held")?;
    }
    Ok(address)
}

fn holder() -> Result<Socket> {
    sockets::bound(Transport::Tcp, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

fn conflicts<E: Borrow<Value>>(events: Vec<E>, port: u16) -> Vec<E> {
    let of_port = |e: &Value| e["type"] == "conflict" && e["contender"]["port"] == port;
    events.into_iter().filter(|event| of_port(event.borrow())).collect()
}

fn repeated(events: &[impl Borrow<Value>]) -> u64 {
    events.iter().filter_map(|event| event.borrow()["repeated"].as_u64()).sum()
}

#[test]
fn metrics_count_each_and_events_sum() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let count = |metrics: &Metrics| {
        metrics.count("reuse_bind_refusals_total", &[("protocol", "tcp"), ("errno", "EADDRINUSE")])
    };
    let before = count(&daemon.metrics()?);
    let held = holder()?;
    let start = Instant::now();
    let port = refuse(&held, 50)?.port();
    let first = daemon
        .wait_event("the first refusal", |e| e["type"] == "conflict" && e["contender"]["port"] == port)?;
    assert_eq!(first["repeated"], 1, "{first}");
    assert!(start.elapsed() < PROMPT, "the first one is told at once");
    daemon.metrics_until("every refusal is counted", |now| (count(now) >= before + 50).then_some(()))?;
    let conflicts_on_port = [("port", &*port.to_string()), ("rule", "exclusive")];
    daemon.metrics_until("every refusal is counted with its holder", |now| {
        (now.count("reuse_port_conflicts_total", &conflicts_on_port) == 50).then_some(())
    })?;

    let told = deadline::until("the sum", SUM, || {
        let told = conflicts(daemon.events()?, port);
        Ok((repeated(&told) >= 50).then_some(told))
    })?;
    assert_eq!((told.len(), repeated(&told)), (2, 50), "{told:?}");
    assert_eq!(events::keys(&told[1]), events::keys(&first), "a sum is shaped like any other");
    for event in &told {
        let holder = &event["holders"][0];
        assert_eq!(holder["inode"], sockets::inode(&held)?, "{event}");
        assert_eq!(holder["owners"][0]["pid"], std::process::id(), "{event}");
    }
    Ok(())
}

#[test]
fn a_stop_does_not_swallow_the_sum() -> Result<()> {
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let holder = holder()?;
    let port = refuse(&holder, 20)?.port();
    daemon.wait_event("the first refusal", |e| e["type"] == "conflict" && e["contender"]["port"] == port)?;
    let told = conflicts(parse_events(&daemon.stop_cleanly()?.stdout)?, port);
    assert_eq!((told.len(), repeated(&told)), (2, 20), "{told:?}");
    Ok(())
}

#[test]
fn other_ports_are_told_at_once() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for _ in 0..5 {
        let holder = holder()?;
        let port = refuse(&holder, 3)?.port();
        daemon
            .wait_event("its first refusal", |e| e["type"] == "conflict" && e["contender"]["port"] == port)?;
    }
    Ok(())
}

#[test]
fn each_is_told_when_asked_for() -> Result<()> {
    let Some(daemon) = Daemon::start(&["--events.repeats", "all"])? else { return Ok(()) };
    let holder = holder()?;
    let port = refuse(&holder, 50)?.port();
    let told = deadline::until("every refusal", PROMPT, || {
        let told = conflicts(daemon.events()?, port);
        Ok((told.len() >= 50).then_some(told))
    })?;
    assert_eq!(told.len(), 50);
    assert!(told.iter().all(|event| event["repeated"] == 1), "{told:?}");
    Ok(())
}

#[test]
fn text_says_the_first_and_a_sum() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let daemon = launch.events("text").start()?;
    let holder = holder()?;
    let address = refuse(&holder, 50)?.to_string();
    let about = |lines: &[Vec<u8>]| {
        let text = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned());
        text.filter(|line| line.contains(&address) && line.contains("EADDRINUSE")).collect::<Vec<_>>()
    };
    deadline::until("the first refusal as text", PROMPT, || {
        Ok((!about(&daemon.stdout_lines()?).is_empty()).then_some(()))
    })?;
    let lines = about(&daemon.stop_cleanly()?.stdout);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[1].contains("49"), "{lines:#?}");
    Ok(())
}
