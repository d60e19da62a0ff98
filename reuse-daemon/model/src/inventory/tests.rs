//! Events and snapshots, one case at a time.

use super::*;
use crate::{
    endpoint::{Endpoint, Family, Protocol},
    event::{Event, Phase, Snapshot},
    fixtures::{
        Everyone, SECOND, bind, call, close, exit, facts, holding, listen, loopback, snapshot, udp_member,
    },
    socket::Flags,
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
    assert!(!host.inventory.wants_rescan(Moment(500)), "the close comes right after the exit");
    assert!(host.inventory.wants_rescan(Moment(SECOND)));
    host.apply(&close(1, 500));
    assert!(!host.inventory.wants_rescan(Moment(SECOND)));
    assert!(host.inventory.by_pid.is_empty());
}

#[test]
fn the_first_snapshot_fills_and_corrects_nothing() {
    let mut host = Host::new();
    host.apply(&bind(10, 100, facts(1, 80)));
    let kinds = host.reconcile(&snapshot(
        200,
        300,
        vec![
            holding(10, 3, facts(1, 80)),
            holding(11, 3, facts(1, 80)),
            holding(12, 5, facts(2, 53)),
            holding(12, 6, facts(2, 53)),
        ],
    ));
    assert_eq!(kinds, []);
    assert_eq!(host.confirm(10 * SECOND), []);
    assert_eq!(
        (host.socket(1).owners[0].fds.as_slice(), host.socket(1).since),
        (&[3][..], Some(Moment(100)))
    );
    assert_eq!((host.socket(2).owners[0].fds.as_slice(), host.socket(2).since), (&[5, 6][..], None));
}

#[test]
fn a_snapshot_finds_what_no_event_told() {
    let mut host = Host::backfilled();
    host.apply(&bind(10, 100, facts(1, 80)));
    host.apply(&bind(10, 100, facts(2, 81)));
    let mut changed = facts(2, 81);
    changed.state = State::Connected;
    let kinds = host.reconcile(&snapshot(
        200,
        300,
        vec![holding(11, 3, changed), holding(10, 4, facts(3, 82)), holding(10, 5, facts(4, 40_000))],
    ));
    assert_eq!(kinds, [Correction::MissedClose, Correction::OwnerRemoved, Correction::OwnerAdded]);
    assert_eq!(host.confirm(300 + SECOND - 1), []);
    let mut confirmed = host.confirm(300 + SECOND);
    confirmed.sort();
    assert_eq!(confirmed, [Correction::MissedBind, Correction::MissedBind, Correction::StateChanged]);
    assert_eq!(host.confirm(10 * SECOND), [], "each counts once");
    assert_eq!((host.pids(2), host.socket(2).facts.state), (vec![11], State::Connected));
}

#[test]
fn implicit_is_what_nothing_says_was_bound() {
    let udp = |inode, port, change: fn(&mut SocketFacts)| {
        let mut facts = udp_member(inode, port);
        facts.flags.reuseport = false;
        facts.local = Endpoint { address: Family::Ipv4.unspecified(), port };
        change(&mut facts);
        holding(10, 3, facts)
    };
    for (found, kind) in [
        (udp(1, 40_000, |_| ()), Correction::ImplicitBind),
        (udp(1, 40_000, |facts| facts.local = loopback(40_000)), Correction::MissedBind),
        (
            udp(1, 40_000, |facts| (facts.local, facts.state) = (loopback(40_000), State::Connected)),
            Correction::ImplicitBind,
        ),
        (udp(1, 40_000, |facts| facts.flags.reuseaddr = true), Correction::MissedBind),
        (udp(1, 53, |_| ()), Correction::MissedBind),
        (udp(1, 40_000, |facts| facts.protocol = Protocol::Tcp), Correction::MissedBind),
    ] {
        let mut host = Host::backfilled();
        assert_eq!(host.reconcile(&snapshot(100, 200, vec![found.clone()])), []);
        assert_eq!(host.confirm(2 * SECOND), [kind], "{found:?}");
    }
}

#[test]
fn a_snapshot_that_is_ahead_of_the_event_corrects_nothing() {
    let mut host = Host::backfilled();
    let listening = SocketFacts { state: State::Listen, ..facts(2, 81) };
    host.apply(&bind(10, 50, facts(2, 81)));
    host.reconcile(&snapshot(100, 200, vec![holding(10, 3, facts(1, 80)), holding(10, 4, listening)]));
    host.apply(&bind(10, 201, facts(1, 80)));
    host.apply(&listen(10, 202, facts(2, 81)));
    assert_eq!(host.confirm(10 * SECOND), []);
    assert_eq!(host.socket(1).since, Some(Moment(201)));
}

