//! The shape of events: exactly the documented keys, and times a reader can rely on.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    daemon::{Daemon, Launch},
    events::{self, keys},
    schema,
    signals::{Expected, Stage, TAKER, VICTIM},
    sockets::{self, Transport},
};
use serde_json::Value;
use socket2::SockAddr;

const EVENT_KEYS: [&str; 8] =
    ["schema", "type", "time", "boottime_ns", "contender", "phase", "result", "repeated"];
const CONFLICT_KEYS: [&str; 6] = ["rule", "holders", "decided_by", "confidence", "truncated", "remedy"];
const CONTENDER_KEYS: [&str; 25] = [
    "pid",
    "tid",
    "comm",
    "executable",
    "service",
    "uid",
    "socket_uid",
    "cgroup_id",
    "netns",
    "netns_name",
    "inode",
    "cookie",
    "protocol",
    "family",
    "address",
    "port",
    "bound_port",
    "reuseaddr",
    "reuseport",
    "v6only",
    "freebind",
    "transparent",
    "bind_address_no_port",
    "device",
    "via",
];

/// One event of each type that a call makes: bind, listen, conflict.
fn one_of_each(daemon: &Daemon) -> Result<[Value; 3]> {
    let socket = sockets::bound(Transport::Tcp, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.listen(1)?;
    let contender = sockets::open(Transport::Tcp, Ipv4Addr::LOCALHOST.into())?;
    contender.bind(&SockAddr::from(sockets::local_address(&socket)?)).err().context("the port is held")?;
    Ok([
        events::wait_for(daemon, &socket, "bind", "bind")?,
        events::wait_for(daemon, &socket, "listen", "listen")?,
        events::wait_for(daemon, &contender, "conflict", "bind")?,
    ])
}

#[test]
fn events_have_the_documented_keys_and_no_others() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let [bind, listen, conflict] = one_of_each(&daemon)?;
    let plain = BTreeSet::from(EVENT_KEYS);
    let full: BTreeSet<&str> = plain.iter().copied().chain(CONFLICT_KEYS).collect();
    for (event, expected) in [(&bind, &plain), (&listen, &plain), (&conflict, &full)] {
        assert_eq!(&keys(event), expected, "{event}");
        assert_eq!(keys(&event["contender"]), BTreeSet::from(CONTENDER_KEYS), "{event}");
    }
    let holder = &conflict["holders"][0];
    assert_eq!(keys(holder), schema::holder(), "{conflict}");
    assert_eq!(keys(&holder["owners"][0]), schema::owner(), "{conflict}");
    Ok(())
}

#[test]
fn values_have_the_documented_types() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for event in one_of_each(&daemon)? {
        let contender = &event["contender"];
        for key in ["pid", "tid", "uid", "socket_uid", "inode", "cookie", "port", "bound_port", "netns"] {
            assert!(contender[key].is_u64(), "{key} in {event}");
        }
        for key in ["comm", "executable", "service", "netns_name", "protocol", "family", "address", "via"] {
            assert!(contender[key].is_string(), "{key} in {event}");
        }
        for key in ["reuseaddr", "reuseport", "v6only", "freebind", "transparent", "bind_address_no_port"] {
            assert!(contender[key].is_boolean(), "{key} in {event}");
        }
        assert!(contender["device"].is_null(), "{event}");
        assert!(event["boottime_ns"].is_u64() && event["repeated"].is_u64(), "{event}");
        for holder in event["holders"].as_array().into_iter().flatten() {
            for key in ["port", "socket_uid", "inode", "cookie", "netns"] {
                assert!(holder[key].is_u64(), "{key} in {event}");
            }
            for key in ["address", "family", "protocol", "state", "user", "netns_name", "rule", "overlap"] {
                assert!(holder[key].is_string(), "{key} in {event}");
            }
            for key in ["reuseaddr", "reuseport", "v6only", "kernel"] {
                assert!(holder[key].is_boolean(), "{key} in {event}");
            }
            unix_time(holder["since"].as_str().context("since")?)?;
            assert!(holder["device"].is_null() && holder["expires_in_seconds"].is_null(), "{event}");
            assert!(holder["owners"][0]["fds"][0].is_u64(), "{event}");
        }
    }
    Ok(())
}

