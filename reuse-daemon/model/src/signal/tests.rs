//! Signals by what a host is seen to do, event by event.

mod bounds;
mod groups;
mod handed;
mod pairs;
mod timed;

use std::net::IpAddr;

use super::*;
use crate::{
    endpoint::{Endpoint, Family, Protocol},
    event::{Caller, Event, Moment, Phase, Scope, Snapshot, Touch, Touched},
    fixtures::{self, Everyone, Numbers, SECOND, call, comm, facts, holding, snapshot},
    group::Groups,
    inventory::{Inventory, Limits},
    socket::{Cookie, Flags, Inode, SocketFacts, State},
};

/// One millisecond.
const MS: u64 = 1_000_000;

/// A program of a user.
#[derive(Clone, Copy)]
struct Program {
    pid: u32,
    name: &'static str,
    uid: u32,
}

const VICTIM: Program = Program { pid: 10, name: "victim", uid: 1000 };
const OTHER: Program = Program { pid: 20, name: "other", uid: 1001 };
const SAME_USER: Program = Program { pid: 30, name: "third", uid: 1000 };

/// A socket that a program has.
fn socket(program: Program, inode: u64, address: &str, protocol: Protocol) -> SocketFacts {
    let address: IpAddr = address.parse().expect("an address");
    SocketFacts {
        family: if address.is_ipv6() { Family::Ipv6 } else { Family::Ipv4 },
        protocol,
        local: Endpoint { address, port: 80 },
        uid: program.uid,
        creator: Some(program.uid),
        ..facts(inode, 80)
    }
}

fn tcp(program: Program, inode: u64, address: &str) -> SocketFacts {
    socket(program, inode, address, Protocol::Tcp)
}

fn udp(program: Program, inode: u64, address: &str) -> SocketFacts {
    let reuse = Flags { reuseaddr: true, ..Flags::default() };
    SocketFacts { flags: reuse, ..socket(program, inode, address, Protocol::Udp) }
}

fn member(facts: SocketFacts) -> SocketFacts {
    SocketFacts { flags: Flags { reuseport: true, ..facts.flags }, ..facts }
}

fn reuseaddr(facts: SocketFacts) -> SocketFacts {
    SocketFacts { flags: Flags { reuseaddr: true, ..facts.flags }, ..facts }
}

fn v6only(facts: SocketFacts) -> SocketFacts {
    SocketFacts { flags: Flags { v6only: true, ..facts.flags }, ..facts }
}

/// A host and what its signals told.
struct Host {
    inventory: Inventory,
    groups: Groups,
    signals: Signals,
    now: u64,
    told: Vec<Told>,
    /// Sockets that were to be read anew
    read: Vec<Inode>,
}

impl Host {
    /// A host on which nothing was found.
    fn new() -> Self {
        Self::found(Vec::new())
    }

    /// A host on which these sockets were found.
    fn found(found: Vec<(Program, SocketFacts)>) -> Self {
        let mut host = Self {
            inventory: Inventory::new(Limits::default()),
            groups: Groups::new(),
            signals: Signals::default(),
            now: SECOND,
            told: Vec::new(),
            read: Vec::new(),
        };
        let holdings = found.into_iter().map(|(program, facts)| crate::event::Holding {
            comm: comm(program.name),
            uid: program.uid,
            ..holding(program.pid, 3, facts)
        });
        host.reconcile(&snapshot(SECOND - 1, SECOND, holdings.collect()));
        let Self { inventory, groups, signals, .. } = &mut host;
        signals.begin(World {
            inventory,
            groups,
            context: &Numbers,
            options_are_told: true,
            now: Moment(SECOND),
        });
        host
    }

    fn reconcile(&mut self, snapshot: &Snapshot) {
        let found = self.inventory.reconcile(snapshot, &mut Everyone);
        for change in found.changes {
            self.groups.apply(&change, snapshot.ended, &mut Vec::new());
            self.signals.note(&change, snapshot.ended, &self.inventory);
        }
    }

    fn apply(&mut self, event: &Event) {
        let mut changes = Vec::new();
        self.inventory.apply(event, &mut Everyone, &mut changes);
        let Self { inventory, groups, signals, now, .. } = self;
        let now = Moment(*now);
        signals.event(event, World { inventory, groups, context: &Numbers, options_are_told: true, now });
        for change in changes {
            self.groups.apply(&change, event.at(), &mut Vec::new());
            self.signals.note(&change, event.at(), &self.inventory);
        }
    }

    /// A program makes a call that succeeds.
    fn call(&mut self, phase: Phase, program: Program, facts: &SocketFacts) {
        let mut call = call(phase, 0, program.pid, self.now, facts.clone());
        call.caller = Caller { comm: comm(program.name), uid: program.uid, ..call.caller };
        self.apply(&Event::Call(Box::new(call)));
    }

    fn bind(&mut self, program: Program, facts: &SocketFacts) {
        self.call(Phase::Bind, program, facts);
    }

    /// Binds and listens.
    fn listen(&mut self, program: Program, facts: &SocketFacts) {
        self.bind(program, facts);
        self.call(Phase::Listen, program, &SocketFacts { state: State::Listen, ..facts.clone() });
    }

