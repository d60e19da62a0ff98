//! Events, one case at a time.

mod snapshots;

use super::*;
use crate::{
    endpoint::{Endpoint, Family, Protocol},
    event::{Event, Phase, Snapshot},
    fixtures::{
        Everyone, SECOND, bind, call, close, exit, facts, holding, listen, loopback, snapshot, udp_member,
    },
    socket::{Flags, SocketFacts, State},
};

struct Host {
    inventory: Inventory,
    changes: Vec<Change>,
}

impl Host {
    fn new() -> Self {
        Self { inventory: Inventory::new(Limits::default()), changes: Vec::new() }
    }

    /// A host whose first snapshot found nothing.
    fn backfilled() -> Self {
        let mut host = Self::new();
        assert_eq!(host.reconcile(&snapshot(1, 2, Vec::new())), []);
        host
    }

    fn apply(&mut self, event: &Event) {
        self.changes.clear();
        self.inventory.apply(event, &mut Everyone, &mut self.changes);
    }

    fn reconcile(&mut self, snapshot: &Snapshot) -> Vec<Correction> {
        let Corrections { kinds, changes } = self.inventory.reconcile(snapshot, &mut Everyone);
        self.changes = changes;
        kinds
    }

    fn confirm(&mut self, now: u64) -> Vec<Correction> {
        self.inventory.confirm(Moment(now))
    }

    fn socket(&self, inode: u64) -> &Socket {
        self.inventory.get(Inode(inode)).expect("known")
    }

    fn pids(&self, inode: u64) -> Vec<u32> {
        self.socket(inode).owners.iter().map(|owner| owner.process.pid).collect()
    }

    fn count(&self, state: State) -> u64 {
        self.inventory.census().iter().filter(|cell| cell.2 == state).map(|cell| cell.3).sum()
    }
}

#[test]
fn a_socket_lives_from_bind_to_close() {
    let mut host = Host::new();
    host.apply(&bind(10, 100, facts(1, 80)));
    assert!(matches!(host.changes.as_slice(), [Change::Added(_)]));
    assert_eq!((host.socket(1).since, host.pids(1)), (Some(Moment(100)), vec![10]));
    host.apply(&listen(10, 200, facts(1, 80)));
    assert!(matches!(host.changes.as_slice(), [Change::Updated { before, after }]
        if before.facts.state == State::Bound && after.facts.state == State::Listen));
    assert_eq!(host.socket(1).since, Some(Moment(100)));
    assert_eq!((host.count(State::Bound), host.count(State::Listen)), (0, 1));
    host.apply(&close(1, 300));
    assert!(matches!(host.changes.as_slice(), [Change::Removed(_)]));
    assert!(host.inventory.is_empty());
    assert_eq!(host.count(State::Listen), 0);
}

#[test]
fn a_refused_call_moves_nothing_but_the_options() {
    let mut host = Host::new();
    host.apply(&bind(10, 100, facts(1, 80)));
    let flags = Flags { reuseaddr: true, ..Flags::default() };
    let moved = SocketFacts { local: loopback(0), flags, state: State::Listen, ..facts(1, 80) };
    host.apply(&Event::Call(Box::new(call(Phase::Listen, 98, 11, 200, moved))));
    let SocketFacts { local, flags, state, .. } = &host.socket(1).facts;
    assert_eq!((local.port, flags.reuseaddr, *state), (80, true, State::Bound));
    assert_eq!(host.pids(1), [10]);
    host.apply(&Event::Call(Box::new(call(Phase::Bind, 98, 10, 300, facts(2, 80)))));
    assert!(host.changes.is_empty(), "a refused bind adds nothing");
}

#[test]
fn a_bind_that_leaves_no_port_holds_nothing() {
    let mut host = Host::new();
    host.apply(&bind(10, 100, facts(1, 0)));
    assert!(host.inventory.is_empty());
}

#[test]
fn an_exit_takes_owners_and_asks_for_a_scan_where_none_is_left() {
    let mut host = Host::backfilled();
    host.apply(&bind(10, 100, facts(1, 80)));
    host.apply(&listen(11, 200, facts(1, 80)));
    host.apply(&exit(10, 300));
    assert_eq!(host.pids(1), [11]);
    assert!(!host.inventory.wants_rescan(Moment(SECOND)));
    host.apply(&exit(11, 400));
    assert_eq!(host.pids(1), [0; 0]);
    let known: Vec<_> = host.socket(1).known_owners().iter().map(|owner| owner.process.pid).collect();
    assert_eq!(known, [11], "who had it last");
    assert!(!host.inventory.wants_rescan(Moment(500)), "the close comes right after the exit");
    assert!(host.inventory.wants_rescan(Moment(SECOND)));
    host.apply(&close(1, 500));
    assert!(!host.inventory.wants_rescan(Moment(SECOND)));
    assert!(host.inventory.by_pid.is_empty());
}

#[test]
fn a_listen_that_succeeded_listens() {
    let mut host = Host::new();
    let shut_down_meanwhile = call(Phase::Listen, 0, 10, 100, facts(1, 80));
    host.apply(&Event::Call(Box::new(shut_down_meanwhile)));
    assert_eq!((host.socket(1).facts.state, host.socket(1).since), (State::Listen, None), "bound before");
    let unbound = SocketFacts {
        local: Endpoint { address: Family::Ipv4.unspecified(), port: 40_000 },
        ..facts(2, 40_000)
    };
    host.apply(&listen(10, 200, unbound));
    assert_eq!(host.socket(2).since, Some(Moment(200)), "listen itself bound it");
}

#[test]
fn more_sockets_than_the_limit_are_counted() {
    let mut inventory = Inventory::new(Limits { sockets: 2, ..Limits::default() });
    let mut changes = Vec::new();
    for inode in 1..=5 {
        inventory.apply(&bind(10, inode, facts(inode, 80)), &mut Everyone, &mut changes);
    }
    assert_eq!((inventory.len(), inventory.overflow(), changes.len()), (2, 3, 2));
    inventory.apply(&bind(10, 6, facts(2, 81)), &mut Everyone, &mut changes);
    assert_eq!(inventory.overflow(), 3, "a known socket needs no room");
}