#[test]
fn signals_have_the_documented_keys_and_types() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let stage = Stage::new(&daemon, "schema")?;
    let mut victim = stage.actor("rt-victim", VICTIM)?;
    let mut taker = stage.actor("rt-taker", TAKER)?;
    let bind = "s = bound('127.0.0.1', 4242, RA, kind=SOCK_DGRAM)";
    victim.run(bind)?;
    taker.run(bind)?;
    let expected = Expected::new("foreign_uid_share", "critical")
        .party("victim", &mut victim, "s")?
        .party("taker", &mut taker, "s")?;
    let began = stage.told(&expected)?;
    taker.end();
    let ended = stage.resolved(&expected, &began)?;
    for (event, over) in [(&began, false), (&ended, true)] {
        assert_eq!(keys(event), schema::signal(), "{event}");
        assert_eq!((&event["schema"], &event["type"]), (&Value::from(1), &Value::from("signal")), "{event}");
        for key in ["boottime_ns", "port", "netns"] {
            assert!(event[key].is_u64(), "{key} in {event}");
        }
        for key in ["signal", "severity", "protocol", "address", "netns_name", "seen"] {
            assert!(event[key].is_string(), "{key} in {event}");
        }
        assert!(event["found"].is_boolean(), "{event}");
        let time = unix_time(event["time"].as_str().context("time")?)?;
        let since = unix_time(event["since"].as_str().context("since")?)?;
        assert!(if over { time > since } else { time == since }, "{event}");
        assert_eq!(event["until"], if over { event["time"].clone() } else { Value::Null }, "{event}");
        let parties = event["parties"].as_array().context("parties")?;
        assert_eq!(parties.len(), 2, "{event}");
        for party in parties {
            assert_eq!(keys(party), schema::party(), "{event}");
            assert!(party["role"].is_string() && party["rule"].is_null(), "{event}");
            assert_eq!(keys(&party["owners"][0]), schema::owner(), "{event}");
        }
    }
    Ok(())
}

/// Seconds since 1970 of an RFC 3339 time in UTC with exactly six decimals.
fn unix_time(text: &str) -> Result<Duration> {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    ensure!(shape == "0000-00-00T00:00:00.000000Z", "not RFC 3339 with microseconds in UTC: {text}");
    let number = |from: usize, to: usize| text[from..to].parse::<u64>();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let month_days = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let past_years: u64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let past_months: u64 = month_days.iter().zip(1..month).map(|(days, _)| days).sum();
    let days = past_years + past_months + day - 1;
    let seconds = ((days * 24 + number(11, 13)?) * 60 + number(14, 16)?) * 60 + number(17, 19)?;
    Ok(Duration::from_secs(seconds) + Duration::from_micros(number(20, 26)?))
}

#[test]
fn time_is_the_call_s_return_on_both_clocks() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let boottime = || -> Result<Duration> {
        Ok(nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from)?)
    };
    let (wall_before, boot_before) = (SystemTime::now().duration_since(UNIX_EPOCH)?, boottime()?);
    let socket = sockets::bound(Transport::Udp, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let (wall_after, boot_after) = (SystemTime::now().duration_since(UNIX_EPOCH)?, boottime()?);
    let event = events::wait_for(&daemon, &socket, "bind", "bind")?;

    let boot = Duration::from_nanos(event["boottime_ns"].as_u64().context("boottime_ns")?);
    assert!((boot_before..=boot_after).contains(&boot), "{boot_before:?} {boot:?} {boot_after:?}");
    let wall = unix_time(event["time"].as_str().context("time")?)?;
    // The wall clock is derived from the other, so it may be off by the error of one reading.
    let slack = Duration::from_millis(1);
    assert!(
        (wall_before - slack..=wall_after + slack).contains(&wall),
        "{wall_before:?} {wall:?} {wall_after:?}"
    );
    Ok(())
}

#[test]
fn events_can_be_switched_off() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let daemon = launch.events("off").start()?;
    let labels = [("family", "ipv6"), ("protocol", "udp"), ("result", "EADDRNOTAVAIL")];
    let address: SocketAddr = "[2001:db8::5]:9".parse()?;
    let socket = sockets::open(Transport::Udp, address.ip())?;
    socket.bind(&SockAddr::from(address)).err().context("no host has this address")?;
    daemon.metrics_until("the refusal is counted", |metrics| {
        (metrics.count("reuse_bind_attempts_total", &labels) >= 1).then_some(())
    })?;
    let stopped = daemon.stop_cleanly()?;
    assert!(stopped.stdout.is_empty(), "{:?}", stopped.stdout);
    Ok(())
}

#[test]
fn the_command_line_stays_out() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let secret = "token-that-is-nobody-s-business";
    let mut child = std::process::Command::new("python3")
        .args([
            "-c",
            "import socket,sys\ns=socket.socket()\ns.bind(('127.0.0.1',0))\nsys.stdin.read()",
            secret,
        ])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .context("python3")?;
    let pid = child.id();
    let outcome = daemon.wait_event("the child's bind", |event| event["contender"]["pid"] == pid);
    let listed = daemon.api("sockets");
    drop(child.stdin.take());
    child.wait()?;
    assert!(!outcome?.to_string().contains(secret));
    let listed = listed?.to_string();
    assert!(listed.contains(&format!("\"pid\":{pid}")), "the child is listed");
    assert!(!listed.contains(secret));
    Ok(())
}
