//! What is told of refusals and of closes, for a time.

use super::*;
use crate::{
    conflict::Conflict,
    process::Processes as _,
    refusal::{Refusal, Remembered},
};

impl Host {
    /// A program asks for a port that `holder` has, and is refused.
    fn refuse(&mut self, program: Program, asks: &SocketFacts, holder: &SocketFacts) {
        let mut call = call(Phase::Bind, 98, program.pid, self.now, asks.clone());
        call.caller = Caller { comm: comm(program.name), uid: program.uid, ..call.caller };
        call.evidence = Some(fixtures::held_by(holder));
        let process = Everyone.process(program.pid, comm(program.name), program.uid);
        let refusal = Refusal::of(&call, &fixtures::kernel(), Remembered::default).expect("refused");
        self.signals.refused(&Conflict::new(call, process, refusal, []), &self.inventory);
    }
}

fn refused_join() -> Host {
    let mut host = Host::new();
    let holder = member(tcp(VICTIM, 1, "127.0.0.1"));
    host.listen(VICTIM, &holder);
    let holder = SocketFacts { state: State::Listen, ..holder };
    host.refuse(OTHER, &member(tcp(OTHER, 2, "127.0.0.1")), &holder);
    assert_eq!(host.pass(SECOND), [(Kind::JoinRefused, Severity::Warning)]);
    host
}

#[test]
fn a_refused_join_is_told_while_its_socket_is_there_for_a_minute_at_most() {
    let mut host = refused_join();
    assert_eq!(host.parties(), [(Role::Holder, 1), (Role::Contender, 2)]);
    assert_eq!(host.signals.refused_sockets().collect::<Vec<_>>(), [(Inode(2), OTHER.pid)]);
    assert_eq!(host.pass(58 * SECOND), [(Kind::JoinRefused, Severity::Warning)]);
    assert_eq!(host.pass(SECOND), []);
}

#[test]
fn a_refused_join_ends_with_its_socket_its_process_its_holder_or_another_bind() {
    let ends: [fn(&mut Host); 4] = [
        |host| host.signals.refused_gone(Inode(2), Moment(host.now)),
        |host| host.apply(&fixtures::exit(OTHER.pid, host.now)),
        |host| host.close(1),
        |host| {
            let mut elsewhere = tcp(OTHER, 2, "127.0.0.1");
            elsewhere.local.port = 81;
            host.bind(OTHER, &elsewhere);
        },
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let mut host = refused_join();
        end(&mut host);
        assert_eq!(host.pass(SECOND), [], "end {number}");
    }
}

#[test]
fn who_asks_and_goes_at_once_is_told_all_the_same() {
    let mut host = Host::new();
    let holder = member(tcp(VICTIM, 1, "127.0.0.1"));
    host.listen(VICTIM, &holder);
    host.refuse(OTHER, &member(tcp(OTHER, 2, "127.0.0.1")), &SocketFacts { state: State::Listen, ..holder });
    host.now += 50 * MS;
    host.apply(&fixtures::exit(OTHER.pid, host.now));
    assert_eq!(host.pass(150 * MS), [(Kind::JoinRefused, Severity::Warning)]);
    assert_eq!(host.pass(SECOND), []);
    assert_eq!(host.told.len(), 2, "its begin and its end");
}

#[test]
fn other_refusals_are_no_attempts() {
    let mut host = Host::new();
    let holder = tcp(VICTIM, 1, "127.0.0.1");
    host.listen(VICTIM, &holder);
    let listens = SocketFacts { state: State::Listen, ..holder };
    host.refuse(OTHER, &tcp(OTHER, 2, "127.0.0.1"), &listens);
    assert_eq!(host.pass(SECOND), []);
}

#[test]
fn who_asks_for_a_port_of_the_test_group_is_caught() {
    let own = Program { pid: 1, name: "reuse-daemon", uid: 0 };
    let mut host = Host::new();
    let trap = member(tcp(own, 1, "127.0.0.1"));
    host.listen(own, &trap);
    host.refuse(OTHER, &tcp(OTHER, 2, "127.0.0.1"), &SocketFacts { state: State::Listen, ..trap });
    assert_eq!(host.pass(SECOND), [(Kind::TestGroupIntruder, Severity::Critical)]);
    assert_eq!(host.parties(), [(Role::Holder, 1), (Role::Contender, 2)]);
}

#[test]
fn who_takes_a_port_within_a_minute_of_its_close_is_told_for_a_minute() {
    for (wait, expected) in
        [(59 * SECOND, vec![(Kind::TakeoverAfterClose, Severity::Warning)]), (61 * SECOND, vec![])]
    {
        let mut host = Host::new();
        host.listen(VICTIM, &tcp(VICTIM, 1, "0.0.0.0"));
        host.close(1);
        host.pass(wait);
        host.listen(OTHER, &tcp(OTHER, 2, "127.0.0.1"));
        assert_eq!(host.pass(SECOND), expected);
        if !expected.is_empty() {
            assert_eq!(host.parties(), [(Role::Victim, 1), (Role::Taker, 2)]);
            assert_eq!(host.pass(60 * SECOND), []);
        }
    }
}

#[test]
fn a_namespace_that_has_the_number_of_one_that_is_gone_is_another() {
    let cases = [(5, 6, vec![]), (5, 5, vec![(Kind::TakeoverAfterClose, Severity::Warning)])];
    for (before, after, expected) in cases {
        let mut host = Host::new();
        let of = |netns_cookie, facts| SocketFacts { netns_cookie, ..facts };
        host.listen(VICTIM, &of(before, tcp(VICTIM, 1, "127.0.0.1")));
        host.close(1);
        host.listen(OTHER, &of(after, tcp(OTHER, 2, "127.0.0.1")));
        assert_eq!(host.pass(SECOND), expected);
    }
}

