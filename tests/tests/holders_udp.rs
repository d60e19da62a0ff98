//! Who holds a UDP port: the first overlapping socket in the kernel's order decides, and the others that would refuse are
//! listed after it in that order.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use reuse_tests::{
    actor::Actor,
    cgroup::Group,
    conflicts::{self, assert_counted, assert_exact, assert_owners, assert_remedy, holders},
    daemon::{Daemon, Launch},
    events::assert_fields,
    namespace::Namespace,
    skip,
    sockets::{self, Transport},
    user,
};
use serde_json::{Value, json};
use socket2::Socket;

fn contender(address: SocketAddr, reuseaddr: bool, reuseport: bool) -> Result<Socket> {
    let socket = sockets::open(Transport::Udp, address.ip())?;
    socket.set_reuse_address(reuseaddr)?;
    socket.set_reuse_port(reuseport)?;
    Ok(socket)
}

/// Has `actor` bind the socket `h` and gives what the kernel says of it.
fn bound(actor: &mut Actor, address: &str, port: u16, options: &str) -> Result<Value> {
    actor.run(&format!("h = bound('{address}', {port}{options}, kind=SOCK_DGRAM)"))?;
    actor.facts("h")
}

fn port_of(facts: &Value) -> Result<u16> {
    Ok(u16::try_from(facts["port"].as_u64().context("a port")?)?)
}

/// Checks that the holders are these sockets of these processes in this order, and that the first decided.
#[track_caller]
fn assert_scan(event: &Value, expected: &[(&Actor, &Value, &str)]) -> Result<()> {
    let told = holders(event);
    assert_eq!(told.len(), expected.len(), "{event}");
    for (holder, (actor, facts, rule)) in told.iter().zip(expected) {
        assert_fields(holder, facts);
        assert_fields(holder, &json!({ "protocol": "udp", "rule": rule, "kernel": false }));
        assert_owners(holder, &[actor])?;
    }
    assert_eq!(event["decided_by"], expected[0].1["inode"], "{event}");
    Ok(())
}

#[test]
fn the_newest_of_several_decides() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let Some(group) = Group::new("rt-datagrams.service")? else { return Ok(()) };
    let mut first = Actor::start("rt-first")?;
    let mut second = Actor::start("rt-second")?;
    let mut third = Actor::start("rt-third")?;
    group.take(third.pid())?;
    let one = bound(&mut first, "127.0.0.1", 0, "")?;
    let port = port_of(&one)?;
    let two = bound(&mut second, "127.0.0.2", port, ", RP")?;
    let three = bound(&mut third, "127.0.0.3", port, ", RA")?;
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    let event = conflicts::bind(&daemon, &contender(address, false, false)?, address)?;
    // The rule is that of who decided, though another is higher; each rule has its sentence.
    assert_exact(
        &event,
        "contender_lacks_reuseaddr",
        &["SO_REUSEADDR on the new socket", "any user can then take", "SO_REUSEPORT on the new socket"],
    );
    assert_scan(
        &event,
        &[
            (&third, &three, "contender_lacks_reuseaddr"),
            (&second, &two, "contender_lacks_reuseport"),
            (&first, &one, "exclusive"),
        ],
    )?;
    for holder in holders(&event) {
        assert_fields(holder, &json!({ "state": "bound", "overlap": "wildcard_contender" }));
    }
    assert_counted(&daemon, &event, "rt-datagrams.service")
}

/// Who shares is passed over, whatever its place.
#[test]
fn who_shares_is_no_holder() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut first = Actor::start("rt-first")?;
    let mut second = Actor::start("rt-second")?;
    let one = bound(&mut first, "127.0.0.1", 0, "")?;
    let port = port_of(&one)?;
    bound(&mut second, "127.0.0.2", port, ", RA")?;
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    let event = conflicts::bind(&daemon, &contender(address, true, false)?, address)?;
    assert_exact(&event, "holder_lacks_reuseaddr", &["SO_REUSEADDR on", "any user can then take"]);
    assert_scan(&event, &[(&first, &one, "holder_lacks_reuseaddr")])
}

/// The first in the scan ends it, also by letting the contender in: what is behind it is not asked.
#[test]
fn the_order_of_binds_makes_the_difference() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut member = Actor::start("rt-member")?;
    let mut alone = Actor::start("rt-alone")?;
    let port = port_of(&bound(&mut alone, "127.0.0.2", 0, "")?)?;
    bound(&mut member, "127.0.0.1", port, ", RP")?;
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    let socket = contender(address, false, true)?;
    socket.bind(&address.into()).context("the newest is of one group with it")?;
    drop(socket);

    alone.run("h.close()")?;
    let facts = bound(&mut alone, "127.0.0.2", port, "")?;
    let event = conflicts::bind(&daemon, &contender(address, false, true)?, address)?;
    assert_exact(&event, "holder_lacks_reuseport", &["SO_REUSEPORT on"]);
    assert_scan(&event, &[(&alone, &facts, "holder_lacks_reuseport")])
}

