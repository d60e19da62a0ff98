//! Binds and listens by system calls of either word size and by `io_uring`: whatever the way, each is told once, with
//! what was asked for and what came of it.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use reuse_tests::{
    sockets::{self, Transport},
    user,
    ways::{
        Way,
        io_uring::Style,
        ledger::{Ledger, Refusal},
        refusals::{self, LOOPBACKS},
        stage,
    },
};

const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Mptcp];

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
    every_way("listening", refusals::of_a_second_listener)
}

#[test]
fn a_refusal_that_no_socket_causes_has_its_own_rule() -> Result<()> {
    every_way("others", |ledger| refusals::without_a_holder(ledger, &TRANSPORTS))
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
                refusals::of_a_privileged_port(&mut ledger)?;
                Ok(Some(ledger))
            })
        });
        let Some(ledger) = made.with_context(|| format!("{way:?}"))? else { continue };
        ledger.settle(daemon).with_context(|| format!("{way:?}"))?;
    }
    Ok(())
}
