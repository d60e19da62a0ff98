//! Sockets that come to other processes than the one that bound them.

use super::*;

const HEIR: Program = Program { pid: 40, name: "heir", uid: 1000 };
const THIEF: Program = Program { pid: 50, name: "thief", uid: 1001 };

/// A listener of the victim, which is closed by nobody.
fn listening() -> (Host, SocketFacts) {
    let mut host = Host::new();
    let listener = tcp(VICTIM, 1, "127.0.0.1");
    host.listen(VICTIM, &listener);
    host.pass(SECOND);
    (host, SocketFacts { state: State::Listen, ..listener })
}

impl Host {
    /// A look shows who has a socket.
    pub(super) fn seen_with(&mut self, facts: &SocketFacts, owners: &[Program]) {
        let holdings = owners.iter().map(|program| crate::event::Holding {
            comm: comm(program.name),
            uid: program.uid,
            ..holding(program.pid, 3, facts.clone())
        });
        let at = self.now;
        self.reconcile(&Snapshot { scope: Scope::Sockets, ..snapshot(at, at, holdings.collect()) });
    }
}

#[test]
fn another_program_that_inherits_a_listener_is_told_and_a_child_of_the_same_is_not() {
    let (mut host, listener) = listening();
    let worker = Program { pid: 11, ..VICTIM };
    host.seen_with(&listener, &[VICTIM, worker]);
    assert_eq!(host.pass(SECOND), []);
    host.seen_with(&listener, &[VICTIM, HEIR]);
    assert_eq!(host.pass(SECOND), [(Kind::InheritedListener, Severity::Info)]);
    host.seen_with(&listener, &[VICTIM]);
    assert_eq!(host.pass(SECOND), []);
}

#[test]
fn a_listener_that_is_sent_or_taken_goes_to_another_user_with_a_warning() {
    for (taker, severity) in [(HEIR, Severity::Info), (THIEF, Severity::Warning)] {
        let events: [fn(u32, Moment) -> Event; 2] =
            [|_, at| Event::Sent { inode: Inode(1), pid: VICTIM.pid, at }, |pid, at| Event::Took { pid, at }];
        for event in events {
            let (mut host, listener) = listening();
            host.apply(&event(taker.pid, Moment(host.now)));
            host.pass(200 * MS);
            host.seen_with(&listener, &[VICTIM, taker]);
            assert_eq!(host.pass(SECOND), [(Kind::InheritedListener, severity)], "{}", taker.name);
        }
    }
}

#[test]
fn who_was_forked_by_an_owner_inherits_whatever_was_sent() {
    let (mut host, listener) = listening();
    let at = Moment(host.now);
    host.apply(&Event::Fork { parent: VICTIM.pid, child: THIEF.pid, at });
    host.apply(&Event::Sent { inode: Inode(1), pid: VICTIM.pid, at });
    host.pass(200 * MS);
    host.seen_with(&listener, &[VICTIM, THIEF]);
    assert_eq!(host.pass(SECOND), [(Kind::InheritedListener, Severity::Info)]);
}

#[test]
fn a_socket_under_way_is_looked_for_several_times() {
    let (mut host, _) = listening();
    host.apply(&Event::Sent { inode: Inode(1), pid: VICTIM.pid, at: Moment(host.now) });
    let mut looks = Vec::new();
    for _ in 0..60 {
        host.read.clear();
        host.pass(100 * MS);
        looks.push(host.read.contains(&Inode(1)));
    }
    assert_eq!(looks.iter().filter(|look| **look).count(), 5);
}

#[test]
fn a_process_that_may_have_sockets_is_read_if_it_lasts() {
    let (mut host, _) = listening();
    let fork = |child, at| Event::Fork { parent: VICTIM.pid, child, at: Moment(at) };
    let due = |host: &mut Host| host.signals.processes_due(Moment(host.now));
    host.apply(&fork(41, host.now));
    host.apply(&fork(42, host.now));
    host.apply(&Event::Fork { parent: 99, child: 43, at: Moment(host.now) });
    host.apply(&Event::Exec { pid: 42, at: Moment(host.now) });
    assert_eq!(due(&mut host), [0; 0]);
    host.apply(&fixtures::exit(41, host.now));
    host.now += 200 * MS;
    assert_eq!(due(&mut host), [42]);
    assert_eq!(due(&mut host), [0; 0]);
}

#[test]
fn a_reading_of_one_process_takes_from_it_what_it_has_no_longer() {
    let (mut host, listener) = listening();
    host.seen_with(&listener, &[VICTIM, HEIR]);
    host.now += SECOND;
    let at = host.now;
    host.reconcile(&Snapshot { scope: Scope::Process(HEIR.pid), ..snapshot(at, at, Vec::new()) });
    let owners = &host.inventory.get(Inode(1)).expect("still there").owners;
    assert_eq!(owners.iter().map(|owner| owner.process.pid).collect::<Vec<_>>(), [VICTIM.pid]);
}

#[test]
fn as_found_two_programs_with_one_listener_are_told() {
    let listener = SocketFacts { state: State::Listen, ..tcp(VICTIM, 1, "127.0.0.1") };
    let host = Host::found(vec![(VICTIM, listener.clone()), (THIEF, listener)]);
    assert_eq!(host.active(), [(Kind::InheritedListener, Severity::Info)]);
}
