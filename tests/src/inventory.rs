//! Reading the daemon's table of sockets, entry by entry.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{daemon::Daemon, deadline};

/// How soon a change that the kernel tells must be in the table.
pub const CURRENT: Duration = Duration::from_secs(2);
/// How soon one that it does not tell: fork() and a close() that leaves the socket open elsewhere are found by the
/// periodic reconciliation.
pub const RECONCILED: Duration = Duration::from_secs(15);
/// The table's entry of a socket.
///
/// # Errors
/// When the daemon does not answer.
///
/// # Panics
/// When the socket is listed more than once.
pub fn find(daemon: &Daemon, inode: u64) -> Result<Option<Value>> {
    let mut found: Vec<Value> =
        daemon.sockets()?.into_iter().filter(|socket| socket["inode"] == inode).collect();
    assert!(found.len() <= 1, "inode {inode} listed {} times: {found:?}", found.len());
    Ok(found.pop())
}

/// Waits until the table shows the socket as `accept` wants it.
///
/// # Errors
/// When it does not within `limit`; the message carries what it shows instead.
pub fn shown(
    daemon: &Daemon,
    inode: u64,
    limit: Duration,
    what: &str,
    accept: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let mut last = Value::Null;
    let outcome = deadline::until(what, limit, || {
        last = find(daemon, inode)?.unwrap_or_default();
        Ok((!last.is_null() && accept(&last)).then(|| last.clone()))
    });
    outcome.with_context(|| format!("inode {inode}, shown as {last}"))
}

/// Waits until the socket is no longer in the table.
///
/// # Errors
/// When it stays.
pub fn gone(daemon: &Daemon, inode: u64) -> Result<()> {
    deadline::until("the socket leaves the table", CURRENT, || {
        Ok(find(daemon, inode)?.is_none().then_some(()))
    })
    .with_context(|| format!("inode {inode}"))
}

/// Process ids of the owners of an entry.
#[must_use]
pub fn owner_pids(socket: &Value) -> BTreeSet<u64> {
    let owners = socket["owners"].as_array().map(Vec::as_slice).unwrap_or_default();
    owners.iter().filter_map(|owner| owner["pid"].as_u64()).collect()
}
