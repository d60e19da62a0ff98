//! How connections to one address are shared out among workers, by the way they wait for them.

mod worker;

use std::{
    net::SocketAddrV4,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use reuse_model::claim::{Arrival, Comparison, Waiting};
use socket2::Socket;

use self::worker::Worker;
use super::{
    namespace::Private,
    socket::{Spec, TCP},
};

const WORKERS: usize = 4;
/// Connections of one run
const CONNECTIONS: u64 = 2_000;
/// Threads that connect in a burst
const CLIENTS: u64 = 4;
/// Between two connections that are paced: longer than a worker needs to wait again
const PAUSE: Duration = Duration::from_micros(200);
/// Room for a whole burst, and for one listener's share of it at its worst
const BACKLOG: i32 = 4_096;
/// How long workers may take for what is queued
const PATIENCE: Duration = Duration::from_secs(30);

/// Every way of waiting under every way of arriving.
///
/// # Errors
/// A socket, thread or connection cannot be made, or connections are not accepted.
pub fn compare(namespace: &Private) -> anyhow::Result<Vec<Comparison>> {
    let each = Waiting::ALL.into_iter().flat_map(|waiting| Arrival::ALL.map(|arrival| (waiting, arrival)));
    each.map(|(waiting, arrival)| run(namespace, waiting, arrival)).collect()
}

fn run(namespace: &Private, waiting: Waiting, arrival: Arrival) -> anyhow::Result<Comparison> {
    let at = namespace.address();
    let listeners = match waiting {
        Waiting::Reuseport => {
            (0..WORKERS).map(|_| listen(TCP.reuseport(), at)).collect::<anyhow::Result<Vec<_>>>()?
        }
        _ => vec![listen(TCP, at)?],
    };
    let of_worker = |number: usize| listeners.get(number).or(listeners.first());
    let workers = (0..WORKERS)
        .map(|number| Worker::new(of_worker(number).context("no listener")?, waiting))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let total = AtomicU64::new(0);
    let accepted = thread::scope(|scope| {
        let total = &total;
        let working: Vec<_> = workers.iter().map(|worker| scope.spawn(|| worker.work(total))).collect();
        let arrived = match arrival {
            Arrival::Paced => connect(at, CONNECTIONS, PAUSE),
            Arrival::Burst => burst(at),
        };
        let served = arrived.and_then(|()| until_served(total));
        // Wakes everyone who waits, for good (net/ipv4/af_inet.c, `inet_shutdown`).
        for listener in &listeners {
            let _ = listener.shutdown(std::net::Shutdown::Both);
        }
        let accepted: Vec<_> = working
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        served?;
        accepted.into_iter().collect::<std::io::Result<Vec<u64>>>().context("a worker cannot accept")
    })?;
    Ok(Comparison::new(waiting, arrival, accepted))
}

fn listen(spec: Spec, at: SocketAddrV4) -> anyhow::Result<Socket> {
    let socket = spec.hold(at)?.socket;
    socket.listen(BACKLOG).with_context(|| format!("cannot listen on {at}"))?;
    Ok(socket)
}

fn connect(at: SocketAddrV4, count: u64, pause: Duration) -> anyhow::Result<()> {
    for _ in 0..count {
        let client = TCP.open()?;
        client.connect(&at.into()).with_context(|| format!("cannot connect to {at}"))?;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    Ok(())
}

fn burst(at: SocketAddrV4) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(move || connect(at, CONNECTIONS / CLIENTS, Duration::ZERO)))
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn until_served(total: &AtomicU64) -> anyhow::Result<()> {
    let began = Instant::now();
    while total.load(Relaxed) < CONNECTIONS {
        if began.elapsed() > PATIENCE {
            anyhow::bail!("only {} of {CONNECTIONS} connections were accepted", total.load(Relaxed));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