/// IPv6 sockets with SO_REUSEPORT go to the end of the kernel's list, so the older socket decides.
#[test]
fn ipv6_sockets_with_reuseport_are_asked_last() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    for (options, newest_decides) in [("", true), (", RP", false)] {
        let mut older = Actor::start("rt-older")?;
        let mut newer = Actor::start("rt-newer")?;
        let four = bound(&mut older, "127.0.0.1", 0, "")?;
        let port = port_of(&four)?;
        let six = bound(&mut newer, "::1", port, options)?;
        let address: SocketAddr = format!("[::]:{port}").parse()?;
        let event = conflicts::bind(&daemon, &contender(address, false, false)?, address)?;
        let rule = if newest_decides { "exclusive" } else { "contender_lacks_reuseport" };
        let (of_four, of_six) = ((&older, &four, "exclusive"), (&newer, &six, rule));
        let order = if newest_decides { [of_six, of_four] } else { [of_four, of_six] };
        assert_exact(&event, "exclusive", &["another address or port"]);
        assert_scan(&event, &order)?;
        let overlap = |inode: &Value| {
            holders(&event).iter().find(|holder| &holder["inode"] == inode).map(|holder| &holder["overlap"])
        };
        assert_eq!(overlap(&four["inode"]), Some(&json!("dual_stack")), "{event}");
        assert_eq!(overlap(&six["inode"]), Some(&json!("wildcard_contender")), "{event}");
    }
    Ok(())
}

/// With more than ten sockets on the port, those with the very address asked for come before the wildcard ones, which
/// otherwise would be asked by age.
#[test]
fn in_a_crowd_the_same_address_decides() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("crowd")?;
    let daemon = launch.start()?;
    for (others, port, crowded) in [(8, 5353, false), (9, 5354, true)] {
        let (event, exact, wildcard) = namespace.run(|| {
            let mut exact = Actor::start("rt-exact")?;
            let mut crowd = Actor::start("rt-crowd")?;
            let mut wildcard = Actor::start("rt-wildcard")?;
            let facts = bound(&mut exact, "127.0.0.1", port, ", RA")?;
            crowd.run(&format!(
                "h = [bound(f'127.0.1.{{n}}', {port}, RA, kind=SOCK_DGRAM) for n in range(1, {others} + 1)]"
            ))?;
            let any = bound(&mut wildcard, "0.0.0.0", port, ", RA")?;
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let event = conflicts::bind(&daemon, &contender(address, false, false)?, address)?;
            Ok((event, (exact, facts), (wildcard, any)))
        })?;
        assert_exact(&event, "contender_lacks_reuseaddr", &["SO_REUSEADDR on the new socket"]);
        let rule = "contender_lacks_reuseaddr";
        let order = if crowded { [&exact, &wildcard] } else { [&wildcard, &exact] };
        assert_scan(&event, &order.map(|(actor, facts)| (actor, facts, rule)))
            .with_context(|| format!("{others} others"))?;
    }
    Ok(())
}

#[test]
fn a_connected_socket_holds_its_local_address() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut actor = Actor::start("rt-connected")?;
    actor.run("peer = bound('127.0.0.1', 0, kind=SOCK_DGRAM)")?;
    // Neither address nor port were asked for: connect() chose both.
    actor.run("h = opened('127.0.0.1', kind=SOCK_DGRAM); h.connect(peer.getsockname())")?;
    let facts = actor.facts("h")?;
    let address = SocketAddr::from(([127, 0, 0, 1], port_of(&facts)?));
    let event = conflicts::bind(&daemon, &contender(address, false, false)?, address)?;
    assert_exact(&event, "exclusive", &["another address or port"]);
    assert_scan(&event, &[(&actor, &facts, "exclusive")])?;
    assert_fields(&holders(&event)[0], &json!({ "state": "connected", "overlap": "same_address" }));
    assert_counted(&daemon, &event, &actor.executable()?)
}

/// The kernel binds sockets of its own, for tunnels for instance, which no process has.
#[test]
fn a_socket_of_the_kernel_is_told_as_such() -> Result<()> {
    let Some(launch) = Launch::prepare()? else { return Ok(()) };
    let namespace = Namespace::new("tunnel")?;
    let tunnel = ["link", "add", "tunnel0", "type", "vxlan", "id", "5", "dstport", "4789", "dev", "lo"];
    if let Err(error) = namespace.ip(&tunnel).and_then(|()| namespace.ip(&["link", "set", "tunnel0", "up"])) {
        skip::skip(&format!("no VXLAN here: {error:#}"));
        return Ok(());
    }
    let daemon = launch.start()?;
    let address = SocketAddr::from(([127, 0, 0, 1], 4789));
    let event = namespace.run(|| conflicts::bind(&daemon, &contender(address, false, false)?, address))?;
    assert_exact(&event, "exclusive", &["hut down", "another address or port"]);
    let [holder] = holders(&event) else { panic!("not one holder: {event}") };
    assert_fields(
        holder,
        &json!({
            "kernel": true, "owners": [], "port": 4789, "protocol": "udp", "state": "bound",
            "overlap": "wildcard_holder",
        }),
    );
    assert_counted(&daemon, &event, "kernel")
}

#[test]
fn another_user_s_group_is_not_joined() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut actor = Actor::start("rt-nobody")?;
    actor.run(&format!("os.setresuid({0}, {0}, {0})", user::NOBODY))?;
    let facts = bound(&mut actor, "127.0.0.1", 0, ", RP")?;
    let address = SocketAddr::from(([127, 0, 0, 1], port_of(&facts)?));
    let event = conflicts::bind(&daemon, &contender(address, false, true)?, address)?;
    assert_exact(&event, "reuseport_uid_mismatch", &["under uid 65534"]);
    assert_remedy(&event, &["top it"]);
    assert_scan(&event, &[(&actor, &facts, "reuseport_uid_mismatch")])
}
