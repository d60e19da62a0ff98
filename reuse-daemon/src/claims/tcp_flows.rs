//! Connections to listeners of one SO_REUSEPORT group, one after the other: how many each got.

use std::{
    io::{self, ErrorKind},
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use socket2::Socket;

use super::socket::TCP;

/// How long a connection may take to be in a listener's queue
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects `connections` times to a group of `members` listeners; what each accepted.
pub(super) fn accepted(at: SocketAddrV4, members: usize, connections: u32) -> anyhow::Result<Vec<u64>> {
    let mut group = Vec::with_capacity(members);
    for _ in 0..members {
        let bound = TCP.reuseport().hold(at)?;
        bound.socket.listen(16).with_context(|| format!("cannot listen on {at}"))?;
        bound.socket.set_nonblocking(true)?;
        group.push((bound.socket, 0));
    }
    for _ in 0..connections {
        let client = TCP.open()?;
        client.connect(&at.into()).with_context(|| format!("cannot connect to {at}"))?;
        accept_one(&mut group, at)?;
        // Its end is a reset: thousands in TIME_WAIT would serve nobody.
        client.set_linger(Some(Duration::ZERO))?;
    }
    Ok(group.into_iter().map(|(_, count)| count).collect())
}

fn accept_one(group: &mut [(Socket, u64)], at: SocketAddrV4) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        for (listener, count) in group.iter_mut() {
            if accept(listener)? {
                *count += 1;
                return Ok(());
            }
        }
        if began.elapsed() > PATIENCE {
            anyhow::bail!("a connection to {at} came to none of its {} listeners", group.len());
        }
    }
}

fn accept(listener: &Socket) -> io::Result<bool> {
    match listener.accept() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
