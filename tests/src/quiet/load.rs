//! Clients that ask on while a server is changed under them.

use std::{
    net::SocketAddr,
    panic::resume_unwind,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    namespace::Namespace,
    servers::{Outcome, fetch},
};

/// Connections at once, and the time between: the load is steady, and leaves the machine room for the other acts.
const BURST: u64 = 16;
const LULL: Duration = Duration::from_millis(40);

/// Asks these addresses by HTTP again and again, from inside the namespace, while `work` goes on.
///
/// # Errors
/// When `work` fails, or a connection does otherwise than by a reset.
///
/// # Panics
/// Passes on a panic of a client.
pub(super) fn under_load<T>(
    namespace: &Namespace,
    addresses: &[SocketAddr],
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Outcome)> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut sum = Outcome::default();
            while !done.load(Relaxed) {
                for address in addresses {
                    add(&mut sum, fetch(namespace, *address, BURST)?);
                }
                thread::sleep(LULL);
            }
            anyhow::Ok(sum)
        });
        let worked = work();
        done.store(true, Relaxed);
        let sum = clients.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok((worked?, sum.context("clients")?))
    })
}

/// Adds what became of further connections.
pub(super) fn add(sum: &mut Outcome, more: Outcome) {
    sum.answered += more.answered;
    sum.reset += more.reset;
}

/// The sum in words.
pub(super) fn words(Outcome { answered, reset }: Outcome) -> String {
    format!("{answered} answers, {reset} connections reset")
}
