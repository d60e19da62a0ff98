//! What happened between two looks at the groups.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use reuse_model::{
    endpoint::Transport,
    report::{GroupReport, MemberReport},
};

/// What tells one group from another.
type Key = (u32, Transport, IpAddr, u16, bool, u32, Option<String>);

/// Selections of each slot between two looks.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    elapsed: Duration,
    grown: HashMap<Key, Grown>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Grown {
    members: HashMap<u32, u64>,
    total: u64,
}

impl Rates {
    /// The difference between two looks that lie `elapsed` apart. A group or member that was not there before had nothing.
    #[must_use]
    pub fn between(before: &[GroupReport], after: &[GroupReport], elapsed: Duration) -> Self {
        let earlier: HashMap<_, HashMap<_, _>> =
            before.iter().map(|group| (key(group), counts(group))).collect();
        let grown = after.iter().map(|group| {
            let earlier = earlier.get(&key(group));
            let new = |slot, count: u64| {
                let before = earlier.and_then(|members| members.get(&slot)).copied().unwrap_or(0);
                // Less than before is another group of the same key: the daemon began anew.
                count.checked_sub(before).unwrap_or(count)
            };
            let members: HashMap<_, _> =
                counts(group).into_iter().map(|(slot, count)| (slot, new(slot, count))).collect();
            let total = members.values().sum();
            (key(group), Grown { members, total })
        });
        Self { elapsed, grown: grown.collect() }
    }

    /// Selections a second of one member.
    pub(super) fn rate(&self, group: &GroupReport, member: &MemberReport) -> Option<f64> {
        let grown = self.grown.get(&key(group))?.members.get(&member.member)?;
        let seconds = self.elapsed.as_secs_f64();
        (seconds > 0.0).then(|| *grown as f64 / seconds)
    }

    /// The member's share of what the group got; `None` where that is nothing.
    pub(super) fn share(&self, group: &GroupReport, member: &MemberReport) -> Option<f64> {
        let grown = self.grown.get(&key(group))?;
        let own = *grown.members.get(&member.member)?;
        (grown.total > 0).then(|| own as f64 / grown.total as f64)
    }

    /// Selections a second of all groups.
    #[must_use]
    pub fn total(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        let total: u64 = self.grown.values().map(|grown| grown.total).sum();
        if seconds > 0.0 { total as f64 / seconds } else { 0.0 }
    }
}

fn key(group: &GroupReport) -> Key {
    let device = group.device.as_deref().map(str::to_owned);
    (group.netns, group.protocol, group.address, group.port, group.v6only, group.uid, device)
}

fn counts(group: &GroupReport) -> HashMap<u32, u64> {
    let counted = |member: &MemberReport| member.selections.map(|selections| (member.member, selections));
    group.members.iter().filter_map(counted).collect()
}
