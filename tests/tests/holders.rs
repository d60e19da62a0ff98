//! Who holds a TCP port: each way two sockets refuse each other, with the holder's flags, state and process.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use reuse_tests::{
    actor::Actor,
    conflicts::{self, assert_counted, assert_exact, assert_owners, holders, only_holder},
    daemon::Daemon,
    events::assert_fields,
    sockets::{self, Transport},
    user,
};
use serde_json::{Value, json};
use socket2::{SockAddr, Socket};

/// The options of a contender.
type Options = fn(&Socket) -> std::io::Result<()>;

const PLAIN: Options = |_| Ok(());
const REUSEADDR: Options = |socket| socket.set_reuse_address(true);
const REUSEPORT: Options = |socket| socket.set_reuse_port(true);

fn contender(address: IpAddr, options: Options) -> Result<Socket> {
    let socket = sockets::open(Transport::Tcp, address)?;
    options(&socket)?;
    Ok(socket)
}

fn port(facts: &Value) -> Result<u16> {
    Ok(u16::try_from(facts["port"].as_u64().context("a port")?)?)
}

/// Has `actor` make the socket `h` on a port of the kernel's choice, and asks for the same port.
fn refused(
    daemon: &Daemon,
    actor: &mut Actor,
    holder: &str,
    address: &str,
    options: Options,
) -> Result<(Value, Value)> {
    actor.run(&format!("h = {holder}"))?;
    let facts = actor.facts("h")?;
    let address: IpAddr = address.parse()?;
    let event =
        conflicts::bind(daemon, &contender(address, options)?, SocketAddr::new(address, port(&facts)?))?;
    Ok((event, facts))
}

#[test]
fn what_each_side_lacks_is_named() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut actor = Actor::start("rt-holder")?;
    for (holder, options, rule, remedy) in [
        ("listening('127.0.0.1', 0)", PLAIN, "holder_is_listening", ["top the listener", "SO_REUSEPORT"]),
        ("listening('127.0.0.1', 0, RA)", REUSEADDR, "holder_is_listening", ["never shares", "SO_REUSEPORT"]),
        ("bound('127.0.0.1', 0)", PLAIN, "exclusive", ["SO_REUSEADDR", "SO_REUSEPORT"]),
        ("listening('127.0.0.1', 0)", REUSEPORT, "holder_lacks_reuseport", ["SO_REUSEPORT on", "top it"]),
        (
            "listening('127.0.0.1', 0, RP)",
            PLAIN,
            "contender_lacks_reuseport",
            ["SO_REUSEPORT on the new socket", "top the listener"],
        ),
        ("bound('127.0.0.1', 0)", REUSEADDR, "holder_lacks_reuseaddr", ["SO_REUSEADDR on", "top it"]),
        (
            "bound('127.0.0.1', 0, RA)",
            PLAIN,
            "contender_lacks_reuseaddr",
            ["SO_REUSEADDR on the new socket", "top the socket"],
        ),
    ] {
        let (event, facts) = refused(&daemon, &mut actor, holder, "127.0.0.1", options)?;
        assert_exact(&event, rule, &remedy);
        let holder_of = only_holder(&event);
        assert_fields(holder_of, &facts);
        let state = if holder.starts_with("listening") { "listen" } else { "bound" };
        assert_fields(
            holder_of,
            &json!({
                "protocol": "tcp", "state": state, "device": null, "rule": rule, "overlap": "same_address",
                "user": "root", "expires_in_seconds": null, "kernel": false, "netns_name": "host",
            }),
        );
        assert!(holder_of["since"].is_string(), "bound before the daemon's eyes: {event}");
        assert_owners(holder_of, &[&actor])?;
        assert_counted(&daemon, &event, &actor.executable()?)?;
    }
    Ok(())
}

