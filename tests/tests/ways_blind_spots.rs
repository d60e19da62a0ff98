//! What the daemon says that it does not see.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use reuse_tests::{
    daemon::Daemon,
    events::{self, assert_fields},
    metrics::Metrics,
    sockets::{self, Transport},
    ways::{
        Way, agreement,
        compat::Door,
        seccomp::{self, Call},
        stage,
    },
};
use serde_json::json;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const WAYS: [&str; 6] = ["compat", "io_uring", "implicit_connect", "implicit_listen", "kernel", "seccomp"];

fn blind(metrics: &Metrics, what: &str) -> Option<f64> {
    metrics.sum("reuse_daemon_blind_spot", &[("what", what)])
}

#[test]
fn with_everything_attached_only_the_dear_ways_are_unseen() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let metrics = daemon.metrics()?;
    for what in WAYS {
        ensure!(blind(&metrics, what) == Some(0.0), "{what}: {:?}", blind(&metrics, what));
    }
    ensure!(blind(&metrics, "implicit_sendto") == Some(1.0), "sendto is traced unasked");
    Ok(())
}

#[test]
fn sends_are_no_blind_spot_once_asked_for() -> Result<()> {
    let Some(daemon) = Daemon::start(&["--trace.sendto=true"])? else { return Ok(()) };
    let metrics = daemon.metrics()?;
    for what in WAYS.into_iter().chain(["implicit_sendto"]) {
        ensure!(blind(&metrics, what) == Some(0.0), "{what}: {:?}", blind(&metrics, what));
    }
    Ok(())
}

/// A filter answers before anything but a system call's own tracepoint sees the call.
#[test]
fn without_system_calls_what_a_filter_refuses_is_unseen() -> Result<()> {
    let Some(daemon) = Daemon::start(&["--trace.syscalls=false"])? else { return Ok(()) };
    let metrics = daemon.metrics()?;
    ensure!(blind(&metrics, "seccomp") == Some(1.0), "{:?}", blind(&metrics, "seccomp"));
    for what in ["compat", "io_uring", "implicit_connect", "kernel"] {
        ensure!(blind(&metrics, what) == Some(0.0), "{what}: {:?}", blind(&metrics, what));
    }
    Ok(())
}

#[test]
fn what_a_filter_refuses_is_told() -> Result<()> {
    let Some((namespace, daemon)) = stage::begin("filtered", &[])? else { return Ok(()) };
    for (call, phase) in [(Call::Bind, "bind"), (Call::Listen, "listen")] {
        let socket = namespace.run(|| {
            let socket = sockets::open(Transport::Tcp, LOOPBACK)?;
            let address = SocketAddr::new(LOOPBACK, 0);
            if call == Call::Listen {
                socket.bind(&address.into())?;
            }
            let outcome = seccomp::refusing(call, libc::ENOTTY, || {
                Ok(if call == Call::Bind { socket.bind(&address.into()) } else { socket.listen(1) })
            })?;
            ensure!(sockets::result_name(&outcome) == "ENOTTY", "{outcome:?}");
            Ok(socket)
        })?;
        let event = events::wait_for(&daemon, &socket, "conflict", phase)?;
        assert_fields(&event, &json!({ "result": "ENOTTY", "rule": "seccomp", "holders": [] }));
        assert_fields(&event["contender"], &json!({ "via": "syscall", "pid": std::process::id() }));
    }
    agreement::settle(&daemon).map(drop)
}

/// A 32-bit call that a filter answers never reaches the network code, where such calls are seen.
#[test]
fn what_a_filter_refuses_of_32_bit_calls_binds_nothing() -> Result<()> {
    let Some((namespace, daemon)) = stage::begin("filtered32", &[])? else { return Ok(()) };
    let Some(mut caller) = Way::Compat(Door::Direct).open()? else { return Ok(()) };
    let caller = &mut caller;
    let socket = namespace.run(|| {
        let address = SocketAddr::new(LOOPBACK, 0);
        let socket = sockets::open(Transport::Tcp, LOOPBACK)?;
        let outcome = seccomp::refusing(Call::Bind, libc::EPERM, || Ok(caller.bind(&socket, address)))?;
        ensure!(sockets::result_name(&outcome) == "EPERM", "{outcome:?}");
        caller.bind(&socket, address)?;
        Ok(socket)
    })?;
    let event = events::wait_for(&daemon, &socket, "bind", "bind")?;
    assert_fields(&event["contender"], &json!({ "via": "compat" }));
    agreement::settle(&daemon).map(drop)
}