#[test]
fn a_takeover_ends_with_the_taker() {
    let mut host = Host::new();
    host.listen(VICTIM, &tcp(VICTIM, 1, "127.0.0.1"));
    host.close(1);
    host.bind(OTHER, &tcp(OTHER, 2, "127.0.0.1"));
    assert_eq!(host.pass(SECOND), [], "it only has the port");
    host.call(Phase::Listen, OTHER, &SocketFacts { state: State::Listen, ..tcp(OTHER, 2, "127.0.0.1") });
    assert_eq!(host.pass(SECOND), [(Kind::TakeoverAfterClose, Severity::Warning)]);
    host.close(2);
    assert_eq!(host.pass(SECOND), []);
}

#[test]
fn who_comes_back_or_never_left_is_no_victim() {
    let again = Program { pid: 11, ..VICTIM };
    let mut host = Host::new();
    host.listen(VICTIM, &tcp(VICTIM, 1, "127.0.0.1"));
    host.close(1);
    host.listen(again, &tcp(again, 2, "127.0.0.1"));
    assert_eq!(host.pass(SECOND), [], "the same service");

    let mut host = Host::new();
    host.listen(VICTIM, &member(tcp(VICTIM, 1, "127.0.0.1")));
    host.listen(VICTIM, &member(tcp(VICTIM, 2, "127.0.0.1")));
    host.close(1);
    host.listen(SAME_USER, &member(tcp(SAME_USER, 3, "127.0.0.1")));
    assert_eq!(host.pass(SECOND), [(Kind::ForeignProgramJoin, Severity::Warning)], "one of several");
}

#[test]
fn a_port_of_a_multicast_group_that_both_joined_is_handed_on_by_design() {
    let joined = |facts: SocketFacts| SocketFacts {
        multicast: vec!["224.0.0.251".parse().expect("an address")],
        ..facts
    };
    let mut host = Host::found(vec![(VICTIM, joined(udp(VICTIM, 1, "0.0.0.0")))]);
    host.close(1);
    host.bind(OTHER, &joined(udp(OTHER, 2, "0.0.0.0")));
    assert_eq!(host.pass(SECOND), [(Kind::TakeoverAfterClose, Severity::Info)]);
}

#[test]
fn a_service_is_itself_by_any_of_its_users_and_with_a_socket_that_was_passed_on() {
    let (root, dropped) = (Program { uid: 0, pid: 11, ..VICTIM }, Program { uid: 33, ..VICTIM });
    let mut host = Host::new();
    // Made after the rights were dropped, and by the next start before.
    host.listen(dropped, &tcp(dropped, 1, "127.0.0.1"));
    host.close(1);
    host.listen(root, &tcp(root, 2, "127.0.0.1"));
    let now_dropped = Program { uid: 33, ..root };
    let listener = SocketFacts { state: State::Listen, ..tcp(root, 2, "127.0.0.1") };
    host.now += 1;
    host.seen_with(&listener, &[now_dropped]);
    assert_eq!(host.pass(SECOND), []);

    let activator = Program { pid: 60, name: "activator", uid: 1000 };
    let mut host = Host::new();
    host.listen(activator, &tcp(activator, 1, "127.0.0.1"));
    let listener = SocketFacts { state: State::Listen, ..tcp(activator, 1, "127.0.0.1") };
    host.now += 1;
    host.seen_with(&listener, &[VICTIM]);
    host.pass(SECOND);
    host.close(1);
    host.listen(activator, &tcp(activator, 2, "127.0.0.1"));
    assert_eq!(host.pass(SECOND), []);

    let mut host = Host::new();
    host.listen(VICTIM, &tcp(VICTIM, 1, "127.0.0.1"));
    host.close(1);
    let namesake = Program { uid: 0, ..VICTIM };
    host.listen(namesake, &tcp(namesake, 2, "127.0.0.1"));
    assert_eq!(host.pass(SECOND), [(Kind::TakeoverAfterClose, Severity::Warning)], "another user's");
}

#[test]
fn a_port_that_the_kernel_chose_and_a_clients_are_not_taken_over() {
    let mut host = Host::new();
    host.bind(VICTIM, &udp(VICTIM, 1, "127.0.0.1"));
    host.pass(9 * SECOND);
    host.close(1);
    host.bind(OTHER, &udp(OTHER, 2, "127.0.0.1"));
    assert_eq!(host.pass(SECOND), [], "a datagram socket of less than ten seconds");
    host.close(2);
    host.bind(VICTIM, &udp(VICTIM, 3, "127.0.0.1"));
    host.pass(10 * SECOND);
    host.close(3);
    let mut chosen = call(Phase::Bind, 0, OTHER.pid, host.now, udp(OTHER, 4, "127.0.0.1"));
    chosen.caller = Caller { comm: comm(OTHER.name), uid: OTHER.uid, ..chosen.caller };
    let asked = chosen.requested.map(|asked| Endpoint { port: 0, ..asked });
    host.apply(&Event::Call(Box::new(crate::event::Call { requested: asked, ..chosen })));
    assert_eq!(host.pass(SECOND), []);
    host.close(4);
    host.bind(OTHER, &udp(OTHER, 5, "127.0.0.1"));
    assert_eq!(host.pass(SECOND), [(Kind::TakeoverAfterClose, Severity::Warning)]);
}
