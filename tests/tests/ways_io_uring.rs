//! What only `io_uring` does: requests that depend on each other, rings that outlive their submission, and kernels that
//! have no such request.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd as _,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use anyhow::{Context, Result, ensure};
use reuse_tests::{
    events::{self, assert_fields},
    sockets::{self, Transport, result_name},
    ways::{
        agreement,
        io_uring::{self, Ring, Style},
        stage,
    },
};
use serde_json::json;

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const STYLES: [Style; 5] = [Style::Plain, Style::Worker, Style::Polled, Style::Silent, Style::Registered];

#[test]
fn a_listen_linked_to_its_bind_is_told_after_it() -> Result<()> {
    if !io_uring::available()? {
        reuse_tests::skip::skip("this kernel's io_uring has no BIND and LISTEN");
        return Ok(());
    }
    let Some((namespace, daemon)) = stage::begin("linked", &[])? else { return Ok(()) };
    for style in STYLES {
        for ip in LOOPBACKS {
            let socket = namespace.run(|| {
                let socket = sockets::open(Transport::Tcp, ip)?;
                let answers = Ring::new(style)?.bind_and_listen(&socket, SocketAddr::new(ip, 0), 8)?;
                ensure!(answers.iter().all(std::result::Result::is_ok), "{style:?}: {answers:?}");
                Ok(socket)
            })?;
            let port = sockets::local_address(&socket)?.port();
            let listen = events::wait_for(&daemon, &socket, "listen", "listen")?;
            assert_fields(&listen["contender"], &json!({ "via": "io_uring", "port": port }));
            let bind = events::wait_for(&daemon, &socket, "bind", "bind")?;
            let asked = json!({ "via": "io_uring", "port": 0, "bound_port": port });
            assert_fields(&bind["contender"], &asked);
            ensure!(
                bind["boottime_ns"].as_u64() <= listen["boottime_ns"].as_u64(),
                "out of order: {bind} {listen}"
            );
        }
    }
    agreement::settle(&daemon).map(drop)
}

/// The kernel does not begin the listen, so there is none to tell.
#[test]
fn a_listen_linked_to_a_refused_bind_never_was() -> Result<()> {
    if !io_uring::available()? {
        reuse_tests::skip::skip("this kernel's io_uring has no BIND and LISTEN");
        return Ok(());
    }
    let Some((namespace, daemon)) = stage::begin("cancelled", &[])? else { return Ok(()) };
    for style in STYLES {
        let (holder, socket) = namespace.run(|| {
            let holder = sockets::bound(Transport::Tcp, SocketAddr::new(LOOPBACKS[0], 0))?;
            let socket = sockets::open(Transport::Tcp, LOOPBACKS[0])?;
            let address = sockets::local_address(&holder)?;
            let [bind, _] = Ring::new(style)?.bind_and_listen(&socket, address, 8)?;
            ensure!(result_name(&bind) == "EADDRINUSE", "{style:?}: {bind:?}");
            Ok((holder, socket))
        })?;
        let refusal = events::wait_for(&daemon, &socket, "conflict", "bind")?;
        let held = json!(sockets::inode(&holder)?);
        assert_fields(&refusal, &json!({ "rule": "exclusive", "confidence": "exact" }));
        ensure!(refusal["holders"][0]["inode"] == held, "{refusal}");
        let inode = sockets::inode(&socket)?;
        let listens = agreement::settle(&daemon)?;
        let listens =
            listens.iter().filter(|event| events::of_inode(event, inode) && event["phase"] == "listen");
        ensure!(listens.count() == 0, "{style:?}: a listen that never was");
    }
    Ok(())
}