#[test]
fn a_snapshot_undoes_nothing_that_is_newer() {
    let mut host = Host::backfilled();
    host.apply(&bind(10, 50, facts(1, 80)));
    host.apply(&bind(11, 50, facts(2, 81)));
    host.apply(&close(1, 120));
    host.apply(&exit(11, 130));
    host.apply(&bind(12, 140, facts(3, 82)));
    let kinds =
        host.reconcile(&snapshot(100, 200, vec![holding(10, 3, facts(1, 80)), holding(11, 3, facts(2, 81))]));
    assert_eq!(kinds, []);
    assert!(host.inventory.get(Inode(1)).is_none(), "closed while the snapshot was read");
    assert_eq!(host.pids(3), [12], "bound while the snapshot was read");
    assert_eq!(host.pids(2), [0; 0], "its owner's exit came later than the walk");
    assert!(host.inventory.wants_rescan(Moment(200)), "who has it now is open");
    assert_eq!(
        host.reconcile(&snapshot(300, 400, vec![holding(12, 3, facts(3, 82))])),
        [Correction::MissedClose]
    );
    assert!(!host.inventory.wants_rescan(Moment(SECOND)));
    assert_eq!(host.confirm(10 * SECOND), []);
}

#[test]
fn events_since_a_snapshot_began_outweigh_it() {
    let mut host = Host::backfilled();
    host.apply(&bind(10, 50, facts(1, 80)));
    host.apply(&listen(11, 100, facts(1, 80)));
    assert_eq!(host.reconcile(&snapshot(100, 200, vec![holding(10, 3, facts(1, 80))])), []);
    assert_eq!((host.socket(1).facts.state, host.pids(1)), (State::Listen, vec![10, 11]));
    host.apply(&close(1, 300));
    host.reconcile(&snapshot(300, 400, vec![holding(10, 3, facts(1, 80))]));
    assert!(host.inventory.is_empty(), "closed in the moment the snapshot began");
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
fn a_new_owner_ends_the_search_for_one() {
    let found_by_event = |host: &mut Host| host.apply(&listen(11, 300, facts(1, 80)));
    let found_by_snapshot = |host: &mut Host| {
        host.reconcile(&snapshot(300, 400, vec![holding(11, 3, facts(1, 80))]));
    };
    for find in [&found_by_event as &dyn Fn(&mut Host), &found_by_snapshot] {
        let mut host = Host::backfilled();
        host.apply(&bind(10, 100, facts(1, 80)));
        host.apply(&exit(10, 200));
        assert!(host.inventory.wants_rescan(Moment(SECOND)));
        find(&mut host);
        assert!(!host.inventory.wants_rescan(Moment(SECOND)));
        assert_eq!(host.pids(1), [11]);
    }
}

#[test]
fn a_forgotten_end_makes_new_finds_doubtful() {
    let mut host = Host::backfilled();
    host.apply(&close(1, 150));
    for inode in 2..=65_538 {
        host.apply(&close(inode, 160));
    }
    let late = snapshot(100, 200, vec![holding(10, 3, facts(1, 80))]);
    host.reconcile(&late);
    assert!(host.inventory.is_empty(), "it was closed, which is remembered no longer");
    assert!(host.inventory.wants_rescan(Moment(200)));
    host.reconcile(&snapshot(300, 400, vec![holding(10, 3, facts(70_000, 80))]));
    assert_eq!(host.inventory.len(), 1);
    assert!(!host.inventory.wants_rescan(Moment(400)));
}

#[test]
fn cookies_tell_sockets_of_one_inode_number_apart() {
    let mut host = Host::backfilled();
    let with = |cookie, port| SocketFacts { cookie: Cookie(cookie), ..facts(1, port) };
    host.apply(&bind(10, 100, with(7, 80)));
    host.apply(&bind(11, 200, with(8, 81)));
    assert!(matches!(host.changes.as_slice(), [Change::Removed(_), Change::Added(_)]));
    assert_eq!(host.pids(1), [11]);
    host.apply(&Event::Close { inode: Inode(1), cookie: Cookie(7), at: Moment(300) });
    assert_eq!(host.inventory.len(), 1, "a late close of the one before");
    assert_eq!(
        host.reconcile(&snapshot(400, 500, vec![holding(12, 3, with(9, 82))])),
        [Correction::MissedClose]
    );
    assert_eq!((host.pids(1), host.socket(1).facts.local.port), (vec![12], 82));
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
