//! What would let two sockets share: for each rule its alternatives, each a set of steps that is enough for the pair.

mod sentence;
#[cfg(test)]
mod tests;
mod words;

use super::{Blocker, Contender, Kernel, contender::uid_of, pair::Pair};
use crate::{
    endpoint::Transport,
    port::{Occupant, Port, Tenure},
    refusal::Rule,
    socket::State,
};

/// The two options that let sockets share a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReuseOption {
    /// `SO_REUSEADDR`
    Address,
    /// `SO_REUSEPORT`
    Port,
}

/// How a holder goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Departure {
    /// Its process closes it, and the port is free at once
    Close,
    /// Its process ends the connection, which may then have to pass through TIME_WAIT
    EndConnection,
    /// The listener is closed, which resets what it has not accepted
    CloseListener,
    /// The part of the kernel that uses it is shut down
    StopKernelService,
    /// By itself: nobody has it any more
    Expire,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// The holder is a connection in a listener's queue: it must be accepted before anyone can set its options
    Accept,
    /// Set the option on the holder; it counts at once
    HolderSets(ReuseOption),
    /// Set the option on the contender before it asks
    ContenderSets(ReuseOption),
    /// Create the contender's socket under this uid
    ContenderUid(u32),
    /// Make the contender's socket anew, and attach its reuseport program after `bind` (UDP) or `listen` (TCP)
    ProgramLater,
    /// Ask for another address or port
    Elsewhere,
    /// The holder goes
    Leave(Departure),
}

/// The alternatives for a pair, each enough for it alone; none where it coexists.
///
/// [`Departure::Expire`] takes what [`Occupant::expires_in`] says, where the socket is in TIME_WAIT.
#[must_use]
pub fn alternatives(kernel: &Kernel, contender: &Contender, occupant: &Occupant) -> Vec<Vec<Step>> {
    let pair = Pair { kernel, contender, occupant };
    let Some(rule) = pair.rule() else { return Vec::new() };
    let leave = vec![Step::Leave(departure(contender.transport, occupant))];
    let by = |option| path(&pair, option);
    let ways = match rule {
        Rule::ReuseportUidMismatch | Rule::ReuseportProgramAttached => {
            vec![by(ReuseOption::Port), Some(leave)]
        }
        Rule::HolderIsListening => vec![Some(leave), by(ReuseOption::Port)],
        Rule::Exclusive => {
            vec![Some(leave), Some(vec![Step::Elsewhere]), by(ReuseOption::Address), by(ReuseOption::Port)]
        }
        Rule::HolderLacksReuseport | Rule::ContenderLacksReuseport => {
            vec![by(ReuseOption::Port), Some(leave)]
        }
        Rule::HolderLacksReuseaddr | Rule::ContenderLacksReuseaddr => {
            vec![by(ReuseOption::Address), Some(leave)]
        }
        Rule::HolderIsClosing | Rule::TimeWait => {
            let option = if occupant.reuse.is_set() { ReuseOption::Address } else { ReuseOption::Port };
            vec![Some(leave), by(option)]
        }
        _ => Vec::new(),
    };
    ways.into_iter().flatten().collect()
}

/// Everything that is missing for the two to share by `option`; `None` where that cannot be brought about.
fn path(pair: &Pair<'_>, option: ReuseOption) -> Option<Vec<Step>> {
    let Pair { kernel, contender, occupant } = *pair;
    let (ours, theirs) = match option {
        ReuseOption::Address => (contender.reuse.is_set(), occupant.reuse.is_set()),
        ReuseOption::Port => (contender.reuseport, occupant.reuseport),
    };
    let changeable = !occupant.kernel && occupant.tenure != Tenure::Orphan;
    if !theirs && !changeable {
        return None;
    }
    // Accepting gives the connection an owner, whose uid then counts.
    let accept = !theirs && occupant.tenure == Tenure::Unaccepted;
    let tenure = if accept { Tenure::Held } else { occupant.tenure };
    let holder = Occupant { tenure, ..occupant.clone() };
    let regroup = option == ReuseOption::Port;
    let uid = (regroup && !contender.same_uid(kernel, &holder)).then(|| uid_of(kernel, &holder));
    let steps = [
        accept.then_some(Step::Accept),
        (!theirs).then_some(Step::HolderSets(option)),
        (!ours).then_some(Step::ContenderSets(option)),
        match uid {
            Some(uid) => Some(Step::ContenderUid(uid?)),
            None => None,
        },
        (regroup && contender.group_forbids()).then_some(Step::ProgramLater),
    ];
    Some(steps.into_iter().flatten().collect())
}