/// Several hundred on one ring, whose threads stay: each is told, whichever thread did it.
#[test]
fn one_ring_makes_many_binds() -> Result<()> {
    const BINDS: u64 = 300;
    if !io_uring::available()? {
        reuse_tests::skip::skip("this kernel's io_uring has no BIND and LISTEN");
        return Ok(());
    }
    let Some((namespace, daemon)) = stage::begin("many", &[])? else { return Ok(()) };
    for style in STYLES {
        let labels = [("family", "ipv4"), ("protocol", "udp"), ("result", "success")];
        let before = daemon.metrics()?.count("reuse_bind_attempts_total", &labels);
        let last = namespace.run(|| {
            let mut ring = Ring::new(style)?;
            let mut last = None;
            for _ in 0..BINDS {
                let socket = sockets::open(Transport::Udp, LOOPBACKS[0])?;
                ring.bind(&socket, SocketAddr::new(LOOPBACKS[0], 0))?;
                last = Some(socket);
            }
            last.context("sockets were made")
        })?;
        let event = events::wait_for(&daemon, &last, "bind", "bind")?;
        let comm = event["contender"]["comm"].as_str().unwrap_or_default();
        ensure!(!comm.starts_with("iou-"), "a thread of io_uring's own: {event}");
        agreement::settle(&daemon)?;
        let after = daemon.metrics()?.count("reuse_bind_attempts_total", &labels);
        ensure!(after >= before + BINDS, "{style:?}");
    }
    Ok(())
}

/// A request that waited is done at the end of whatever call its thread makes then, here of binds.
#[test]
fn a_bind_done_at_the_end_of_another_call_is_io_uring_s() -> Result<()> {
    const ROUNDS: usize = 5;
    if !io_uring::available()? {
        reuse_tests::skip::skip("this kernel's io_uring has no BIND and LISTEN");
        return Ok(());
    }
    let Some((namespace, daemon)) = stage::begin("deferred", &[])? else { return Ok(()) };
    let address = SocketAddr::new(LOOPBACKS[0], 0);
    for round in 0..ROUNDS {
        let socket = namespace.run(|| {
            let bound = sockets::bound(Transport::Udp, address)?;
            let socket = sockets::open(Transport::Udp, LOOPBACKS[0])?;
            let (awaited, trigger) = std::io::pipe()?;
            let tries = AtomicUsize::new(0);
            let mut ring = Ring::new(Style::Plain)?;
            thread::scope(|scope| {
                // Once the other thread is in the middle of its calls.
                let writer = scope.spawn(|| {
                    while tries.load(Relaxed) < 20 {
                        thread::yield_now();
                    }
                    (&trigger).write_all(b"x")
                });
                ring.bind_once_readable(awaited.as_fd(), &socket, address, || {
                    // Refused: it is bound.
                    let _ = bound.bind(&address.into());
                    tries.fetch_add(1, Relaxed);
                })?;
                writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })?;
            Ok(socket)
        })?;
        let event = events::wait_for(&daemon, &socket, "bind", "bind").with_context(|| format!("{round}"))?;
        assert_fields(&event["contender"], &json!({ "via": "io_uring" }));
    }
    agreement::settle(&daemon).map(drop)
}

/// Linux 6.1 has no such request: it is answered before any socket is looked at, so nothing was tried.
#[test]
fn a_kernel_without_the_request_has_nothing_to_tell() -> Result<()> {
    if io_uring::available()? {
        reuse_tests::skip::skip("this kernel's io_uring has BIND and LISTEN");
        return Ok(());
    }
    let Some((namespace, daemon)) = stage::begin("absent", &[])? else { return Ok(()) };
    let socket = namespace.run(|| {
        let socket = sockets::open(Transport::Tcp, LOOPBACKS[0])?;
        let mut ring = Ring::new(Style::Plain)?;
        let outcome = ring.bind(&socket, SocketAddr::new(LOOPBACKS[0], 0));
        ensure!(result_name(&outcome) == "EINVAL", "{outcome:?}");
        // What comes after it on the same thread: once that is told, anything before is.
        socket.bind(&SocketAddr::new(LOOPBACKS[0], 0).into())?;
        Ok(socket)
    })?;
    events::wait_for(&daemon, &socket, "bind", "bind")?;
    let inode = sockets::inode(&socket)?;
    let told = agreement::settle(&daemon)?.into_iter().filter(|event| events::of_inode(event, inode)).count();
    ensure!(told == 1, "{told} events");
    Ok(())
}
