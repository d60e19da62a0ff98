//! TIME_WAIT: whom it keeps out, for how long, and that UDP has none.

use std::{
    fs, io,
    net::SocketAddrV4,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use socket2::Socket;

use super::{
    finding::Finding,
    namespace::Private,
    socket::{Options, Spec, TCP, UDP},
};

/// include/net/tcp_states.h, `TCP_TIME_WAIT`
const TIME_WAIT: u8 = 6;
/// `TCP_TIMEWAIT_LEN` of include/net/tcp.h
const LASTS: Duration = Duration::from_secs(60);
/// How much later the kernel's timer may end it: its wheel has slots of an eighth of the time (kernel/time/timer.c)
const LATE: Duration = Duration::from_secs(9);
/// How long closing may take on a slow machine
const PATIENCE: Duration = Duration::from_secs(5);
/// Setting of how long FIN_WAIT2 lasts, which is often taken for TIME_WAIT's
const FIN_TIMEOUT: &str = "/proc/sys/net/ipv4/tcp_fin_timeout";

pub(super) fn blocks(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    let (bound, text) = bind_over(namespace, TCP, TCP)?;
    finding.claimed(!bound, text);
    for both in [TCP.reuseaddr(), TCP.reuseport()] {
        let (bound, text) = bind_over(namespace, both, both)?;
        finding.exception(bound, text);
    }
    Ok(finding)
}

pub(super) fn reuseaddr_new_only(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    let (bound, text) = bind_over(namespace, TCP, TCP.reuseaddr())?;
    finding.claimed(bound, text);
    Ok(finding)
}

pub(super) fn reuseaddr_both(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    let (bound, text) = bind_over(namespace, TCP.reuseaddr(), TCP.reuseaddr())?;
    finding.claimed(bound, text);
    Ok(finding)
}

/// Tries to bind where only the TIME_WAIT of such a connection is: whether it succeeds, and in words.
fn bind_over(namespace: &Private, connection: Spec, new: Spec) -> anyhow::Result<(bool, String)> {
    let at = leave(namespace, connection)?;
    let bound = new.bind(at)?;
    let text = format!("{bound}, over TIME_WAIT of a connection{}", Options(connection));
    Ok((bound.succeeded(), text))
}

pub(super) fn duration(namespace: &Private) -> anyhow::Result<Finding> {
    let mut finding = Finding::default();
    // This namespace's own setting.
    let shortened = fs::write(FIN_TIMEOUT, "5").is_ok();
    let at = leave(namespace, TCP)?;
    let began = Instant::now();
    let took = loop {
        if TCP.bind(at)?.succeeded() {
            break began.elapsed();
        }
        if began.elapsed() > LASTS + 2 * LATE {
            anyhow::bail!(
                "{at} is still taken {:.0} s after the connection closed",
                began.elapsed().as_secs_f64()
            );
        }
        thread::sleep(Duration::from_millis(50));
    };
    let seconds = took.as_secs_f64();
    finding.claimed(
        (2.0..=240.0).contains(&seconds),
        format!("{at} was free again {seconds:.1} s after the close"),
    );
    let constant = took + Duration::from_secs(1) >= LASTS && took <= LASTS + LATE;
    if shortened {
        finding.exception(constant, "tcp_fin_timeout was 5 s meanwhile: the 60 s are a constant");
    } else {
        finding
            .known(constant, "60 s, a constant; tcp_fin_timeout could not be set to see that it has no say");
    }
    let (at, server, client) = connect(namespace, TCP)?;
    server.set_linger(Some(Duration::ZERO))?;
    drop((server, client));
    let bound = TCP.bind(at)?;
    finding.exception(bound.succeeded(), format!("{bound}, right after a connection there was reset"));
    Ok(finding)
}

pub(super) fn tcp_only(namespace: &Private) -> anyhow::Result<Finding> {
    const TIMES: usize = 20;
    let mut finding = Finding::default();
    let at = namespace.address();
    let mut free = 0;
    for _ in 0..TIMES {
        let bound = UDP.bind(at)?;
        free += usize::from(bound.succeeded());
        if bound.succeeded() {
            let client = UDP.open()?;
            client.connect(&at.into())?;
            bound.socket.connect(&client.local_addr()?)?;
            client.send(b"x")?;
        }
    }
    finding.claimed(
        free == TIMES,
        format!("{free} of {TIMES} udp sockets that used {at} one after the other bound it at once"),
    );
    Ok(finding)
}

/// Leaves a connection's server side in TIME_WAIT, and nothing else on its address.
pub(super) fn leave(namespace: &Private, spec: Spec) -> anyhow::Result<SocketAddrV4> {
    let (at, server, client) = connect(namespace, spec)?;
    // Who closes first has to wait.
    drop(server);
    drop(client);
    let began = Instant::now();
    loop {
        let states = namespace.tcp_states(at).context("cannot read the state of connections")?;
        if states == [TIME_WAIT] {
            return Ok(at);
        }
        if began.elapsed() > PATIENCE {
            anyhow::bail!(
                "a connection to {at} was closed on both sides and is not in TIME_WAIT: {states:?}"
            );
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A connection whose listener is gone: its address, the accepted side, the other.
fn connect(namespace: &Private, spec: Spec) -> anyhow::Result<(SocketAddrV4, Socket, Socket)> {
    let at = namespace.address();
    let connected = || -> io::Result<_> {
        let listener = spec.open().map_err(io::Error::other)?;
        listener.bind(&at.into())?;
        listener.listen(1)?;
        let client = TCP.open().map_err(io::Error::other)?;
        client.connect(&at.into())?;
        let (server, _) = listener.accept()?;
        Ok((server, client))
    };
    let (server, client) = connected().with_context(|| format!("cannot connect to {at}"))?;
    Ok((at, server, client))
}
