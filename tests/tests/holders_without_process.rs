//! What nobody has open any more: TIME_WAIT and connections the kernel is still closing hold their port, too.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use reuse_tests::{
    actor::Actor,
    conflicts::{self, assert_counted, assert_exact, assert_former_owners, only_holder},
    daemon::Daemon,
    events::assert_fields,
    sockets::{self, Transport},
    user,
};
use serde_json::{Value, json};
use socket2::{SockAddr, Socket};

/// A server and its client in processes of their own, with one accepted connection `a` and the listener gone.
struct Connection {
    server: Actor,
    client: Actor,
    address: SocketAddr,
}

impl Connection {
    /// `options`: of the listener, which its connection inherits.
    fn new(options: &str) -> Result<Self> {
        let mut server = Actor::start("rt-server")?;
        let mut client = Actor::start("rt-client")?;
        let port =
            server.run(&format!("h = listening('127.0.0.1', 0{options}); answer = h.getsockname()[1]"))?;
        client.run(&format!("c = connected('127.0.0.1', {port})"))?;
        server.run("a, _ = h.accept(); h.close()")?;
        let port = u16::try_from(port.as_u64().context("a port")?)?;
        Ok(Self { server, client, address: (Ipv4Addr::LOCALHOST, port).into() })
    }

    /// The server closes first, so TIME_WAIT is on its port.
    fn into_time_wait(mut self) -> Result<Self> {
        self.server.run("a.close()")?;
        self.client.run("c.recv(1); c.close()")?;
        Ok(self)
    }
}

fn contender(reuseaddr: bool, reuseport: bool) -> Result<Socket> {
    let socket = sockets::open(Transport::Tcp, Ipv4Addr::LOCALHOST.into())?;
    socket.set_reuse_address(reuseaddr)?;
    socket.set_reuse_port(reuseport)?;
    Ok(socket)
}

#[track_caller]
fn assert_expires_within_a_minute(holder: &Value) {
    let left = holder["expires_in_seconds"].as_f64().unwrap_or(f64::NAN);
    assert!(left > 0.0 && left <= 60.0, "{holder}");
}

/// TIME_WAIT lets in who sets what the connection had, and nobody else.
#[test]
fn time_wait_is_told_with_who_it_was_and_how_long() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for (theirs, [reuseaddr, reuseport], remedy) in [
        ("", [false, false], None),
        ("", [true, false], None),
        (", RA", [false, false], Some("SO_REUSEADDR on the new socket")),
        (", RP", [false, false], Some("SO_REUSEPORT on the new socket")),
        (", RP", [true, false], Some("SO_REUSEPORT on the new socket")),
        (", RA", [false, true], Some("SO_REUSEADDR on the new socket")),
    ] {
        let connection = Connection::new(theirs)?.into_time_wait()?;
        let socket = contender(reuseaddr, reuseport)?;
        let event = conflicts::bind(&daemon, &socket, connection.address)?;
        assert_exact(&event, "time_wait", &["ait"]);
        let said = event["remedy"].as_str().unwrap_or_default();
        match remedy {
            Some(remedy) => assert!(said.contains(remedy), "{event}"),
            None => assert!(!said.contains("on the new socket"), "nothing the contender sets helps: {event}"),
        }
        let holder = only_holder(&event);
        assert_fields(
            holder,
            &json!({
                "address": "127.0.0.1", "port": connection.address.port(), "family": "ipv4", "protocol": "tcp",
                "state": "time_wait", "rule": "time_wait", "overlap": "same_address", "socket_uid": null,
                "user": null, "reuseaddr": theirs.ends_with("RA"), "reuseport": theirs.ends_with("RP"),
            }),
        );
        assert_expires_within_a_minute(holder);
        assert_former_owners(holder, &[&connection.server])?;
        assert_counted(&daemon, &event, "time_wait")?;

        // What the remedy says is so.
        match remedy {
            Some(remedy) if remedy.contains("SO_REUSEADDR") => socket.set_reuse_address(true)?,
            Some(_) => socket.set_reuse_port(true)?,
            None => continue,
        }
        socket.bind(&SockAddr::from(connection.address)).context("the remedy did not help")?;
    }
    Ok(())
}

#[test]
fn time_wait_knows_no_uid() -> Result<()> {
    let Some(_daemon) = Daemon::start(&[])? else { return Ok(()) };
    for (theirs, [reuseaddr, reuseport]) in [(", RA", [true, false]), (", RP", [false, true])] {
        let connection = Connection::new(theirs)?.into_time_wait()?;
        user::run_as(user::NOBODY, || {
            let socket = contender(reuseaddr, reuseport)?;
            socket.bind(&SockAddr::from(connection.address)).context("both set it, of any uid")
        })?;
    }
    Ok(())
}

/// The process behind TIME_WAIT may be gone itself.
#[test]
fn who_left_time_wait_behind_is_known_after_its_end() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let connection = Connection::new("")?.into_time_wait()?;
    let (pid, executable) = (u64::from(connection.server.pid()), connection.server.executable()?);
    let address = connection.address;
    connection.server.end();
    let event = conflicts::bind(&daemon, &contender(false, false)?, address)?;
    assert_exact(&event, "time_wait", &["ait"]);
    let holder = only_holder(&event);
    let expected = std::collections::BTreeSet::from([(pid, "rt-server".to_owned(), executable)]);
    assert_eq!(conflicts::people(&holder["former_owners"]), expected, "{event}");
    assert_counted(&daemon, &event, "time_wait")
}

/// The other side has not closed: the kernel waits for it on a small socket, as in TIME_WAIT.
#[test]
fn an_orphan_that_waits_for_the_other_side_is_told_as_time_wait() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut connection = Connection::new("")?;
    connection.server.run("a.close()")?;
    // FIN_WAIT2: the other side's kernel has acknowledged the FIN, which may take it 40 ms.
    connection.server.until(&format!("tcp_states({}) == [5]", connection.address.port()))?;
    let event = conflicts::bind(&daemon, &contender(false, false)?, connection.address)?;
    assert_exact(&event, "time_wait", &["ait"]);
    let holder = only_holder(&event);
    assert_fields(holder, &json!({ "state": "time_wait", "socket_uid": null, "overlap": "same_address" }));
    assert_expires_within_a_minute(holder);
    assert_former_owners(holder, &[&connection.server])?;
    assert_counted(&daemon, &event, "time_wait")
}

/// Its last data cannot leave, because the other side does not read.
#[test]
fn an_orphan_with_data_left_is_told_as_closing() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for (theirs, remedy) in [("", None), (", RA", Some("SO_REUSEADDR on the new socket"))] {
        let mut connection = Connection::new(theirs)?;
        connection.server.run("fill(a); a.close()")?;
        let event = conflicts::bind(&daemon, &contender(false, false)?, connection.address)?;
        assert_exact(&event, "holder_is_closing", &["ait"]);
        let said = event["remedy"].as_str().unwrap_or_default();
        assert_eq!(said.contains("on the new socket"), remedy.is_some(), "{event}");
        let holder = only_holder(&event);
        assert_fields(
            holder,
            &json!({
                "address": "127.0.0.1", "state": "closing", "socket_uid": 0, "overlap": "same_address",
                "expires_in_seconds": null, "reuseaddr": theirs.ends_with("RA"), "reuseport": false,
            }),
        );
        assert_former_owners(holder, &[&connection.server])?;
        assert_counted(&daemon, &event, "closing")?;
    }
    Ok(())
}
