//! The figures of one group, or of several that share a label set.

use std::collections::BTreeSet;

use reuse_model::{
    distribution::Spread,
    group::{Group, Verdict},
    tally::OTHER,
};

/// Most services that `reuse_group_info` names.
const SERVICES_MAX: usize = 8;

/// What one label set shows of its groups.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) members: u64,
    /// `None` where nobody is in it, or it stands for groups that were folded
    pub(super) info: Option<Info>,
    /// `None` where flows are not counted
    pub(super) spread: Option<Spread>,
    pub(super) verdict: Option<Verdict>,
}

/// Labels of `reuse_group_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    /// Names in order, with commas between
    pub(super) services: String,
    /// Empty where it was not read
    pub(super) selector: &'static str,
}

impl Figures {
    /// The figures of the groups of one label set. Their flows are not compared across groups: of several, the one that is
    /// least like a fair choice stands for all. `counted`: whether selections are.
    pub(super) fn of(groups: &[&Group], counted: bool) -> Self {
        let members = groups.iter().map(|group| group.len() as u64).sum();
        let spreads = groups.iter().map(|group| (group, group.spread().filter(|_| counted)));
        let unlikely = |spread: &Option<Spread>| {
            let p_value = spread.and_then(|spread| spread.p_value);
            // Without a p-value the one with most flows tells most.
            (p_value.unwrap_or(f64::MAX), std::cmp::Reverse(spread.map_or(0, |spread| spread.flows)))
        };
        let first = spreads.min_by(|(_, one), (_, other)| {
            let (one, other) = (unlikely(one), unlikely(other));
            one.0.total_cmp(&other.0).then(one.1.cmp(&other.1))
        });
        let Some((group, spread)) = first else { return Self { members, ..Self::default() } };
        let info = (members > 0).then(|| Info {
            services: services(groups),
            selector: group.pick().map_or("", |pick| pick.selector.as_str()),
        });
        Self { members, info, spread, verdict: group.verdict() }
    }
}

/// Who has the members' sockets open.
fn services(groups: &[&Group]) -> String {
    let members = groups.iter().flat_map(|group| group.members());
    let owners = members.filter_map(|(_, member, _)| member.socket.owners.first());
    let names: BTreeSet<&str> = owners.map(|owner| &*owner.process.service).collect();
    let mut shown: Vec<&str> = names.iter().copied().take(SERVICES_MAX).collect();
    if names.len() > SERVICES_MAX {
        shown.push(OTHER);
    }
    shown.join(",")
}
