use std::sync::Arc;

use super::*;
use crate::{
    conflict::{Held, Possession},
    endpoint::{Protocol, Transport},
    event::{Call, Moment, Phase},
    fixtures::{self, Everyone, Numbers, call, comm, facts, loopback},
    inventory::{Owner, PortKey, Socket},
    port::Occupant,
    process::{Process, Processes},
    refusal::{Holder, Rule},
    report::{HolderReport, RecordBody, SignalEvent, View},
    rulebook::Overlap,
    signal::{Case, Party, Role},
    socket::SocketFacts,
};

/// The owner of the socket below.
fn owner() -> Owner {
    let process = Process {
        service: Arc::from("web.service"),
        ..Process::clone(&Everyone.process(10, comm("nginx"), 5))
    };
    Owner { process: Arc::new(process), comm: comm("worker"), fds: Vec::new(), seen: Moment(0) }
}

/// A socket at `127.0.0.1:80` with uid 33 of process 10, which runs as uid 5 in `web.service`.
fn socket() -> SocketReport {
    let facts = SocketFacts { uid: 33, ..facts(5, 80) };
    let socket = Socket { owners: vec![owner()], ..Socket::found(facts, Moment(0)) };
    SocketReport::new(&socket, &Numbers, View::Local)
}

/// The same socket in the way.
fn holder() -> HolderReport {
    let facts = SocketFacts { uid: 33, ..facts(5, 80) };
    let occupant = Occupant::of(&facts);
    let holder = Holder { occupant, rule: Rule::Exclusive, overlap: Overlap::SameAddress };
    let held = Held { holder, possession: Possession { owners: vec![owner()], ..Possession::default() } };
    HolderReport::new(&held, 80, facts.netns, &Numbers, View::Local)
}

/// Process 11 (`python3`, uid 7) was refused `127.0.0.1:80` with a socket of uid 8.
fn conflict() -> ConflictEvent {
    let socket = SocketFacts { uid: 8, ..facts(6, 0) };
    let mut refused = Call { requested: Some(loopback(80)), ..call(Phase::Bind, 98, 11, 1, socket) };
    refused.caller.uid = 7;
    let process = Everyone.process(11, comm("python3"), 7);
    match RecordBody::conflict(&fixtures::conflict(&refused, &process), 1, false, &Numbers) {
        RecordBody::Conflict(event) => *event,
        other => panic!("{other:?}"),
    }
}

/// The socket above is the victim of another, which process 20 has with uid 1000.
fn signal() -> SignalEvent {
    let facts = SocketFacts { uid: 33, ..facts(5, 80) };
    let taker = Owner { process: Everyone.process(20, comm("python3"), 1000), ..owner() };
    let party = |role, uid, inode, owner| Party {
        role,
        socket: Arc::new(Socket {
            owners: vec![owner],
            ..Socket::found(SocketFacts { uid, ..fixtures::facts(inode, 80) }, Moment(0))
        }),
        overlap: None,
        selections: None,
    };
    let case = Case {
        kind: Kind::ForeignUidShare,
        severity: Severity::Warning,
        port: PortKey { netns: facts.netns, transport: Transport::Udp, port: 80 },
        protocol: Protocol::Udp,
        endpoint: loopback(80),
        parties: vec![party(Role::Victim, 33, 5, owner()), party(Role::Taker, 1000, 6, taker)],
        since: Moment(1),
        until: None,
        found: false,
        seen: String::new(),
    };
    SignalEvent::new(&case, &Numbers, View::Local)
}

