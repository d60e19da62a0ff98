//! What is counted where.

use super::*;
use crate::{
    event::Moment,
    fixtures::{Everyone, call, comm, facts, held_by, kernel, loopback},
    process::Processes,
    refusal::{EADDRINUSE, Refusal, Remembered},
};

fn count(tally: &mut Tally, call: &Call) {
    tally.call(call);
    if let Some(refusal) = Refusal::of(call, &kernel(), Remembered::default) {
        let process = Everyone.process(10, comm("a"), 0);
        tally.refusal(&Conflict::new(call.clone(), process, refusal, []));
    }
}

/// A refusal of port `port`, on which another socket listens.
fn in_use(port: u16, at: u64) -> Call {
    let requested = Some(loopback(port));
    let evidence = (port != 0).then(|| held_by(&facts(2, port)));
    Call { requested, evidence, ..call(Phase::Bind, EADDRINUSE, 10, at, facts(1, 0)) }
}

#[test]
fn each_call_is_one_attempt_and_each_refusal_is_explained_once() {
    let mut tally = Tally::new(10);
    count(&mut tally, &call(Phase::Bind, 0, 10, 1, facts(1, 80)));
    count(&mut tally, &call(Phase::Listen, 22, 10, 1, facts(1, 80)));
    count(&mut tally, &in_use(80, 1));
    count(&mut tally, &in_use(0, 1));
    let unix = Call { socket: None, requested: None, ..in_use(80, 1) };
    count(&mut tally, &unix);
    let mut attempts: Vec<_> = tally.attempts().map(|(labels, count)| (*labels, count)).collect();
    attempts.sort();
    let attempt = |phase, family, protocol, result| Attempt { phase, family, protocol, result };
    assert_eq!(
        attempts,
        [
            (attempt(Phase::Bind, Family::Ipv4, Protocol::Tcp, "EADDRINUSE"), 2),
            (attempt(Phase::Bind, Family::Ipv4, Protocol::Tcp, "success"), 1),
            (attempt(Phase::Bind, Family::Other, Protocol::Other, "EADDRINUSE"), 1),
            (attempt(Phase::Listen, Family::Ipv4, Protocol::Tcp, "EINVAL"), 1),
        ]
    );
    assert_eq!(tally.refusals().map(|(_, count)| count).sum::<u64>(), 3);
    let explained = ["exact", "best_evidence", "unknown"].map(|result| tally.explained(result));
    assert_eq!(explained, [3, 0, 0]);
    assert_eq!(tally.conflicts().iter().count(), 1, "only a port that someone holds is a conflict");
}

#[test]
fn conflicts_beyond_the_cap_are_folded_and_none_is_lost() {
    let mut tally = Tally::new(2);
    for at in 1..=3 {
        for port in 81..=84 {
            count(&mut tally, &in_use(port, at));
        }
    }
    let conflicts = tally.conflicts();
    let total: u64 = conflicts.iter().map(|(_, tally)| tally.count).sum();
    assert_eq!((conflicts.iter().count(), total, conflicts.folded()), (3, 12, 6));
    let kept = conflicts.iter().find(|(key, _)| key.port == PortLabel::Number(82)).expect("kept");
    assert_eq!((kept.0.address, kept.1.count, kept.1.last), (Some(loopback(82).address), 3, Moment(3)));
    let folded = conflicts.iter().find(|(key, _)| key.port == PortLabel::Other).expect("folded");
    assert_eq!((&*folded.0.contender, folded.0.address, folded.1.count), (OTHER, None, 6));
}
