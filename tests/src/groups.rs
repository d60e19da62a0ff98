//! Reading the daemon's view of SO_REUSEPORT groups, member by member.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{daemon::Daemon, metrics::Metrics};

/// What the daemon says about one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Slot number, the label `member`.
    pub number: String,
    /// Connections or datagrams the kernel selected it for.
    pub selections: u64,
    /// The socket's own drop count.
    pub drops: u64,
}

/// The group one of whose members has this inode.
///
/// # Errors
/// When the daemon knows no such group.
pub fn of_inode(daemon: &Daemon, inode: u64) -> Result<Value> {
    let groups = daemon.groups()?;
    let found = groups.iter().find(|group| {
        group["members"]
            .as_array()
            .is_some_and(|members| members.iter().any(|member| member["inode"] == inode))
    });
    found.cloned().with_context(|| format!("no group with inode {inode} among {} groups", groups.len()))
}

/// Members of a group by inode.
///
/// # Errors
/// When the group is not shaped as documented.
pub fn members(group: &Value) -> Result<BTreeMap<u64, Member>> {
    let list = group["members"].as_array().with_context(|| format!("no members in {group}"))?;
    list.iter()
        .map(|member| {
            let number = |key: &str| member[key].as_u64().with_context(|| format!("{key} of {member}"));
            let slot = match &member["member"] {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                other => bail!("member number {other}"),
            };
            let view = Member { number: slot, selections: number("selections")?, drops: number("drops")? };
            Ok((number("inode")?, view))
        })
        .collect()
}

/// A counter of one member of the group, by the labels of the group's key.
///
/// # Errors
/// When the group has no such key in its JSON.
pub fn member_metric(metrics: &Metrics, family: &str, group: &Value, member: &str) -> Result<u64> {
    let mut filter = vec![("member".to_owned(), member.to_owned())];
    for label in ["protocol", "address", "port", "device", "v6only", "uid", "netns"] {
        // The label is the name of the namespace; the JSON has that beside its inode number.
        let key = if label == "netns" { "netns_name" } else { label };
        let value = match group.get(key).with_context(|| format!("no {key} in {group}"))? {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        filter.push((label.to_owned(), value));
    }
    let filter: Vec<(&str, &str)> =
        filter.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    if metrics.sum(family, &filter).is_none() {
        bail!("no series of {family} with {filter:?}");
    }
    Ok(metrics.count(family, &filter))
}
