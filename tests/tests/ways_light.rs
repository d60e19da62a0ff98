//! Without the system calls' tracepoints (`--trace.syscalls=false`): successes are told as with them, refusals are inferred,
//! and what never reaches the network code is not told.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    deadline::{self, PROMPT},
    events,
    sockets::{self, Transport, result_name},
    user,
    ways::{
        Way, agreement,
        compat::Door,
        ledger::{Ledger, Refusal},
        refusals::{self, LOOPBACKS},
        stage,
    },
};
use socket2::SockAddr;

const LIGHT: [&str; 1] = ["--trace.syscalls=false"];
const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Mptcp];

/// Makes system calls of either word size, all of whose refusals must be inferred.
fn inferred(purpose: &str, calls: impl Fn(&mut Ledger) -> Result<()> + Send + Sync) -> Result<()> {
    let Some((namespace, daemon)) = stage::begin(purpose, &LIGHT)? else { return Ok(()) };
    for way in [Way::Call, Way::Compat(Door::Direct)] {
        let made = namespace.run(|| {
            let Some(ledger) = Ledger::open(way)? else { return Ok(None) };
            let mut ledger = ledger.inferred();
            calls(&mut ledger)?;
            Ok(Some(ledger))
        });
        let Some(ledger) = made.with_context(|| format!("{way:?}"))? else { continue };
        ledger.settle(&daemon).with_context(|| format!("{way:?}"))?;
    }
    Ok(())
}

#[test]
fn every_success_is_told() -> Result<()> {
    let Some(stage) = stage::begin("light", &LIGHT)? else { return Ok(()) };
    stage::each(&Way::ALL, &stage, |ledger| {
        for transport in TRANSPORTS {
            for text in ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"] {
                let ip: IpAddr = text.parse()?;
                let chosen = sockets::open(transport, ip)?;
                ledger.bind(&chosen, SocketAddr::new(ip, 0))?;
                let asked = sockets::open(transport, ip)?;
                asked.set_reuse_port(true)?;
                let port = sockets::local_address(&chosen)?.port() ^ 1;
                ledger.bind(&asked, SocketAddr::new(ip, port))?;
                if transport != Transport::Udp {
                    ledger.listen(&asked)?;
                    let unbound = sockets::open(transport, ip)?;
                    ledger.listen(&unbound).context("the kernel chooses a port")?;
                    ledger.keep(unbound);
                }
            }
        }
        Ok(())
    })
}

#[test]
fn every_close_is_told() -> Result<()> {
    let Some((namespace, daemon)) = stage::begin("light-close", &LIGHT)? else { return Ok(()) };
    for transport in TRANSPORTS {
        for ip in LOOPBACKS {
            let inode = namespace.run(|| {
                let socket = sockets::bound(transport, SocketAddr::new(ip, 0))?;
                let inode = sockets::inode(&socket)?;
                events::wait_for(&daemon, &socket, "bind", "bind")?;
                Ok(inode)
            })?;
            deadline::until("the socket is gone", PROMPT, || {
                let held = daemon.sockets()?.iter().any(|socket| socket["inode"] == inode);
                Ok((!held).then_some(()))
            })
            .with_context(|| format!("{transport:?} {ip}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_port_that_is_held_shows_its_holder() -> Result<()> {
    inferred("light-held", |ledger| {
        for transport in TRANSPORTS {
            for ip in LOOPBACKS {
                let holder = sockets::bound(transport, SocketAddr::new(ip, 0))?;
                let why = Refusal { errno: "EADDRINUSE", rule: "exclusive", holders: &[&holder] };
                let contender = sockets::open(transport, ip)?;
                ledger.refused_bind(&contender, sockets::local_address(&holder)?, why)?;
            }
        }
        Ok(())
    })
}

/// A socket that is refused and asks again at once, as servers do that try one port after the other.
#[test]
fn refusals_and_a_success_of_one_socket_are_told_one_for_one() -> Result<()> {
    inferred("light-again", |ledger| {
        for transport in [Transport::Tcp, Transport::Udp] {
            let ip = LOOPBACKS[0];
            let holder = sockets::bound(transport, SocketAddr::new(ip, 0))?;
            let address = sockets::local_address(&holder)?;
            let contender = sockets::open(transport, ip)?;
            for _ in 0..3 {
                let why = Refusal { errno: "EADDRINUSE", rule: "exclusive", holders: &[&holder] };
                ledger.refused_bind(&contender, address, why)?;
            }
            ledger.bind(&contender, SocketAddr::new(ip, 0))?;
        }
        Ok(())
    })
}

#[test]
fn a_refused_listen_shows_who_listens() -> Result<()> {
    inferred("light-listen", refusals::of_a_second_listener)
}

#[test]
fn a_refusal_that_no_socket_causes_has_its_own_rule() -> Result<()> {
    inferred("light-others", |ledger| refusals::without_a_holder(ledger, &[Transport::Tcp, Transport::Udp]))
}

#[test]
fn a_privileged_port_is_refused_to_a_user_without_the_right() -> Result<()> {
    let Some((namespace, daemon)) = stage::begin("light-rights", &LIGHT)? else { return Ok(()) };
    let ledger = namespace.run(|| {
        user::run_as(user::NOBODY, || {
            let mut ledger = Ledger::open(Way::Call)?.context("system calls are always there")?.inferred();
            refusals::of_a_privileged_port(&mut ledger)?;
            Ok(ledger)
        })
    })?;
    ledger.settle(&daemon)
}

/// The kernel answers before it looks at the socket's protocol, where nothing of this tier is: documented, and not made up.
#[test]
fn what_never_reaches_the_network_code_is_not_told() -> Result<()> {
    let Some((namespace, daemon)) = stage::begin("light-unseen", &LIGHT)? else { return Ok(()) };
    let socket = namespace.run(|| {
        let address = SocketAddr::new(LOOPBACKS[0], 0);
        let socket = sockets::open(Transport::Udp, LOOPBACKS[0])?;
        let short = SockAddr::from(address);
        for (descriptor, length) in [(socket.as_raw_fd(), 8), (-1, short.len())] {
            // SAFETY: the kernel reads at most the length of `short`, which lives through the call.
            let outcome = unsafe { libc::bind(descriptor, short.as_ptr().cast(), length) };
            ensure!(outcome == -1, "bind of {length} bytes: {}", io::Error::last_os_error());
        }
        let outcome = socket.listen(1);
        ensure!(result_name(&outcome) == "EOPNOTSUPP", "{outcome:?}");
        socket.bind(&address.into())?;
        Ok(socket)
    })?;
    events::wait_for(&daemon, &socket, "bind", "bind")?;
    let own = std::process::id();
    let told = agreement::settle(&daemon)?;
    let told = told.iter().filter(|event| event["contender"]["pid"] == own && event["type"] == "conflict");
    ensure!(told.count() == 0, "a refusal was made up");
    Ok(())
}
