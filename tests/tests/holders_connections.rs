//! Connections in the way: accepted, not yet accepted and outgoing ones hold their port like any socket.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use reuse_tests::{
    actor::Actor,
    conflicts::{self, assert_counted, assert_exact, assert_owners, holders, only_holder},
    daemon::{Daemon, Launch},
    events::assert_fields,
    namespace::Namespace,
    sockets::{self, Transport},
};
use serde_json::{Value, json};
use socket2::Socket;

fn contender(address: IpAddr, reuseaddr: bool) -> Result<Socket> {
    let socket = sockets::open(Transport::Tcp, address)?;
    socket.set_reuse_address(reuseaddr)?;
    Ok(socket)
}

/// The address `actor`'s socket is on, with another IP.
fn at(address: &str, facts: &Value) -> Result<SocketAddr> {
    let port = u16::try_from(facts["port"].as_u64().context("a port")?)?;
    Ok(SocketAddr::new(address.parse()?, port))
}

#[test]
fn a_connection_outlives_its_listener_as_a_holder() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut server = Actor::start("rt-server")?;
    let mut client = Actor::start("rt-client")?;
    for (listener, reuseaddr, rule, remedy) in [
        ("listening('127.0.0.1', 0)", false, "exclusive", ["SO_REUSEADDR on", "TIME_WAIT"]),
        ("listening('127.0.0.1', 0)", true, "holder_lacks_reuseaddr", ["SO_REUSEADDR on", "TIME_WAIT"]),
        (
            "listening('127.0.0.1', 0, RA)",
            false,
            "contender_lacks_reuseaddr",
            ["SO_REUSEADDR on the new", "TIME_WAIT"],
        ),
        (
            "listening('127.0.0.1', 0, RP)",
            false,
            "contender_lacks_reuseport",
            ["SO_REUSEPORT on the new", "TIME_WAIT"],
        ),
    ] {
        server.run(&format!("h = {listener}"))?;
        let facts = server.facts("h")?;
        client.run(&format!("c = connected('127.0.0.1', {})", facts["port"]))?;
        server.run("a, _ = h.accept(); h.close()")?;
        let address = at("127.0.0.1", &facts)?;
        let event = conflicts::bind(&daemon, &contender(address.ip(), reuseaddr)?, address)?;
        assert_exact(&event, rule, &remedy);
        let holder = only_holder(&event);
        assert_fields(holder, &server.facts("a")?);
        assert_fields(
            holder,
            &json!({ "state": "connected", "rule": rule, "overlap": "same_address", "protocol": "tcp" }),
        );
        assert_owners(holder, &[&server])?;
        assert_counted(&daemon, &event, &server.executable()?)?;
    }
    Ok(())
}

/// Half-closed by one end or the other, a connection whose process has it still holds the port.
#[test]
fn a_half_closed_connection_is_told_by_its_state() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut server = Actor::start("rt-server")?;
    let mut client = Actor::start("rt-client")?;
    for (closer_is_server, state) in [(true, "closing"), (false, "connected")] {
        server.run("h = listening('127.0.0.1', 0)")?;
        let facts = server.facts("h")?;
        client.run(&format!("c = connected('127.0.0.1', {})", facts["port"]))?;
        server.run("a, _ = h.accept(); h.close()")?;
        if closer_is_server {
            server.run("a.shutdown(SHUT_WR)")?;
            // FIN_WAIT2
            server.until("tcp_state(a) == 5")?;
        } else {
            client.run("c.shutdown(SHUT_WR)")?;
            // CLOSE_WAIT
            server.until("tcp_state(a) == 8")?;
        }
        let address = at("127.0.0.1", &facts)?;
        let event = conflicts::bind(&daemon, &contender(address.ip(), false)?, address)?;
        assert_exact(&event, "exclusive", &["TIME_WAIT"]);
        let holder = only_holder(&event);
        assert_fields(holder, &server.facts("a")?);
        assert_eq!(holder["state"], state, "{event}");
        assert_owners(holder, &[&server])?;
    }
    Ok(())
}

