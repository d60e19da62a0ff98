//! EADDRINUSE on a port that was asked for by number: the sockets that hold it.

use super::{Confidence, Holder, Refusal, Remembered, Rule};
use crate::{
    endpoint::Transport,
    event::{Call, Evidence, Phase},
    port::{Occupant, Port, Table, UdpScan},
    rulebook::{Blocker, Contender, Kernel, Request, decide, remedy},
};

/// The reason, from what was read at the refusal, else from what is remembered of the port.
pub(super) fn refusal(call: &Call, kernel: &Kernel, remembered: impl FnOnce() -> Remembered) -> Refusal {
    let evidence = call.evidence.as_deref();
    let Some(contender) = Contender::of(call, evidence) else { return unexplained(call, evidence) };
    let read = evidence.and_then(|evidence| evidence.port.as_ref());
    if let Some(port) = read {
        let decision = decide(kernel, request(call), &contender, port);
        if decision.refused {
            let in_motion =
                decision.blockers.iter().filter_map(|blocker| port.occupants.get(blocker.occupant));
            let whole =
                !port.truncated && !port.disturbed && !in_motion.into_iter().any(Occupant::is_being_closed);
            let confidence = if whole { Confidence::Exact } else { Confidence::BestEvidence };
            return refused(call, kernel, &contender, port, &decision.blockers, confidence);
        }
    }
    // What refused went between the decision and the reading, or was not read. Those that are still there were all there
    // together; of those that are gone one is enough, and two that exclude each other were never there together.
    let Remembered { live, closed } = remembered();
    let blocked_by = |sockets: Vec<Occupant>| {
        let port = with_remembered(call, read, &contender, sockets);
        let decision = decide(kernel, request(call), &contender, &port);
        (!decision.blockers.is_empty())
            .then(|| refused(call, kernel, &contender, &port, &decision.blockers, Confidence::BestEvidence))
    };
    blocked_by(live)
        .or_else(|| closed.into_iter().find_map(|socket| blocked_by(vec![socket])))
        .unwrap_or_else(|| unexplained(call, evidence))
}

fn request(call: &Call) -> Request {
    match call.phase {
        Phase::Bind => Request::Bind,
        Phase::Listen | Phase::Connect | Phase::Send => Request::Listen,
    }
}

/// The port with the sockets that are remembered of it but were not read, and without the exemptions that were read: the
/// kernel refused, so none applied.
fn with_remembered(
    call: &Call,
    read: Option<&Port>,
    contender: &Contender,
    remembered: Vec<Occupant>,
) -> Port {
    let (mut occupants, slot, truncated) = read.map_or((Vec::new(), 0, false), |port| {
        let slot = if let Table::Udp { slot, .. } = port.table { slot } else { 0 };
        (port.occupants.clone(), slot, port.truncated)
    });
    let own = call.socket.as_ref().map(|socket| socket.inode);
    for socket in remembered {
        let known = occupants.iter().any(|read| read.inode == socket.inode && socket.inode.0 != 0);
        if !known && own != Some(socket.inode) {
            occupants.push(socket);
        }
    }
    let table = match contender.transport {
        Transport::Tcp => Table::Tcp(None),
        Transport::Udp => Table::Udp { scan: UdpScan::Port, slot },
    };
    Port { table, occupants, truncated, disturbed: true }
}

fn refused(
    call: &Call,
    kernel: &Kernel,
    contender: &Contender,
    port: &Port,
    blockers: &[Blocker],
    confidence: Confidence,
) -> Refusal {
    let udp = contender.transport == Transport::Udp;
    let rules = blockers.iter().map(|blocker| blocker.rule);
    let rule = if udp { rules.take(1).next() } else { rules.min() };
    let number = call.endpoint().map_or(0, |endpoint| endpoint.port);
    let holders = blockers.iter().filter_map(|blocker| {
        let occupant = port.occupants.get(blocker.occupant)?.clone();
        Some(Holder { occupant, rule: blocker.rule, overlap: blocker.overlap })
    });
    Refusal {
        rule: rule.unwrap_or(Rule::Unknown),
        confidence,
        holders: holders.collect(),
        decided_by: udp.then_some(0),
        truncated: port.truncated,
        remedies: remedy::sentences(kernel, contender, number, port, blockers),
    }
}

/// No socket explains it: a filter that answered, or the kernel had no memory or room in the group, which it tells in the
/// same word.
fn unexplained(call: &Call, evidence: Option<&Evidence>) -> Refusal {
    let rule = match evidence {
        Some(Evidence { circumstances: Some(seen), .. }) if seen.seccomp_filter => Rule::Seccomp,
        Some(Evidence { port: Some(_), .. }) => Rule::KernelResource,
        _ => Rule::Unknown,
    };
    Refusal::without_holder(call, rule, Confidence::BestEvidence)
}
