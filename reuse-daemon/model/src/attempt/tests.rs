use std::sync::Arc;

use super::*;
use crate::{
    endpoint::Endpoint,
    event::{Circumstances, Evidence},
    fixtures::{call, close, exit, facts, held_by, kernel, loopback},
    port::{Port, Table},
    refusal::{Confidence, Refusal, Remembered, Rule},
    socket::{SocketFacts, State},
};

const PORT: u16 = 8080;

fn attempts() -> Attempts {
    Attempts::new(kernel())
}

/// Process and thread 10 are about to bind socket `inode` to `127.0.0.1:PORT`.
fn bind(inode: u64, at: u64, evidence: Option<Arc<Evidence>>) -> Call {
    let attempt = call(Phase::Bind, 0, 10, at, facts(inode, 0));
    Call { via: Via::Compat, requested: Some(loopback(PORT)), evidence, ..attempt }
}

fn attempt(call: Call) -> Event {
    Event::Attempt(Box::new(call))
}

/// Socket `inode` got its port.
fn bound(inode: u64, at: u64) -> Event {
    let call = Call { via: Via::Compat, ..call(Phase::Bind, 0, 10, at, facts(inode, PORT)) };
    Event::Call(Box::new(call))
}

fn sorted(attempts: &mut Attempts, events: impl IntoIterator<Item = Event>) -> Vec<Call> {
    let mut known = Vec::new();
    for event in events {
        attempts.sort_out(event, &mut known);
    }
    calls(known)
}

fn calls(known: Vec<Event>) -> Vec<Call> {
    let calls = known.into_iter().filter_map(|event| match event {
        Event::Call(call) => Some(*call),
        Event::Attempt(attempt) => panic!("not settled: {attempt:?}"),
        _ => None,
    });
    calls.collect()
}

/// What expires up to that moment, where the machine is never held up.
fn expired(attempts: &mut Attempts, now: u64) -> Vec<Call> {
    let mut known = Vec::new();
    for moment in (0..now).step_by(LOOK.as_nanos() as usize).chain([now]) {
        attempts.expire(Moment(moment), &mut known);
    }
    calls(known)
}

fn given_up(attempts: &mut Attempts) -> Vec<Call> {
    let mut known = Vec::new();
    attempts.give_up(&mut known);
    calls(known)
}

#[test]
fn a_success_has_the_port_that_was_asked_for() {
    let asked = Call { requested: Some(loopback(0)), ..bind(1, 5, None) };
    let mut attempts = attempts();
    let known = sorted(&mut attempts, [attempt(asked), bound(1, 6)]);
    let [call] = &known[..] else { panic!("{known:?}") };
    assert_eq!((call.errno, call.certain, call.requested), (0, true, Some(loopback(0))));
    assert!(attempts.is_settled() && given_up(&mut attempts).is_empty());
}

#[test]
fn without_success_a_bind_was_refused_by_what_was_read_before() {
    let mut attempts = attempts();
    let holder = SocketFacts { state: State::Listen, ..facts(7, PORT) };
    assert!(sorted(&mut attempts, [attempt(bind(1, 5, Some(held_by(&holder))))]).is_empty());
    assert!(expired(&mut attempts, 6).is_empty(), "not yet");
    let known = expired(&mut attempts, 5 + u64::try_from(PATIENCE.as_nanos()).unwrap());
    let [call] = &known[..] else { panic!("{known:?}") };
    assert_eq!((call.errno, call.certain), (98, false));
    let refusal = Refusal::of(call, &kernel(), Remembered::default).expect("refused");
    assert_eq!((refusal.rule, refusal.confidence), (Rule::HolderIsListening, Confidence::BestEvidence));
    assert_eq!(refusal.holders.len(), 1);
}

#[test]
fn time_in_which_the_machine_was_held_up_does_not_count() {
    let patience = u64::try_from(PATIENCE.as_nanos()).unwrap();
    let mut attempts = attempts();
    assert!(sorted(&mut attempts, [attempt(bind(1, 5, None))]).is_empty());
    let mut known = Vec::new();
    let resumed = 5 + 3 * patience;
    attempts.expire(Moment(resumed), &mut known);
    attempts.expire(Moment(resumed + 2), &mut known);
    assert!(known.is_empty(), "nobody could go on: {known:?}");
    let success = sorted(&mut attempts, [bound(1, resumed + 3)]);
    assert!(matches!(&success[..], [call] if call.errno == 0), "{success:?}");

    let mut refused = self::attempts();
    assert!(sorted(&mut refused, [attempt(bind(1, 5, None))]).is_empty());
    refused.expire(Moment(resumed), &mut known);
    for moment in (resumed..resumed + patience + 1).step_by(LOOK.as_nanos() as usize) {
        refused.expire(Moment(moment), &mut known);
    }
    assert_eq!(calls(known).len(), 1, "its patience begins anew");
}

#[test]
fn a_thread_or_socket_that_goes_on_has_its_answer() {
    let next_by_thread = bound(2, 6);
    let next_by_socket = attempt(bind(1, 6, None));
    for next in [next_by_thread, next_by_socket, close(1, 6), exit(10, 6)] {
        let known = sorted(&mut attempts(), [attempt(bind(1, 5, None)), next.clone()]);
        let refused = known.first().is_some_and(|call| call.at == Moment(5) && call.errno != 0);
        assert!(refused, "after {next:?}: {known:?}");
    }
    let other =
        Call { caller: crate::event::Caller { tid: 11, ..bind(2, 6, None).caller }, ..bind(2, 6, None) };
    let known = sorted(&mut attempts(), [attempt(bind(1, 5, None)), Event::Call(Box::new(other))]);
    assert_eq!(known.len(), 1, "another thread says nothing: {known:?}");
}