    fn close(&mut self, inode: u64) {
        self.apply(&fixtures::close(inode, self.now));
    }

    /// Lets time pass, and judges what comes due.
    fn pass(&mut self, time: u64) -> Vec<(Kind, Severity)> {
        self.now += time;
        let Self { inventory, groups, signals, now, told, read } = self;
        let now = Moment(*now);
        let world = World { inventory, groups, context: &Numbers, options_are_told: true, now };
        loop {
            let due = signals.due(world.inventory, now);
            if due.is_empty() {
                return self.active();
            }
            read.extend(signals.to_read(&due, world));
            signals.judge(&due, world, told);
        }
    }

    /// What lasts.
    fn active(&self) -> Vec<(Kind, Severity)> {
        self.signals.active().map(|case| (case.kind, case.severity)).collect()
    }

    /// Who is in the only signal that lasts, by role and inode number.
    fn parties(&self) -> Vec<(Role, u64)> {
        let mut active = self.signals.active();
        let case = active.next().expect("a signal");
        assert!(active.next().is_none(), "one signal");
        case.parties.iter().map(|party| (party.role, party.socket.facts.inode.0)).collect()
    }
}

#[test]
fn a_signal_is_told_when_it_begins_and_when_it_ends() {
    let mut host = Host::new();
    host.bind(VICTIM, &udp(VICTIM, 1, "0.0.0.0"));
    assert_eq!(host.pass(SECOND), []);
    host.bind(OTHER, &udp(OTHER, 2, "0.0.0.0"));
    let began = host.now;
    assert_eq!(host.pass(199 * MS), [], "options that are set right after count");
    assert_eq!(host.pass(MS), [(Kind::ForeignUidShare, Severity::Critical)]);
    assert_eq!(host.read, [Inode(1), Inode(2)], "both are read anew before it is told");
    assert_eq!(host.parties(), [(Role::Victim, 1), (Role::Taker, 2)]);
    host.close(2);
    assert_eq!(host.pass(SECOND), []);
    let told: Vec<_> = host.told.iter().map(|told| (told.at, told.case.until)).collect();
    let ended = Moment(began + 200 * MS);
    assert_eq!(told, [(Moment(began), None), (ended, Some(ended))]);
    assert_eq!(
        host.signals.raised().collect::<Vec<_>>(),
        [((Kind::ForeignUidShare, Severity::Critical, Protocol::Udp), 1)]
    );
    assert_eq!(host.signals.ended_since(Moment(0)).count(), 1);
}

#[test]
fn who_comes_while_a_port_waits_to_be_looked_at_has_its_own_time() {
    let mut host = Host::new();
    host.bind(VICTIM, &udp(VICTIM, 1, "0.0.0.0"));
    host.bind(SAME_USER, &udp(SAME_USER, 3, "127.0.0.1"));
    host.pass(150 * MS);
    host.bind(OTHER, &udp(OTHER, 2, "0.0.0.0"));
    assert_eq!(host.pass(100 * MS), [(Kind::MoreSpecificShadow, Severity::Warning)]);
    host.pass(100 * MS);
    assert_eq!(host.active().len(), 3, "with the last one");
    assert_eq!(host.told.last().map(|told| told.at), Some(Moment(SECOND + 150 * MS)));
}

#[test]
fn an_end_is_dated_by_what_happened_last() {
    let mut host = Host::new();
    host.bind(VICTIM, &udp(VICTIM, 1, "0.0.0.0"));
    host.bind(OTHER, &udp(OTHER, 2, "0.0.0.0"));
    host.pass(SECOND);
    host.bind(SAME_USER, &udp(SAME_USER, 3, "127.0.0.1"));
    host.now += 100 * MS;
    host.close(2);
    let closed = Moment(host.now);
    host.pass(SECOND);
    let ended = host.told.iter().find_map(|told| told.case.until);
    assert_eq!(ended, Some(closed));
}

#[test]
fn what_was_there_first_is_found_and_not_told() {
    let mut host = Host::found(vec![(VICTIM, udp(VICTIM, 1, "0.0.0.0")), (OTHER, udp(OTHER, 2, "0.0.0.0"))]);
    assert_eq!(host.active(), [(Kind::ForeignUidShare, Severity::Critical)]);
    assert!(host.signals.active().all(|case| case.found));
    assert_eq!(host.pass(SECOND), [(Kind::ForeignUidShare, Severity::Critical)], "looked at again");
    assert_eq!((host.told.len(), host.signals.raised().count()), (0, 0));
    host.close(1);
    assert_eq!(host.pass(SECOND), []);
    assert!(host.told.iter().all(|told| told.case.found && told.case.until.is_some()));
    assert_eq!(host.told.len(), 1, "its end is");
}

#[test]
fn one_who_was_there_and_one_who_came_are_an_event() {
    let mut host = Host::found(vec![(VICTIM, udp(VICTIM, 9, "0.0.0.0"))]);
    host.bind(OTHER, &udp(OTHER, 2, "0.0.0.0"));
    host.pass(SECOND);
    assert_eq!(host.parties(), [(Role::Victim, 9), (Role::Taker, 2)]);
    assert_eq!((host.told.len(), host.told[0].case.found), (1, false));
}