/// The addresses of holder and contender, and how they meet.
#[test]
fn how_the_addresses_meet_is_named() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut actor = Actor::start("rt-holder")?;
    for (holder, address, overlap) in [
        ("listening('0.0.0.0', 0)", "127.0.0.1", "wildcard_holder"),
        ("listening('127.0.0.1', 0)", "0.0.0.0", "wildcard_contender"),
        ("listening('::', 0)", "::1", "wildcard_holder"),
        ("listening('::1', 0)", "::", "wildcard_contender"),
        ("listening('::1', 0)", "::1", "same_address"),
        // An IPv6 socket on a mapped address has nothing but that IPv4 address.
        ("listening('::ffff:127.0.0.1', 0)", "127.0.0.1", "same_address"),
        // A dual-stack holder has IPv4, and IPv4 has what a dual-stack contender asks for.
        ("listening('::', 0)", "0.0.0.0", "dual_stack"),
        ("listening('::', 0)", "127.0.0.1", "dual_stack"),
        ("listening('0.0.0.0', 0)", "::", "dual_stack"),
        ("listening('127.0.0.1', 0)", "::", "dual_stack"),
    ] {
        let (event, facts) = refused(&daemon, &mut actor, holder, address, PLAIN)?;
        assert_exact(&event, "holder_is_listening", &["top the listener"]);
        let holder = only_holder(&event);
        assert_fields(holder, &facts);
        assert_fields(holder, &json!({ "overlap": overlap, "state": "listen" }));
        assert_owners(holder, &[&actor])?;
        assert_counted(&daemon, &event, &actor.executable()?)?;
    }
    Ok(())
}

#[test]
fn a_holder_that_was_there_first_is_told_with_its_process() -> Result<()> {
    let mut actor = Actor::start("rt-early")?;
    actor.run("h = listening('127.0.0.1', 0)")?;
    let facts = actor.facts("h")?;
    let Some(daemon) = Daemon::start(&[])? else { return Ok(()) };
    let address = SocketAddr::from(([127, 0, 0, 1], port(&facts)?));
    let event = conflicts::bind(&daemon, &contender(address.ip(), PLAIN)?, address)?;
    assert_exact(&event, "holder_is_listening", &["top the listener"]);
    let holder = only_holder(&event);
    assert_fields(holder, &facts);
    assert_eq!(holder["since"], Value::Null, "nobody saw the bind: {event}");
    assert_owners(holder, &[&actor])
}

#[test]
fn every_holder_is_told() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut first = Actor::start("rt-first")?;
    let mut second = Actor::start("rt-second")?;
    first.run("h = listening('127.0.0.1', 0)")?;
    let facts = first.facts("h")?;
    let number = port(&facts)?;
    second.run(&format!("h = bound('127.0.0.2', {number}); free = bound('127.0.0.3', {number}, RA)"))?;
    // It shares with the third, which therefore is no holder.
    let address = SocketAddr::from(([0, 0, 0, 0], number));
    let event = conflicts::bind(&daemon, &contender(address.ip(), REUSEADDR)?, address)?;
    // The highest of the rules, and a sentence for each.
    assert_exact(&event, "holder_is_listening", &["top the listener", "SO_REUSEADDR on"]);
    let mut told: Vec<&Value> = holders(&event).iter().collect();
    told.sort_by_key(|holder| holder["address"].to_string());
    let [listener, bound] = told[..] else { panic!("not two holders: {event}") };
    assert_fields(listener, &facts);
    assert_fields(listener, &json!({ "rule": "holder_is_listening", "overlap": "wildcard_contender" }));
    assert_owners(listener, &[&first])?;
    assert_fields(bound, &second.facts("h")?);
    assert_fields(bound, &json!({ "rule": "holder_lacks_reuseaddr", "overlap": "wildcard_contender" }));
    assert_owners(bound, &[&second])?;
    assert_eq!(event["decided_by"], Value::Null, "{event}");
    assert_counted(&daemon, &event, &first.executable()?)
}

#[test]
fn another_user_s_group_is_not_joined() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut actor = Actor::start("rt-nobody")?;
    actor.run(&format!("os.setresuid({0}, {0}, {0})", user::NOBODY))?;
    let (event, facts) =
        refused(&daemon, &mut actor, "listening('127.0.0.1', 0, RP)", "127.0.0.1", REUSEPORT)?;
    assert_exact(&event, "reuseport_uid_mismatch", &["under uid 65534", "top it"]);
    let holder = only_holder(&event);
    assert_fields(holder, &facts);
    assert_fields(holder, &json!({ "socket_uid": user::NOBODY, "rule": "reuseport_uid_mismatch" }));
    assert_eq!(holder["owners"][0]["uid"], user::NOBODY, "{event}");
    assert_owners(holder, &[&actor])?;
    assert_counted(&daemon, &event, &actor.executable()?)
}