/// Filters with one criterion each: whether a thing must pass.
fn criteria(uid: &[u32], pid: u32, service: &str, executable: &str) -> Vec<(Filter, bool)> {
    let none = Filter::default;
    let mut all = vec![
        (none(), true),
        (Filter { ports: vec![80], ..none() }, true),
        (Filter { ports: vec![443, 80], ..none() }, true),
        (Filter { ports: vec![8080], ..none() }, false),
        (Filter { addresses: vec!["127.0.0.1".parse().expect("address")], ..none() }, true),
        (Filter { addresses: vec!["::ffff:127.0.0.1".parse().expect("address")], ..none() }, true),
        (Filter { addresses: vec!["0.0.0.0".parse().expect("address")], ..none() }, false),
        (Filter { uids: vec![99], ..none() }, false),
        (Filter { pids: vec![pid], ..none() }, true),
        (Filter { pids: vec![99], ..none() }, false),
        (Filter { services: vec![service.to_owned()], ..none() }, true),
        (Filter { services: vec!["db.service".to_owned()], ..none() }, false),
        (Filter { executables: vec![executable.to_owned()], ..none() }, true),
        (Filter { executables: vec![executable[1..].to_owned()], ..none() }, false),
        (Filter { netns: vec![4_026_531_840], ..none() }, true),
        (Filter { netns: vec![1], ..none() }, false),
        (Filter { ports: vec![80], pids: vec![99], ..none() }, false),
    ];
    all.extend(uid.iter().map(|uid| (Filter { uids: vec![*uid], ..none() }, true)));
    all
}

#[test]
fn sockets_by_each_criterion() {
    let socket = socket();
    for (filter, wanted) in criteria(&[33, 5], 10, "web.service", "nginx") {
        assert_eq!(filter.wants_socket(&socket), wanted, "{filter:?}");
    }
    let of_refusals =
        Filter { errnos: vec!["EACCES".into()], rules: vec![Rule::TimeWait], ..Filter::default() };
    assert!(of_refusals.wants_socket(&socket), "a socket has neither errno nor rule");
}

#[test]
fn refusals_by_each_criterion() {
    let conflict = conflict();
    for (filter, wanted) in criteria(&[7, 8], 11, "python3", "python3") {
        assert_eq!(filter.wants_conflict(&conflict), wanted, "{filter:?}");
    }
    for (errno, wanted) in [("EADDRINUSE", true), ("EACCES", false)] {
        let filter = Filter { errnos: vec![errno.to_owned()], ..Filter::default() };
        assert_eq!(filter.wants_conflict(&conflict), wanted, "{errno}");
    }
    for (rule, wanted) in [(Rule::Unknown, true), (Rule::TimeWait, false)] {
        let filter = Filter { rules: vec![rule], ..Filter::default() };
        assert_eq!(filter.wants_conflict(&conflict), wanted, "{rule:?}");
    }
}

#[test]
fn signals_by_each_criterion() {
    let signal = signal();
    for (filter, wanted) in criteria(&[33, 5, 1000], 10, "web.service", "nginx").into_iter().chain(criteria(
        &[1000],
        20,
        "python3",
        "python3",
    )) {
        assert_eq!(filter.wants_signal(&signal), wanted, "{filter:?}");
    }
    for (kinds, wanted) in
        [(vec![Kind::JoinRefused, Kind::ForeignUidShare], true), (vec![Kind::JoinRefused], false)]
    {
        let filter = Filter { signals: kinds, ..Filter::default() };
        assert_eq!(filter.wants_signal(&signal), wanted, "{filter:?}");
    }
    for (least, wanted) in [(Severity::Info, true), (Severity::Warning, true), (Severity::Critical, false)] {
        let filter = Filter { severity: Some(least), ..Filter::default() };
        assert_eq!(filter.wants_signal(&signal), wanted, "{least:?}");
    }
}

#[test]
fn one_process_must_meet_all_that_is_asked_of_a_process() {
    let mut socket = socket();
    let mut other = socket.owners[0].clone();
    (other.pid, other.executable) = (20, Arc::from("envoy"));
    socket.owners.push(other);
    let both = |pid, executable: &str| Filter {
        pids: vec![pid],
        executables: vec![executable.to_owned()],
        ..Filter::default()
    };
    assert!(both(20, "envoy").wants_socket(&socket));
    assert!(!both(10, "envoy").wants_socket(&socket), "process 10 is nginx");
}

#[test]
fn a_holder_counts_as_well_as_the_contender() {
    let mut conflict = conflict();
    conflict.holders.push(holder());
    for (filter, wanted) in [
        (Filter { pids: vec![10], ..Filter::default() }, true),
        (Filter { services: vec!["web.service".to_owned()], ..Filter::default() }, true),
        (Filter { uids: vec![33], ..Filter::default() }, true),
        (Filter { pids: vec![12], ..Filter::default() }, false),
    ] {
        assert_eq!(filter.wants_conflict(&conflict), wanted, "{filter:?}");
    }
}
