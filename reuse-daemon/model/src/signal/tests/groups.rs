//! What is told of a group.

use super::*;
use crate::{
    event::{Counter, MemberCount, MemberGauges},
    group::Reading,
    socket::{GroupFacts, Selector},
};

fn steered_by(selector: Selector) -> GroupFacts {
    GroupFacts { selector, members: 2, index: Some(0), has_connected: false, incoming_cpu: None }
}

fn touch(host: &mut Host, program: Program, what: Touched) {
    let caller =
        Caller { pid: program.pid, tid: program.pid, comm: comm(program.name), uid: program.uid, cgroup: 1 };
    let (inode, cookie, at) = (Inode(1), Cookie(0), Moment(host.now));
    host.apply(&Event::Touch(Box::new(Touch { what, inode, cookie, caller, forced: false, at })));
}

impl Host {
    fn count(&mut self, selections: u64, queue: u64) {
        let live = MemberGauges { drops: 0, queue, queue_limit: 1, group: None };
        let counts =
            [MemberCount { counter: Counter(1), inode: Inode(1), selections, flows: None, live: Some(live) }];
        let reading = Reading { at: Moment(self.now), flows: None };
        let _ = self.groups.count(&counts, reading);
        self.signals.count(&counts);
        self.signals.look_at_groups(&self.groups, Moment(self.now));
    }

    /// A look shows what decides in the group.
    fn seen_steered(&mut self, selector: Selector) {
        let known = self.inventory.get(Inode(1)).expect("there").facts.clone();
        let at = self.now;
        let facts = SocketFacts { group: Some(steered_by(selector)), ..known };
        let found = vec![crate::event::Holding { comm: comm(VICTIM.name), ..holding(VICTIM.pid, 3, facts) }];
        self.reconcile(&Snapshot { scope: Scope::Sockets, ..snapshot(at, at, found) });
    }
}

fn grouped() -> Host {
    let mut host = Host::new();
    for inode in 1..=2 {
        host.listen(VICTIM, &member(tcp(VICTIM, inode, "127.0.0.1")));
    }
    host.pass(SECOND);
    host
}

#[test]
fn steering_is_usual_before_the_first_selection_and_by_a_member() {
    for (program, selections, severity) in
        [(VICTIM, 0, Severity::Info), (VICTIM, 5, Severity::Warning), (OTHER, 0, Severity::Warning)]
    {
        let mut host = grouped();
        host.count(selections, 0);
        touch(&mut host, program, Touched::AttachProgram);
        host.pass(SECOND);
        assert!(host.read.contains(&Inode(1)), "what a call asked for is read, not believed");
        assert_eq!(host.active(), []);
        host.seen_steered(Selector::ClassicBpf);
        assert_eq!(host.pass(SECOND), [(Kind::GroupSteering, severity)], "{} {selections}", program.name);
        assert_eq!(host.parties(), [(Role::Member, 1), (Role::Member, 2)]);
        touch(&mut host, program, Touched::DetachProgram);
        host.now += SECOND;
        host.seen_steered(Selector::Hash);
        assert_eq!(host.pass(SECOND), []);
    }
}

#[test]
fn a_program_that_is_attached_again_after_selections_is_not_the_first() {
    let mut host = grouped();
    touch(&mut host, VICTIM, Touched::AttachProgram);
    touch(&mut host, VICTIM, Touched::DetachProgram);
    host.count(5, 0);
    touch(&mut host, VICTIM, Touched::AttachProgram);
    host.seen_steered(Selector::Ebpf);
    assert_eq!(host.pass(SECOND), [(Kind::GroupSteering, Severity::Warning)]);
}

#[test]
fn a_change_on_a_port_that_waits_already_has_it_read() {
    let mut host = grouped();
    let again = Program { pid: 11, ..VICTIM };
    host.listen(again, &member(tcp(again, 3, "127.0.0.1")));
    host.now += 100 * MS;
    touch(&mut host, VICTIM, Touched::ReuseAddr);
    host.pass(100 * MS);
    assert_eq!(host.read, [Inode(1), Inode(2), Inode(3)], "also those that nothing is told of");
}

#[test]
fn who_joins_a_group_is_read_for_what_was_set_before() {
    let mut host = grouped();
    assert_eq!(host.signals.processes_due(Moment(host.now)), [VICTIM.pid]);
}

#[test]
fn what_was_set_before_the_bind_is_usual() {
    let mut host = grouped();
    host.count(5, 0);
    host.seen_steered(Selector::IncomingCpu);
    assert_eq!(host.pass(SECOND), [(Kind::GroupSteering, Severity::Info)]);
}

#[test]
fn a_member_that_accepts_nothing_with_a_full_queue_is_told_until_it_accepts() {
    let mut host = grouped();
    host.count(2, 2);
    host.now += 10 * SECOND;
    host.count(2, 2);
    assert_eq!(host.pass(SECOND), [(Kind::StalledMember, Severity::Warning)]);
    assert_eq!(host.parties(), [(Role::Holder, 1), (Role::Member, 2)]);
    host.count(2, 1);
    assert_eq!(host.pass(SECOND), []);
}

#[test]
fn traffic_is_counted_from_the_begin_on() {
    let mut host = grouped();
    host.count(100, 0);
    host.listen(SAME_USER, &member(tcp(SAME_USER, 3, "127.0.0.1")));
    host.pass(SECOND);
    host.count(130, 0);
    let case = host.signals.active().next().expect("a join").clone();
    let selections: Vec<_> = case.parties.iter().map(|party| party.selections).collect();
    assert_eq!(selections, [Some(30), Some(0), Some(0)]);
    assert_eq!(host.signals.watched().count(), 3);
    host.close(3);
    host.pass(SECOND);
    assert_eq!(host.signals.watched().count(), 0);
    let last = host.told.last().expect("its end");
    assert_eq!(last.case.parties[0].selections, Some(30));
}
