//! The kernel has no port left to choose from: the range is narrowed to one port, which is taken.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use reuse_tests::{
    conflicts::assert_remedy,
    daemon::{Daemon, Launch},
    events::{self, assert_fields},
    metrics::Metrics,
    sockets::{self, Transport, result_name},
    ways::implicit::exhausted,
};
use serde_json::json;
use socket2::{SockAddr, Socket};

fn assert_exhausted(
    daemon: &Daemon,
    before: &Metrics,
    socket: &Socket,
    [protocol, phase]: [&str; 2],
) -> Result<()> {
    let event = events::wait_for(daemon, socket, "conflict", phase)?;
    assert_fields(
        &event,
        &json!({
            "result": "EADDRINUSE", "rule": "ephemeral_ports_exhausted", "confidence": "exact", "holders": [],
            "decided_by": null, "truncated": false,
        }),
    );
    assert_fields(&event["contender"], &json!({ "protocol": protocol, "port": 0, "bound_port": 0 }));
    assert_remedy(&event, &["ip_local_port_range"]);
    let labels = [
        ("protocol", protocol),
        ("phase", phase),
        ("errno", "EADDRINUSE"),
        ("rule", "ephemeral_ports_exhausted"),
    ];
    let count = |metrics: &Metrics| metrics.count("reuse_bind_refusals_total", &labels);
    let now = daemon.metrics_until("the refusal is counted by its rule", |now| {
        (count(now) > count(before)).then(|| now.clone())
    })?;
    let implicit = |metrics: &Metrics| metrics.count("reuse_autobind_failures_total", &labels[..3]);
    let counted = implicit(&now) > implicit(before);
    assert_eq!(counted, phase == "autobind", "autobind_failures_total: {event}");
    Ok(())
}

#[test]
fn bind_to_port_0_finds_none() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let (namespace, _actor) = exhausted(&["bound('::', 0)", "bound('0.0.0.0', 0, kind=SOCK_DGRAM)"])?;
    let daemon = launch.start()?;
    for (transport, address) in [
        (Transport::Tcp, "127.0.0.1:0"),
        (Transport::Tcp, "[::1]:0"),
        (Transport::Mptcp, "0.0.0.0:0"),
        (Transport::Udp, "127.0.0.1:0"),
        (Transport::Udp, "[::]:0"),
    ] {
        let address: SocketAddr = address.parse()?;
        let before = daemon.metrics()?;
        let socket = namespace.run(|| {
            let socket = sockets::open(transport, address.ip())?;
            assert_eq!(result_name(&socket.bind(&SockAddr::from(address))), "EADDRINUSE", "{address}");
            Ok(socket)
        })?;
        assert_exhausted(&daemon, &before, &socket, [transport.name(), "bind"])
            .with_context(|| format!("{transport:?} {address}"))?;
    }
    Ok(())
}

/// listen() on a socket without a port binds it first.
#[test]
fn listen_without_a_port_finds_none() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let (namespace, _actor) = exhausted(&["bound('::', 0)"])?;
    let daemon = launch.start()?;
    for transport in [Transport::Tcp, Transport::Mptcp] {
        let before = daemon.metrics()?;
        let socket = namespace.run(|| {
            let socket = sockets::open(transport, std::net::Ipv4Addr::LOCALHOST.into())?;
            assert_eq!(result_name(&socket.listen(1)), "EADDRINUSE");
            Ok(socket)
        })?;
        assert_exhausted(&daemon, &before, &socket, [transport.name(), "autobind"])
            .with_context(|| format!("{transport:?}"))?;
    }
    Ok(())
}
