//! A server's account of its members, beside the daemon's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    daemon::Daemon,
    deadline::{self, PROMPT},
    groups,
    namespace::Namespace,
};

/// Connections, or datagrams, by the inode of the member that got them.
pub type Account = BTreeMap<u64, u64>;

impl Daemon {
    /// The members of the group at this port of the namespace, once there are `size`.
    ///
    /// # Errors
    /// When there are not in time.
    pub fn members_at(
        &self,
        namespace: &Namespace,
        protocol: &str,
        port: u16,
        size: usize,
    ) -> Result<BTreeSet<u64>> {
        deadline::until(&format!("{size} members at {protocol} port {port}"), PROMPT, || {
            let groups = self.groups()?;
            let Some(group) = groups.iter().find(|group| is_at(group, namespace, protocol, port)) else {
                return Ok(None);
            };
            let members: BTreeSet<u64> = groups::members(group)?.into_keys().collect();
            Ok((members.len() == size).then_some(members))
        })
    }

    /// What was selected at this port of the namespace in all, also by members that are gone.
    ///
    /// # Errors
    /// When the daemon has no such counter.
    pub fn selected_at(&self, namespace: &Namespace, protocol: &str, port: u16) -> Result<u64> {
        let filter = [("netns", namespace.name()), ("protocol", protocol), ("port", &port.to_string())];
        let metrics = self.metrics()?;
        metrics
            .sum("reuse_group_selections_total", &filter)
            .with_context(|| format!("no series {filter:?}"))?;
        Ok(metrics.count("reuse_group_selections_total", &filter))
    }
}

fn is_at(group: &Value, namespace: &Namespace, protocol: &str, port: u16) -> bool {
    group["netns_name"] == namespace.name() && group["protocol"] == protocol && group["port"] == port
}

/// Compares the daemon's count of every member of a group with the server's, which has them all.
///
/// # Errors
/// When the daemon does not answer.
///
/// # Panics
/// When they are not equal, or the daemon lost anything. A run of a program that the kernel skipped is no loss where they
/// are equal: it was for a socket outside of the group, of which the host has many.
pub fn assert_agreement(daemon: &Daemon, server: &Account) -> Result<()> {
    let (inode, _) = server.first_key_value().context("a server with a member")?;
    let shown = groups::members(&groups::of_inode(daemon, *inode)?)?;
    let counted: Account = shown.into_iter().map(|(inode, member)| (inode, member.selections)).collect();
    let metrics = daemon.metrics()?;
    let (lost, skipped): (Vec<_>, Vec<_>) = metrics
        .series("reuse_daemon_events_lost_total", &[])
        .filter(|(_, lost)| *lost > 0.0)
        .partition(|(labels, _)| labels.get("stage").is_none_or(|stage| stage != "program_skipped"));
    assert_eq!(counted, *server, "the daemon's counts and the server's; skipped: {skipped:?}");
    assert!(lost.is_empty(), "the daemon lost {lost:?}");
    Ok(())
}

/// TCP connections that were begun inside the namespace since it was made, by the kernel's count (`ActiveOpens` of
/// RFC 4022 in `/proc/net/snmp`).
///
/// # Errors
/// When the kernel does not say.
pub fn connections_made(namespace: &Namespace) -> Result<u64> {
    let path = "/proc/thread-self/net/snmp";
    let text = namespace.run(|| std::fs::read_to_string(path).context(path))?;
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (rows.next().context("no names")?, rows.next().context("no values")?);
    let mut columns = names.split_whitespace().zip(values.split_whitespace());
    let (_, value) = columns.find(|(name, _)| *name == "ActiveOpens").context("no ActiveOpens")?;
    value.parse().with_context(|| format!("ActiveOpens: {value:?}"))
}