/// Nobody has a descriptor of it, but it is in the way beside its listener, with the options that one had.
#[test]
fn a_connection_not_accepted_yet_holds_the_port_too() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut server = Actor::start("rt-server")?;
    let mut client = Actor::start("rt-client")?;
    server.run("h = listening('127.0.0.1', 0)")?;
    let facts = server.facts("h")?;
    client.run(&format!("c = connected('127.0.0.1', {})", facts["port"]))?;
    let address = at("127.0.0.1", &facts)?;
    let event = conflicts::bind(&daemon, &contender(address.ip(), false)?, address)?;
    assert_exact(&event, "holder_is_listening", &["top the listener", "accept"]);
    let [listener, waiting] = holders(&event) else { panic!("not two holders: {event}") };
    assert_fields(listener, &facts);
    assert_fields(listener, &json!({ "state": "listen", "rule": "holder_is_listening" }));
    assert_owners(listener, &[&server])?;
    assert_fields(
        waiting,
        &json!({
            "address": "127.0.0.1", "state": "connected", "inode": 0, "owners": [], "rule": "exclusive",
            "overlap": "same_address", "reuseaddr": false, "reuseport": false,
        }),
    );
    assert_counted(&daemon, &event, &server.executable()?)
}

/// An IPv6 connection of a dual-stack listener stays in the way of 0.0.0.0, though no IPv4 address is in it.
#[test]
fn an_ipv6_connection_holds_the_port_of_ipv4() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut server = Actor::start("rt-server")?;
    let mut client = Actor::start("rt-client")?;
    server.run("h = listening('::', 0)")?;
    let facts = server.facts("h")?;
    client.run(&format!("c = connected('::1', {})", facts["port"]))?;
    server.run("a, _ = h.accept(); h.close()")?;
    let address = at("0.0.0.0", &facts)?;
    let event = conflicts::bind(&daemon, &contender(address.ip(), false)?, address)?;
    assert_exact(&event, "exclusive", &["TIME_WAIT"]);
    let holder = only_holder(&event);
    assert_fields(holder, &server.facts("a")?);
    assert_fields(
        holder,
        &json!({ "address": "::1", "family": "ipv6", "state": "connected", "overlap": "dual_stack" }),
    );
    assert_owners(holder, &[&server])?;

    // One of an IPv6-only listener is in nobody's way.
    server.run("h = listening('::', 0, V6ONLY)")?;
    let facts = server.facts("h")?;
    client.run(&format!("c = connected('::1', {})", facts["port"]))?;
    server.run("a, _ = h.accept(); h.close()")?;
    sockets::bound(Transport::Tcp, at("0.0.0.0", &facts)?)?;
    Ok(())
}

#[test]
fn an_outgoing_connection_holds_the_port_the_kernel_gave_it() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("outgoing")?;
    let daemon = launch.start()?;
    let (event, facts, client) = namespace.run(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").context("the range")?;
        let mut server = Actor::start("rt-server")?;
        let mut client = Actor::start("rt-client")?;
        server.run("h = listening('127.0.0.1', 8080)")?;
        client.run("c = connected('127.0.0.1', 8080)")?;
        let facts = client.facts("c")?;
        assert_eq!(facts["port"], 40_000);
        let address = at("0.0.0.0", &facts)?;
        Ok((conflicts::bind(&daemon, &contender(address.ip(), true)?, address)?, facts, client))
    })?;
    assert_exact(&event, "holder_lacks_reuseaddr", &["SO_REUSEADDR on the connection", "TIME_WAIT"]);
    let holder = only_holder(&event);
    assert_fields(holder, &facts);
    assert_fields(
        holder,
        &json!({ "state": "connected", "overlap": "wildcard_contender", "netns_name": namespace.name() }),
    );
    assert_owners(holder, &[&client])?;
    assert_counted(&daemon, &event, &client.executable()?)
}
