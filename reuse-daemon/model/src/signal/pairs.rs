//! What two sides of a port are to each other.

use std::ops::RangeInclusive;

use super::{
    Kind, Role, Severity,
    meeting::{Meeting, is_dual_stack, is_eligible, is_wildcard, overlap},
    side::{Side, share_multicast},
    state::{State, StateKey, Subject, in_role, place, who},
};
use crate::{
    endpoint::Transport,
    inventory::{PortKey, Socket},
    socket::{SocketFacts, State as SocketState},
};

/// A judgement on two sides: which signal, how grave, who takes.
struct Judgement<'a, 'b> {
    kind: Kind,
    severity: Severity,
    victim: &'b Side<'a>,
    taker: &'b Side<'a>,
}

/// Appends what the sides of a port are to each other.
///
/// `ephemeral`: the ports that the kernel chooses from.
pub(super) fn look(
    port: PortKey,
    sides: &[Side<'_>],
    ephemeral: &RangeInclusive<u16>,
    states: &mut Vec<State>,
) {
    for (place, later) in sides.iter().enumerate().skip(1) {
        for earlier in &sides[..place] {
            states.extend(judge(earlier, later, ephemeral).map(|judgement| judgement.state(port)));
        }
    }
}

/// The first row that fits. `earlier` has the older socket.
fn judge<'a, 'b>(
    earlier: &'b Side<'a>,
    later: &'b Side<'a>,
    ephemeral: &RangeInclusive<u16>,
) -> Option<Judgement<'a, 'b>> {
    if earlier.is_own() || later.is_own() {
        return intrusion(earlier, later);
    }
    if earlier.is_one_program_with(later) {
        return None;
    }
    let judged = squat(earlier, later)
        .or_else(|| squat(later, earlier))
        .or_else(|| repair(earlier, later))
        .or_else(|| share(earlier, later, ephemeral));
    // Whose uid was changed is told of already, and no less gravely.
    let is_told = |judged: &Judgement<'_, '_>| {
        judged.kind > Kind::OwnerChange
            && judged.severity <= Severity::Warning
            && (earlier.changed_hands() || later.changed_hands())
    };
    let judged = judged.filter(|judged| !is_told(judged))?;
    let by_design = share_multicast(&[&*earlier.sockets, &*later.sockets].concat());
    Some(Judgement { severity: if by_design { Severity::Info } else { judged.severity }, ..judged })
}

/// Somebody on a port of the test group, which is the only one of the daemon's own with SO_REUSEPORT.
fn intrusion<'a, 'b>(one: &'b Side<'a>, other: &'b Side<'a>) -> Option<Judgement<'a, 'b>> {
    let (victim, taker) = if one.is_own() { (one, other) } else { (other, one) };
    let is_trapped = victim.facts().flags.reuseport && !taker.is_own();
    (is_trapped && overlap(victim.facts(), taker.facts())).then_some(Judgement {
        kind: Kind::TestGroupIntruder,
        severity: Severity::Critical,
        victim,
        taker,
    })
}

/// Both bound with SO_REUSEADDR, `taker` listens, and so `victim` cannot any more.
fn squat<'a, 'b>(victim: &'b Side<'a>, taker: &'b Side<'a>) -> Option<Judgement<'a, 'b>> {
    let (waits, listens) = (victim.facts(), taker.facts());
    let fits = waits.protocol.transport() == Some(Transport::Tcp)
        && (waits.state, listens.state) == (SocketState::Bound, SocketState::Listen)
        && waits.flags.reuseaddr
        && listens.flags.reuseaddr
        && !listens.forced
        && overlap(waits, listens)
        && victim.is_of_others_than(taker);
    fits.then_some(Judgement { kind: Kind::ListenSquat, severity: Severity::Critical, victim, taker })
}

/// TCP_REPAIR let one of them have the port although the other would have refused it.
fn repair<'a, 'b>(earlier: &'b Side<'a>, later: &'b Side<'a>) -> Option<Judgement<'a, 'b>> {
    let (one, other) = (earlier.facts(), later.facts());
    let waits_or_listens =
        |facts: &SocketFacts| matches!(facts.state, SocketState::Bound | SocketState::Listen);
    let is_group = one.flags.reuseport && other.flags.reuseport && one.uid == other.uid;
    let fits = (one.forced || other.forced)
        && waits_or_listens(one)
        && waits_or_listens(other)
        && !is_group
        && overlap(one, other);
    let severity = match earlier.is_of_another_uid_than(later) {
        true => Severity::Critical,
        false => Severity::Warning,
    };
    // Of two it is the later one's.
    let (victim, taker) = if one.forced && !other.forced { (later, earlier) } else { (earlier, later) };
    fits.then_some(Judgement { kind: Kind::RepairBind, severity, victim, taker })
}

/// Both are given traffic that could be the other's.
fn share<'a, 'b>(
    earlier: &'b Side<'a>,
    later: &'b Side<'a>,
    ephemeral: &RangeInclusive<u16>,
) -> Option<Judgement<'a, 'b>> {
    let (one, other) = (earlier.facts(), later.facts());
    if !is_eligible(one) || !is_eligible(other) {
        return None;
    }
    let uids_differ = earlier.is_of_another_uid_than(later);
    let shadow = |kind, takes: bool| {
        let severity = match () {
            () if uids_differ => Severity::Critical,
            () if earlier.is_of_another_service_than(later) => Severity::Warning,
            () => Severity::Info,
        };
        let (victim, taker) = if takes { (later, earlier) } else { (earlier, later) };
        Some(Judgement { kind, severity, victim, taker })
    };
    match Meeting::of(one, other)? {
        Meeting::Family if !overlap(one, other) && met_by_chance(earlier, later, ephemeral) => None,
        // The IPv4 socket gets what a dual-stack one would (lookup scores, net/ipv4/inet_hashtables.c, Linux 6.18).
        Meeting::Family => shadow(Kind::FamilyShadow, is_dual_stack(other) && !is_dual_stack(one)),
        Meeting::Device => shadow(Kind::DeviceShadow, one.device.is_some() && other.device.is_none()),
        Meeting::Specific => shadow(Kind::MoreSpecificShadow, is_wildcard(other)),
        Meeting::Same if uids_differ => Some(Judgement {
            kind: Kind::ForeignUidShare,
            severity: Severity::Critical,
            victim: earlier,
            taker: later,
        }),
        Meeting::Same if earlier.is_of_another_program_than(later) => Some(Judgement {
            kind: Kind::ForeignProgramJoin,
            severity: Severity::Warning,
            victim: earlier,
            taker: later,
        }),
        Meeting::Same => None,
    }
}

/// Whether two sockets have one port number, in two families, only because the kernel chose it for one of them.
fn met_by_chance(earlier: &Side<'_>, later: &Side<'_>, ephemeral: &RangeInclusive<u16>) -> bool {
    let is_client = |socket: &Socket| {
        let facts = &socket.facts;
        let was_chosen = match socket.since {
            Some(_) => !socket.asked,
            None => ephemeral.contains(&facts.local.port),
        };
        facts.state == SocketState::Connected || was_chosen
    };
    match earlier.facts().protocol.transport() {
        Some(Transport::Udp) => is_client(earlier.first()) || is_client(later.first()),
        // A listener is somebody's service whatever its port; it was not aimed at another's.
        _ => later.first().since.is_some() && !later.first().asked,
    }
}

impl Judgement<'_, '_> {
    fn state(&self, port: PortKey) -> State {
        let Self { kind, severity, victim, taker } = self;
        let parties = in_role(Role::Victim, victim.sockets.iter().copied())
            .chain(in_role(Role::Taker, taker.sockets.iter().copied()));
        State {
            key: StateKey {
                port,
                kind: *kind,
                subject: Subject::Side(victim.key.clone()),
                other: Some(Subject::Side(taker.key.clone())),
            },
            severity: *severity,
            parties: parties.collect(),
            began: None,
            seen: self.sentence(),
        }
    }

    fn sentence(&self) -> String {
        let (victim, taker) = (self.victim.first(), self.taker.first());
        let (whose, theirs) = (who(victim), who(taker));
        let (here, there) = (place(victim), place(taker));
        match self.kind {
            Kind::TestGroupIntruder => {
                format!("{theirs} has {there}, on a port of the daemon's own test group at {here}")
            }
            Kind::ListenSquat => format!(
                "{theirs} listens on {there}, which {whose} had bound as {here}; both set SO_REUSEADDR, and only the first to listen can"
            ),
            Kind::RepairBind => format!(
                "{theirs} has {there} by TCP_REPAIR, which skips every check, beside {whose} on {here}"
            ),
            Kind::FamilyShadow => format!(
                "{theirs} has {there}, the same port as {whose} on {here} in the other address family: clients that come by name may get either"
            ),
            Kind::DeviceShadow => format!(
                "{theirs} has {there} beside {whose} on {here}: by device, each gets part of the traffic"
            ),
            Kind::MoreSpecificShadow => format!(
                "{theirs} has {there}, a more specific address than {here} of {whose}: its traffic goes there"
            ),
            Kind::ForeignUidShare => format!(
                "{theirs} shares {there} with {whose}, who is another user; either may get the other's traffic"
            ),
            _ => format!("{theirs} shares {there} with {whose}, another program of the same user"),
        }
    }
}
