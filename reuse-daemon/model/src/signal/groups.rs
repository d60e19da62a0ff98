//! What is told of a SO_REUSEPORT group as a whole.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    Kind, Role, Severity,
    active::Active,
    state::{State, StateKey, Subject, in_role, place, who},
};
use crate::{
    event::{Moment, Touched},
    group::{Generations, Group, GroupKey, Member},
    inventory::{PortKey, Socket},
    socket::Selector,
};

/// Who set what decides in a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steering {
    /// What was set
    pub(super) what: Touched,
    /// By whom
    pub(super) pid: u32,
    /// By a process of a member, before anything was selected
    pub(super) at_start: bool,
    /// When
    pub(super) at: Moment,
}

/// What is known of steering, by group; groups that are gone are forgotten.
#[derive(Debug, Default)]
pub(super) struct Steered(HashMap<GroupKey, Steering>);

impl Steered {
    /// Something that decides in a group was set.
    pub(super) fn set(&mut self, group: GroupKey, steering: Steering) {
        self.0.insert(group, steering);
    }

    /// Whether that is known.
    pub(super) fn is_set(&self, group: &GroupKey, what: Touched, pid: u32) -> bool {
        self.0.get(group).is_some_and(|set| set.what == what && set.pid == pid)
    }

    /// A program was detached.
    pub(super) fn clear(&mut self, group: &GroupKey) {
        self.0.remove(group);
    }

    /// Forgets what is no group any more.
    pub(super) fn retain(&mut self, is_group: impl Fn(&GroupKey) -> bool) {
        self.0.retain(|key, _| is_group(key));
    }
}

/// How a group is to be judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// It is looked at for the first time, and was there before the daemon
    pub(super) found: bool,
    /// What is set on a socket is told, so that what was not told was set before the socket had its port
    pub(super) options_are_told: bool,
}

/// Appends what is to be told of a group.
pub(super) fn look(
    port: PortKey,
    group: &Group,
    steered: &Steered,
    circumstances: Circumstances,
    states: &mut Vec<State>,
) {
    states.extend(steering(port, group, steered, circumstances));
    states.extend(overlapping_generations(port, group));
    for (_, member, _) in group.members().filter(|(_, member, _)| member.is_stalled()) {
        states.push(stalled(port, group, member));
    }
}

/// Whether a look at the group would show anything but its generations.
pub(super) fn is_conspicuous(group: &Group) -> bool {
    group.pick().is_some_and(|pick| pick.selector != Selector::Hash)
        || group.members().any(|(_, member, _)| member.is_stalled())
}

/// Whether a look at a group would begin or end a signal of what its counts show.
pub(super) fn has_news(port: PortKey, group: &Group, known: Option<&BTreeMap<StateKey, Active>>) -> bool {
    let lasts = |kind, subject| {
        let key = StateKey { port, kind, subject, other: None };
        known.is_some_and(|known| known.contains_key(&key))
    };
    let is_steered = group.pick().is_some_and(|pick| pick.selector != Selector::Hash);
    is_steered != lasts(Kind::GroupSteering, Subject::Group(*group.key()))
        || group.members().any(|(_, member, _)| {
            member.is_stalled() != lasts(Kind::StalledMember, Subject::Socket(member.socket.facts.inode))
        })
}

fn steering(port: PortKey, group: &Group, steered: &Steered, circumstances: Circumstances) -> Option<State> {
    let selector = group.pick()?.selector;
    let first = group.members().next()?.1;
    let what = match selector {
        Selector::Hash => return None,
        Selector::ClassicBpf => "a classic BPF program",
        Selector::Ebpf => "an eBPF program",
        Selector::IncomingCpu => "SO_INCOMING_CPU",
    };
    let set = steered.0.get(group.key()).filter(|set| match set.what {
        Touched::IncomingCpu => selector == Selector::IncomingCpu,
        _ => selector != Selector::IncomingCpu,
    });
    let is_usual = match set {
        Some(set) => set.at_start,
        None => {
            let from_the_start = group.first_pick().is_some_and(|first| first.selector == selector);
            circumstances.found || circumstances.options_are_told || from_the_start
        }
    };
    let by = set.map_or_else(String::new, |set| format!(", set by pid {}", set.pid));
    let sockets: Vec<_> = group.members().map(|(_, member, _)| &member.socket).collect();
    Some(State {
        key: StateKey { port, kind: Kind::GroupSteering, subject: Subject::Group(*group.key()), other: None },
        severity: if is_usual { Severity::Info } else { Severity::Warning },
        parties: in_role(Role::Member, sockets).collect(),
        began: set.map(|set| set.at),
        seen: format!(
            "{what} decides which of {} members of the group at {} gets a flow, not the hash alone{by}",
            group.len(),
            place(&first.socket)
        ),
    })
}

fn overlapping_generations(port: PortKey, group: &Group) -> Option<State> {
    let sockets: Vec<&Arc<Socket>> = group.members().map(|(_, member, _)| &member.socket).collect();
    let generations = Generations::of(sockets.iter().map(|socket| &***socket));
    let (earlier, later): (Vec<_>, Vec<_>) =
        sockets.into_iter().partition(|socket| generations.is_earlier(socket));
    let (old, new) = (*earlier.first()?, *later.first()?);
    let parties = in_role(Role::Member, earlier).chain(in_role(Role::Member, later));
    Some(State {
        key: StateKey {
            port,
            kind: Kind::GenerationOverlap,
            subject: Subject::Group(*group.key()),
            other: None,
        },
        severity: Severity::Info,
        parties: parties.collect(),
        began: None,
        seen: format!(
            "{} still has its share of {} beside {}, which started later: one of them was to replace the other",
            who(old),
            place(old),
            who(new)
        ),
    })
}

fn stalled(port: PortKey, group: &Group, member: &Member) -> State {
    let socket = &member.socket;
    let others: Vec<_> = group
        .members()
        .map(|(_, other, _)| &other.socket)
        .filter(|other| other.facts.inode != socket.facts.inode)
        .collect();
    let parties = in_role(Role::Holder, [socket]).chain(in_role(Role::Member, others));
    State {
        key: StateKey {
            port,
            kind: Kind::StalledMember,
            subject: Subject::Socket(socket.facts.inode),
            other: None,
        },
        severity: Severity::Warning,
        parties: parties.collect(),
        began: None,
        seen: format!(
            "{} accepts nothing at {} while {} connections wait and its queue is full: its share of new connections fails",
            who(socket),
            place(socket),
            member.queue
        ),
    }
}
