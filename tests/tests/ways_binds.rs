//! Binds and listens by system calls of either word size and by `io_uring`: whatever the way, each is told once, with
//! what was asked for and what came of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use reuse_tests::{
    sockets::{self, Transport},
    user,
    ways::{
        Way,
        io_uring::Style,
        ledger::{Ledger, Refusal},
        stage,
    },
};
use socket2::{SockAddr, Socket};

const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Mptcp];
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Makes calls every way in a namespace, and compares what is told of them.
fn every_way(purpose: &str, calls: impl Fn(&mut Ledger) -> Result<()> + Send + Sync) -> Result<()> {
    let Some(stage) = stage::begin(purpose, &[])? else { return Ok(()) };
    stage::each(&Way::ALL, &stage, calls)
}

#[test]
fn a_bind_shows_what_was_asked_for_and_what_came_of_it() -> Result<()> {
    every_way("binds", |ledger| {
        for transport in TRANSPORTS {
            for text in ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"] {
                let ip: IpAddr = text.parse()?;
                let chosen = sockets::open(transport, ip)?;
                ledger.bind(&chosen, SocketAddr::new(ip, 0)).with_context(|| format!("{transport:?}"))?;
                let asked = sockets::open(transport, ip)?;
                asked.set_reuse_port(true)?;
                asked.set_freebind_v4(true).context("IP_FREEBIND")?;
                let port = sockets::local_address(&chosen)?.port() ^ 1;
                ledger.bind(&asked, SocketAddr::new(ip, port)).with_context(|| format!("{transport:?}"))?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_listen_shows_what_the_socket_is_bound_to() -> Result<()> {
    every_way("listens", |ledger| {
        for transport in [Transport::Tcp, Transport::Mptcp] {
            for ip in LOOPBACKS {
                let socket = sockets::open(transport, ip)?;
                ledger.bind(&socket, SocketAddr::new(ip, 0))?;
                ledger.listen(&socket)?;
                let unbound = sockets::open(transport, ip)?;
                ledger.listen(&unbound).context("the kernel chooses a port")?;
                ledger.keep(unbound);
            }
        }
        Ok(())
    })
}

/// Only the backlog changes: nothing but the end of the call, or the completion of the request, shows it.
#[test]
fn a_second_listen_is_told_by_the_ways_that_show_their_end() -> Result<()> {
    let Some(stage) = stage::begin("again", &[])? else { return Ok(()) };
    let ways = Way::ALL.into_iter().filter(|way| !matches!(way, Way::Compat(_) | Way::Ring(Style::Silent)));
    stage::each(&ways.collect::<Vec<_>>(), &stage, |ledger| {
        for transport in [Transport::Tcp, Transport::Mptcp] {
            for ip in LOOPBACKS {
                let socket = sockets::open(transport, ip)?;
                ledger.bind(&socket, SocketAddr::new(ip, 0))?;
                ledger.listen(&socket)?;
                ledger.listen(&socket)?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_port_that_is_held_shows_its_holder() -> Result<()> {
    every_way("held", |ledger| {
        for transport in TRANSPORTS {
            for ip in LOOPBACKS {
                let holder = sockets::bound(transport, SocketAddr::new(ip, 0))?;
                let why = Refusal { errno: "EADDRINUSE", rule: "exclusive", holders: &[&holder] };
                let contender = sockets::open(transport, ip)?;
                ledger.refused_bind(&contender, sockets::local_address(&holder)?, why)?;
                drop(holder);
                // The same socket gets its port after all.
                ledger.bind(&contender, SocketAddr::new(ip, 0))?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_listen_that_is_refused_shows_who_listens() -> Result<()> {
    every_way("listening", |ledger| {
        for transport in [Transport::Tcp, Transport::Mptcp] {
            for ip in LOOPBACKS {
                let open = || -> Result<Socket> {
                    let socket = sockets::open(transport, ip)?;
                    socket.set_reuse_address(true)?;
                    Ok(socket)
                };
                let (holder, contender) = (open()?, open()?);
                holder.bind(&SockAddr::from(SocketAddr::new(ip, 0)))?;
                ledger.bind(&contender, sockets::local_address(&holder)?)?;
                holder.listen(1)?;
                let why = Refusal { errno: "EADDRINUSE", rule: "holder_is_listening", holders: &[&holder] };
                ledger.refused_listen("listen", &contender, why)?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_refusal_that_no_socket_causes_has_its_own_rule() -> Result<()> {
    every_way("others", |ledger| {
        for transport in TRANSPORTS {
            for text in ["192.0.2.7", "2001:db8::7"] {
                let ip: IpAddr = text.parse()?;
                let socket = sockets::open(transport, ip)?;
                let why = Refusal::alone("EADDRNOTAVAIL", "address_not_local");
                ledger.refused_bind(&socket, SocketAddr::new(ip, 8080), why)?;
            }
            let socket = sockets::open(transport, LOOPBACKS[0])?;
            ledger.bind(&socket, SocketAddr::new(LOOPBACKS[0], 0))?;
            let why = Refusal::alone("EINVAL", "already_bound");
            ledger.refused_bind(&socket, SocketAddr::new(LOOPBACKS[0], 4321), why)?;
        }
        Ok(())
    })
}

/// The right is the calling thread's, or that of who made the ring.
#[test]
fn a_privileged_port_is_refused_to_a_user_without_the_right() -> Result<()> {
    let Some(stage) = stage::begin("privileged", &[])? else { return Ok(()) };
    let (namespace, daemon) = &stage;
    for way in Way::ALL {
        let made = namespace.run(|| {
            user::run_as(user::NOBODY, || {
                let Some(mut ledger) = Ledger::open(way)? else { return Ok(None) };
                for transport in [Transport::Tcp, Transport::Udp] {
                    for ip in LOOPBACKS {
                        let socket = sockets::open(transport, ip)?;
                        let why = Refusal::alone("EACCES", "privileged_port");
                        ledger.refused_bind(&socket, SocketAddr::new(ip, 80), why)?;
                    }
                }
                Ok(Some(ledger))
            })
        });
        let Some(ledger) = made.with_context(|| format!("{way:?}"))? else { continue };
        ledger.settle(daemon).with_context(|| format!("{way:?}"))?;
    }
    Ok(())
}