#[test]
fn a_listen_succeeds_unless_its_refusal_comes() {
    let listen = || Call { via: Via::Compat, ..call(Phase::Listen, 0, 10, 5, facts(1, PORT)) };
    let refused = || Call { errno: 98, evidence: Some(held_by(&facts(7, PORT))), ..listen() };
    let known = sorted(&mut attempts(), [attempt(listen()), Event::Call(Box::new(refused()))]);
    assert_eq!(known, [refused()]);
    let mut waiting = attempts();
    assert!(sorted(&mut waiting, [attempt(listen())]).is_empty());
    let known = given_up(&mut waiting);
    assert_eq!(known, [listen()], "and is certain");
}

#[test]
fn a_refusal_by_io_uring_has_the_port_read_before_and_is_told_once() {
    let asked = || Call { via: Via::IoUring, ..bind(1, 5, Some(held_by(&facts(7, PORT)))) };
    let told = || {
        let plain = Some(Arc::new(Evidence::default()));
        Event::Call(Box::new(Call { errno: 98, requested: None, evidence: plain, at: Moment(9), ..asked() }))
    };
    let known = sorted(&mut attempts(), [attempt(asked()), told()]);
    let [call] = &known[..] else { panic!("{known:?}") };
    let refusal = Refusal::of(call, &kernel(), Remembered::default).expect("refused");
    assert_eq!((refusal.rule, refusal.confidence), (Rule::Exclusive, Confidence::Exact));

    let mut late = attempts();
    assert!(sorted(&mut late, [attempt(asked())]).is_empty());
    assert_eq!(given_up(&mut late).len(), 1);
    assert!(sorted(&mut late, [told()]).is_empty(), "inferred before");
    assert_eq!(sorted(&mut late, [told()]).len(), 1, "the next one is another");
}

#[test]
fn a_listen_without_port_has_succeeded_when_its_socket_listens_on_one() {
    let listen =
        |inode, via| attempt(Call { via, ..call(Phase::Listen, 0, 10 + inode as u32, 5, facts(inode, 0)) });
    let mut attempts = attempts();
    let with_port = attempt(Call { via: Via::Compat, ..call(Phase::Listen, 0, 20, 5, facts(9, PORT)) });
    let events = [listen(1, Via::Compat), with_port, listen(3, Via::IoUring)];
    assert!(sorted(&mut attempts, events).is_empty());
    assert_eq!(attempts.without_port().collect::<Vec<_>>(), [(Inode(1), 11)]);
    let mut known = Vec::new();
    for (state, port) in [(State::Listen, 0), (State::Bound, PORT)] {
        attempts.look(SocketFacts { state, ..facts(1, port) }, &mut known);
        assert!(known.is_empty(), "it is in the middle of it");
    }
    attempts.look(SocketFacts { state: State::Listen, ..facts(1, PORT) }, &mut known);
    let told = calls(known);
    assert_eq!((told[0].errno, told[0].certain, told[0].endpoint()), (0, true, Some(loopback(PORT))));
    assert_eq!(attempts.without_port().count(), 0);
    assert_eq!(expired(&mut attempts, 2_000_000_000).len(), 2, "it is told once");
}

#[test]
fn what_is_left_is_inferred_from_what_was_asked() {
    let errno = |change: &dyn Fn(&mut Call)| {
        let port =
            Port { table: Table::Tcp(None), occupants: Vec::new(), truncated: false, disturbed: false };
        let mut asked = bind(1, 5, Some(Arc::new(Evidence { port: Some(port), ..Evidence::default() })));
        change(&mut asked);
        inference::errno(&asked, &kernel())
    };
    let to = |address: &str, port: u16| {
        let address = address.parse().unwrap();
        move |call: &mut Call| call.requested = Some(Endpoint { address, port })
    };
    let privileged = |call: &mut Call| {
        let circumstances = Some(Circumstances { unprivileged_port_start: 1024, ..Circumstances::default() });
        call.requested = Some(loopback(80));
        call.evidence = Some(Arc::new(Evidence { circumstances, ..Evidence::default() }));
    };
    assert_eq!(errno(&privileged), 13);
    assert_eq!(errno(&|call| call.socket = Some(facts(1, 9))), 22, "bound already");
    assert_eq!(errno(&to("192.0.2.1", PORT)), 99);
    assert_eq!(errno(&to("192.0.2.1", 0)), 99);
    assert_eq!(errno(&to("127.0.0.1", 0)), 98, "no port left");
    assert_eq!(errno(&to("0.0.0.0", 0)), 98);
    assert_eq!(errno(&|call| call.requested = None), 97);
    assert_eq!(errno(&to("::1", PORT)), 97, "an IPv4 socket");
    let unread = |address: &str, port: u16, uid: u32| {
        let to = to(address, port);
        errno(&|call| {
            to(call);
            call.evidence = Some(Arc::new(Evidence::default()));
            call.caller.uid = uid;
        })
    };
    assert_eq!(unread("192.0.2.1", PORT, 1000), 98, "nobody looked at the port: the likeliest");
    assert_eq!((unread("127.0.0.1", 80, 0), unread("127.0.0.1", 80, 1000)), (98, 13), "nor at the caller");
    assert_eq!(unread("127.0.0.1", 0, 0), 98);
}