fn departure(transport: Transport, occupant: &Occupant) -> Departure {
    match (occupant.tenure, occupant.state) {
        _ if occupant.kernel => Departure::StopKernelService,
        (_, State::TimeWait) | (Tenure::Orphan, _) => Departure::Expire,
        (Tenure::Unaccepted, _) => Departure::CloseListener,
        (Tenure::Held, State::Connected | State::Closing) if transport == Transport::Tcp => {
            Departure::EndConnection
        }
        (Tenure::Held, _) => Departure::Close,
    }
}

/// The alternatives for each of `blockers`, such that one of each together let the contender in, whichever are chosen.
///
/// What is enough for a pair may spoil another: a socket is created under one uid only. Where holders ask for different
/// ones, or a socket that shares with the contender now has another, no alternative changes the uid.
#[must_use]
pub fn alternatives_together(
    kernel: &Kernel,
    contender: &Contender,
    port: &Port,
    blockers: &[Blocker],
) -> Vec<Vec<Vec<Step>>> {
    let holders = || blockers.iter().filter_map(|blocker| port.occupants.get(blocker.occupant));
    let mut each: Vec<_> = holders().map(|holder| alternatives(kernel, contender, holder)).collect();
    let sharing = port
        .occupants
        .iter()
        .filter(|occupant| Pair { kernel, contender, occupant }.shares_by_uid())
        .map(|_| contender.uid);
    let asked = holders().zip(&each).filter(|(_, ways)| ways.iter().any(|way| is_by_uid(way))).filter_map(
        |(holder, ways)| {
            let uid = ways.iter().flatten().find_map(|step| match step {
                Step::ContenderUid(uid) => Some(*uid),
                _ => None,
            });
            uid.or_else(|| (holder.state != State::TimeWait).then_some(contender.uid))
        },
    );
    let mut uids: Vec<u32> = sharing.chain(asked).collect();
    uids.sort_unstable();
    uids.dedup();
    if uids.len() > 1 {
        for ways in &mut each {
            ways.retain(|way| !way.iter().any(|step| matches!(step, Step::ContenderUid(_))));
        }
    }
    each
}

/// Whether an alternative is the way of SO_REUSEPORT, which compares uids.
fn is_by_uid(way: &[Step]) -> bool {
    way.iter().any(|step| {
        matches!(
            step,
            Step::HolderSets(ReuseOption::Port)
                | Step::ContenderSets(ReuseOption::Port)
                | Step::ContenderUid(_)
                | Step::ProgramLater
        )
    })
}

/// What to do about a refusal by `blockers`: a sentence for each rule among them, all of which are needed; each names
/// the alternatives. `number` is the port.
#[must_use]
pub fn sentences(
    kernel: &Kernel,
    contender: &Contender,
    number: u16,
    port: &Port,
    blockers: &[Blocker],
) -> Vec<String> {
    let ways = alternatives_together(kernel, contender, port, blockers);
    let mut rules: Vec<Rule> = Vec::new();
    for blocker in blockers {
        if !rules.contains(&blocker.rule) {
            rules.push(blocker.rule);
        }
    }
    if contender.transport == Transport::Tcp {
        rules.sort_unstable();
    }
    rules
        .into_iter()
        .map(|rule| {
            let of_rule = blockers.iter().zip(&ways).filter(|(blocker, _)| blocker.rule == rule);
            let holders = of_rule
                .filter_map(|(blocker, ways)| Some((port.occupants.get(blocker.occupant)?, ways.as_slice())))
                .collect::<Vec<_>>();
            sentence::Sentence { contender, number, rule, holders: &holders }.to_string()
        })
        .collect()
}