#[test]
fn a_program_attached_too_early_keeps_a_socket_out() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut actor = Actor::start("rt-holder")?;
    let with_program: Options = |socket| {
        socket.set_reuse_port(true)?;
        attach_program(socket)
    };
    let (event, facts) =
        refused(&daemon, &mut actor, "listening('127.0.0.1', 0, RP)", "127.0.0.1", with_program)?;
    assert_exact(&event, "reuseport_program_attached", &["program only after listen()", "top the listener"]);
    let holder = only_holder(&event);
    assert_fields(holder, &facts);
    assert_owners(holder, &[&actor])?;
    assert_counted(&daemon, &event, &actor.executable()?)
}

/// Attaches a classic reuseport program that answers 0.
fn attach_program(socket: &Socket) -> std::io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let mut steps = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 }];
    let program = libc::sock_fprog { len: 1, filter: steps.as_mut_ptr() };
    // SAFETY: pointer and length describe `program`, which points to `steps`; both live through the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Both set SO_REUSEADDR, so both bind; the second to listen is refused.
#[test]
fn a_refusal_that_only_listen_meets_names_the_listener() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut actor = Actor::start("rt-squatter")?;
    for (theirs, ours, overlap) in [
        ("127.0.0.1", "127.0.0.1", "same_address"),
        ("0.0.0.0", "127.0.0.1", "wildcard_holder"),
        ("::", "127.0.0.1", "dual_stack"),
    ] {
        actor.run(&format!("h = bound('{theirs}', 0, RA)"))?;
        let facts = actor.facts("h")?;
        let address = SocketAddr::new(ours.parse()?, port(&facts)?);
        let socket = contender(address.ip(), REUSEADDR)?;
        socket.bind(&SockAddr::from(address)).context("neither listens")?;
        actor.run("h.listen()")?;
        let event = conflicts::listen(&daemon, &socket)?;
        assert_exact(&event, "holder_is_listening", &["top the listener", "SO_REUSEPORT"]);
        assert_fields(&event["contender"], &json!({ "address": ours, "port": address.port() }));
        let holder = only_holder(&event);
        assert_fields(holder, &facts);
        assert_fields(
            holder,
            &json!({ "state": "listen", "overlap": overlap, "rule": "holder_is_listening" }),
        );
        assert_owners(holder, &[&actor])?;
        assert_counted(&daemon, &event, &actor.executable()?)?;
    }
    Ok(())
}

#[test]
fn multipath_tcp_holds_and_asks() -> Result<()> {
    let Some(daemon) = Daemon::shared(&[])? else { return Ok(()) };
    let mut actor = Actor::start("rt-multipath")?;
    for (theirs, ours) in [
        ("protocol=IPPROTO_MPTCP", Transport::Tcp),
        ("protocol=IPPROTO_MPTCP", Transport::Mptcp),
        ("protocol=0", Transport::Mptcp),
    ] {
        actor.run(&format!("h = listening('127.0.0.1', 0, {theirs})"))?;
        let facts = actor.facts("h")?;
        let address = SocketAddr::from(([127, 0, 0, 1], port(&facts)?));
        let event = conflicts::bind(&daemon, &sockets::open(ours, address.ip())?, address)?;
        assert_exact(&event, "holder_is_listening", &["top the listener"]);
        assert_eq!(event["contender"]["protocol"], ours.name(), "{event}");
        let holder = only_holder(&event);
        assert_fields(holder, &facts);
        let protocol = if theirs.ends_with("MPTCP") { "mptcp" } else { "tcp" };
        assert_fields(holder, &json!({ "protocol": protocol, "state": "listen" }));
        assert_owners(holder, &[&actor])?;
        assert_counted(&daemon, &event, &actor.executable()?)?;
    }
    Ok(())
}
